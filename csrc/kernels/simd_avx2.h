// The vector vocabulary for AVX2 with FMA: 8 floats.
#pragma once

#if !defined(__AVX2__) || !defined(__FMA__)
#error "simd_avx2.h needs -mavx2 -mfma on this file"
#endif

#include <immintrin.h>

#include <cstdint>

#include "simd_common.h"

namespace fastseq {
namespace {

// Random words (philox.inl): 4 counters, each in a lane of 64 bits.
struct Avx2Words {
  using V = __m256i;
  static constexpr int kLanes = 4;
  static V set(uint32_t x) { return _mm256_set1_epi64x(x); }
  // first, first + 1, ..., in an order that store() reverses.
  static V count_from(uint32_t first) { return _mm256_add_epi64(set(first), _mm256_setr_epi64x(0, 2, 1, 3)); }
  static V product(V a, V b) { return _mm256_mul_epu32(a, b); }  // multiplies the low halves
  static V high(V a) { return _mm256_srli_epi64(a, 32); }
  static V exclusive_or(V a, V b, V c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  // Stores the words of one counter after those of the other.
  static void store(const V (&words)[4], uint32_t* p) {
    const V front = _mm256_blend_epi32(words[0], _mm256_slli_epi64(words[1], 32), 0xAA);
    const V back = _mm256_blend_epi32(words[2], _mm256_slli_epi64(words[3], 32), 0xAA);
    _mm256_storeu_si256(reinterpret_cast<V*>(p), _mm256_unpacklo_epi64(front, back));
    _mm256_storeu_si256(reinterpret_cast<V*>(p + 8), _mm256_unpackhi_epi64(front, back));
  }
  // A bit for each of 16 words: 1 if the number in the word's `bits` is at least `least`.
  static uint32_t reached(const uint32_t* words, uint32_t bits, int32_t least) {
    const auto eight = [&](const uint32_t* p) {
      const V numbers = _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const V*>(p)),
                                         _mm256_set1_epi32(static_cast<int32_t>(bits)));
      const V reach = _mm256_cmpgt_epi32(numbers, _mm256_set1_epi32(least - 1));
      return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(reach)));
    };
    return eight(words) | eight(words + 8) << 8;
  }
  // A word for each of 16 bits: all ones if the bit is 1, else zero.
  static void spread(uint32_t bits, uint32_t* masks) {
    const V low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const V all = _mm256_set1_epi32(static_cast<int32_t>(bits));
    for (int i = 0; i < 2; ++i) {
      const V places = _mm256_slli_epi32(low, 8 * i);
      _mm256_storeu_si256(reinterpret_cast<V*>(masks + 8 * i),
                          _mm256_cmpeq_epi32(_mm256_and_si256(all, places), places));
    }
  }
};

struct Avx2F32 {
  using T = float;
  using Words = Avx2Words;
  using V = __m256;
  using Flags = __m256;
  static constexpr int kLanes = 8;
  // 16 registers: 12 accumulators, 2 vectors of B, 1 broadcast of A.
  static constexpr Tiles kTiles{6, 2, 3, 2, 8, 2};
  static V set(T x) { return _mm256_set1_ps(x); }
  static V load(const T* p) { return _mm256_loadu_ps(p); }
  static V load_partial(const T* p, int n) { return _mm256_maskload_ps(p, first(n)); }
  static void store(T* p, V v) { _mm256_storeu_ps(p, v); }
  static void store_partial(T* p, V v, int n) { _mm256_maskstore_ps(p, first(n), v); }
  static V add(V a, V b) { return _mm256_add_ps(a, b); }
  static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  static V div(V a, V b) { return _mm256_div_ps(a, b); }
  static V sqrt(V a) { return _mm256_sqrt_ps(a); }
  static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V fnma(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
  static V abs(V a) { return _mm256_andnot_ps(set(-0.0F), a); }
  static V copy_sign(V magnitude, V sign) {
    return _mm256_or_ps(_mm256_andnot_ps(set(-0.0F), magnitude), _mm256_and_ps(set(-0.0F), sign));
  }
  // max and min return their second operand if either is NaN, so a NaN in x remains.
  static V at_least(V bound, V x) { return _mm256_max_ps(bound, x); }
  static V at_most(V bound, V x) { return _mm256_min_ps(bound, x); }
  static Flags less(V a, V b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static Flags less_or_nan(V a, V b) { return _mm256_or_ps(less(a, b), _mm256_cmp_ps(b, b, _CMP_UNORD_Q)); }
  static Flags same_bits(V a, V b) {
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
  }
  static V select(Flags flags, V yes, V no) { return _mm256_blendv_ps(no, yes, flags); }
  static V low_bits_as_exponent(V a) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23)); }
  static V reciprocal_guess(V a) {
    return _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_set1_epi32(kReciprocalMagic), _mm256_castps_si256(a)));
  }

  // The sum of 16 lanes in two vectors: i and i + 8, then i + 4, i + 2, i + 1.
  static T add_lanes(const V (&parts)[2]) {
    const __m256 eight = _mm256_add_ps(parts[0], parts[1]);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

 private:
  static __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

}  // namespace
}  // namespace fastseq

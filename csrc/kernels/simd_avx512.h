// The vector vocabulary for AVX-512 (F, VL, DQ, BW): 16 floats.
#pragma once

#if !defined(__AVX512F__) || !defined(__AVX512VL__) || !defined(__AVX512DQ__) || !defined(__AVX512BW__)
#error "simd_avx512.h needs -mavx512f -mavx512vl -mavx512dq -mavx512bw on this file"
#endif

#include <immintrin.h>

#include <cstdint>

#include "simd_common.h"

namespace fastseq {
namespace {

// Random words (philox.inl): 8 counters, each in a lane of 64 bits.
struct Avx512Words {
  using V = __m512i;
  static constexpr int kLanes = 8;
  static V set(uint32_t x) { return _mm512_set1_epi64(x); }
  // first, first + 1, ..., in an order that store() reverses.
  static V count_from(uint32_t first) {
    return _mm512_add_epi64(set(first), _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
  }
  static V product(V a, V b) { return _mm512_mul_epu32(a, b); }  // multiplies the low halves
  static V high(V a) { return _mm512_srli_epi64(a, 32); }
  static V exclusive_or(V a, V b, V c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  // Stores the words of one counter after those of the other.
  static void store(const V (&words)[4], uint32_t* p) {
    const V front = _mm512_mask_shuffle_epi32(words[0], 0xAAAA, words[1], _MM_PERM_CCAA);
    const V back = _mm512_mask_shuffle_epi32(words[2], 0xAAAA, words[3], _MM_PERM_CCAA);
    _mm512_storeu_si512(p, _mm512_unpacklo_epi64(front, back));
    _mm512_storeu_si512(p + 16, _mm512_unpackhi_epi64(front, back));
  }
  // A bit for each of 16 words: 1 if the number in the word's `bits` is at least `least`.
  static uint32_t reached(const uint32_t* words, uint32_t bits, int32_t least) {
    const V numbers = _mm512_and_si512(_mm512_loadu_si512(words), _mm512_set1_epi32(static_cast<int32_t>(bits)));
    return _mm512_cmpge_epi32_mask(numbers, _mm512_set1_epi32(least));
  }
  // A word for each of 16 bits: all ones if the bit is 1, else zero.
  static void spread(uint32_t bits, uint32_t* masks) {
    _mm512_storeu_si512(masks, _mm512_maskz_set1_epi32(static_cast<__mmask16>(bits), -1));
  }
};

struct Avx512F32 {
  using T = float;
  using Words = Avx512Words;
  using V = __m512;
  using Flags = __mmask16;
  static constexpr int kLanes = 16;
  // 32 registers: 24 accumulators, 4 vectors of B, 1 broadcast of A.
  static constexpr Tiles kTiles{6, 4, 6, 4, 16, 4};
  static V set(T x) { return _mm512_set1_ps(x); }
  static V load(const T* p) { return _mm512_loadu_ps(p); }
  static V load_partial(const T* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(T* p, V v) { _mm512_storeu_ps(p, v); }
  static void store_partial(T* p, V v, int n) { _mm512_mask_storeu_ps(p, first(n), v); }
  static V add(V a, V b) { return _mm512_add_ps(a, b); }
  static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static V div(V a, V b) { return _mm512_div_ps(a, b); }
  static V sqrt(V a) { return _mm512_sqrt_ps(a); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V fnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
  static V abs(V a) { return _mm512_andnot_ps(set(-0.0F), a); }
  static V copy_sign(V magnitude, V sign) {
    return _mm512_or_ps(_mm512_andnot_ps(set(-0.0F), magnitude), _mm512_and_ps(set(-0.0F), sign));
  }
  // max and min return their second operand if either is NaN, so a NaN in x remains.
  static V at_least(V bound, V x) { return _mm512_max_ps(bound, x); }
  static V at_most(V bound, V x) { return _mm512_min_ps(bound, x); }
  static Flags less(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Flags less_or_nan(V a, V b) { return _kor_mask16(less(a, b), _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q)); }
  static Flags same_bits(V a, V b) { return _mm512_cmpeq_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b)); }
  static V select(Flags flags, V yes, V no) { return _mm512_mask_blend_ps(flags, no, yes); }
  static V low_bits_as_exponent(V a) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23)); }
  static V reciprocal_guess(V a) {
    return _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_set1_epi32(kReciprocalMagic), _mm512_castps_si512(a)));
  }

  // The sum of the lanes: i and i + 8, then i + 4, i + 2, i + 1.
  static T add_lanes(const V (&parts)[1]) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(parts[0]), _mm512_extractf32x8_ps(parts[0], 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

 private:
  static __mmask16 first(int n) { return static_cast<__mmask16>((1U << n) - 1U); }
};

}  // namespace
}  // namespace fastseq

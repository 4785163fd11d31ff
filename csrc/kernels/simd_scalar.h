// The vector vocabulary with one lane, for float and double: the ISA that every CPU has, and the only one for double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd_common.h"

namespace fastseq {
namespace {

// a * b + c rounded once. It avoids the C library's slow function where the CPU has no fused multiply-add.
// The product of two floats is exact in double, so only the sum is rounded twice, to double and then to float. That
// differs from one rounding only if the double is halfway between two floats and the sum was not exact. Then the
// residual of the sum (Knuth's two-sum) tells on which side of the double the exact value is.
inline float fma_once(float a, float b, float c) {
#if defined(__FP_FAST_FMAF) || defined(__aarch64__)  // Clang does not define it for ARM, where every CPU has an fma
  return __builtin_fmaf(a, b, c);
#else
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  double sum = product + addend;
  const uint64_t bits = bit_copy<uint64_t>(sum);
  constexpr uint64_t kBelowFloat = (uint64_t{1} << 29) - 1;  // mantissa bits that a float does not have
  if ((bits & kBelowFloat) != uint64_t{1} << 28) return static_cast<float>(sum);
  const double back = sum - product;
  const double residual = (product - (sum - back)) + (addend - back);
  // Infinities and NaNs do not get here with a residual: these bits are clear, or a comparison is false.
  if (residual != 0.0) sum = bit_copy<double>((residual > 0.0) == (sum > 0.0) ? bits + 1 : bits - 1);
  return static_cast<float>(sum);
#endif
}

// Random words (philox.inl): one counter.
struct ScalarWords {
  using V = uint64_t;
  static constexpr int kLanes = 1;
  static V set(uint32_t x) { return x; }
  static V count_from(uint32_t first) { return first; }
  static V product(V a, V b) { return (a & 0xFFFFFFFFU) * (b & 0xFFFFFFFFU); }  // multiplies the low halves
  static V high(V a) { return a >> 32; }
  static V exclusive_or(V a, V b, V c) { return a ^ b ^ c; }
  static void store(const V (&words)[4], uint32_t* p) {
    for (int i = 0; i < 4; ++i) p[i] = static_cast<uint32_t>(words[i]);
  }
  // A bit for each of 16 words: 1 if the number in the word's `bits` is at least `least`.
  static uint32_t reached(const uint32_t* words, uint32_t bits, int32_t least) {
    uint32_t result = 0;
    for (int i = 0; i < 16; ++i) result |= uint32_t{static_cast<int32_t>(words[i] & bits) >= least} << i;
    return result;
  }
  // A word for each of 16 bits: all ones if the bit is 1, else zero.
  static void spread(uint32_t bits, uint32_t* masks) {
    for (int i = 0; i < 16; ++i) masks[i] = -(bits >> i & 1);
  }
};

template <class Number>
struct Scalar {
  using T = Number;
  using Words = ScalarWords;
  using V = Number;
  static constexpr int kLanes = 1;
  static constexpr Tiles kTiles{4, 4, 1, 1, 4, 1};
  static V set(T x) { return x; }
  static V load(const T* p) { return *p; }
  static V load_partial(const T* p, int) { return *p; }
  static void store(T* p, V v) { *p = v; }
  static void store_partial(T* p, V v, int) { *p = v; }
  static V add(V a, V b) { return a + b; }
  static V sub(V a, V b) { return a - b; }
  static V mul(V a, V b) { return a * b; }
  static V div(V a, V b) { return a / b; }
  static V at_least(V bound, V x) { return bound > x ? bound : x; }  // a NaN in x remains
  static V at_most(V bound, V x) { return bound < x ? bound : x; }
  // The sum of 16 lanes: i and i + 8, then i + 4, i + 2, i + 1.
  static T add_lanes(const V (&parts)[16]) {
    V sums[16];
    for (int i = 0; i < 16; ++i) sums[i] = parts[i];
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
    return sums[0];
  }
  using Flags = bool;
  static Flags less(V a, V b) { return a < b; }
  static Flags less_or_nan(V a, V b) { return a < b || __builtin_isnan(b); }
  static Flags same_bits(V a, V b) { return std::memcmp(&a, &b, sizeof(V)) == 0; }
  static V select(Flags flags, V yes, V no) { return flags ? yes : no; }
};

struct ScalarF32 : Scalar<float> {
  static V sqrt(V a) { return __builtin_sqrtf(a); }
  static V fma(V a, V b, V c) { return fma_once(a, b, c); }
  static V fnma(V a, V b, V c) { return fma_once(-a, b, c); }
  static V abs(V a) { return __builtin_fabsf(a); }
  static V copy_sign(V magnitude, V sign) { return __builtin_copysignf(magnitude, sign); }
  static V low_bits_as_exponent(V a) { return bit_copy<float>(bit_copy<uint32_t>(a) << 23); }
  static V reciprocal_guess(V a) { return bit_copy<float>(kReciprocalMagic - bit_copy<int32_t>(a)); }
};

struct ScalarF64 : Scalar<double> {
  static V sqrt(V a) { return __builtin_sqrt(a); }
  static V fma(V a, V b, V c) { return a * b + c; }
  static V fnma(V a, V b, V c) { return c - a * b; }
};

}  // namespace
}  // namespace fastseq

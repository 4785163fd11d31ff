// exp and expm1 for plain loops, which the compiler vectorises. For float they are the kernels' approximation
// (kernels/activations.inl) without fused multiply-adds, which the CPUs that this code is compiled for need not have.
// For double they are the C library's.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/activations.inl"

namespace fastseq {
namespace {

// The vocabulary of kernels/simd_scalar.h, as far as it is needed here, with two roundings in a multiply-add.
struct UnfusedFloat {
  using T = float;
  using V = float;

  static V set(float value) { return value; }
  static V mul(V a, V b) { return a * b; }
  static V sub(V a, V b) { return a - b; }
  static V fma(V a, V b, V c) { return a * b + c; }
  static V fnma(V a, V b, V c) { return c - a * b; }
  static V low_bits_as_exponent(V value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bits <<= 23;
    std::memcpy(&value, &bits, sizeof(bits));
    return value;
  }
};

// Below this, exp(x) is less than the smallest normal float.
constexpr float kLeastExponent = -87.33F;

// exp(x) for x <= 88, with an error of at most 1.0 ulp; 0 for x < kLeastExponent, and NaN for NaN.
inline float limited_exp(float x) {
  const auto e = ReducedExp<UnfusedFloat>::of<1>(x < kLeastExponent ? kLeastExponent : x);
  const float result = e.power + e.power * e.expm1_r;
  return x < kLeastExponent ? 0.0F : result;
}
inline double limited_exp(double x) { return std::exp(x); }

// exp(x) - 1 for x <= 88, with an error of at most 1.7 ulp; NaN for NaN.
inline float limited_expm1(float x) {
  const auto e = ReducedExp<UnfusedFloat>::of<1>(x < kLeastExponent ? kLeastExponent : x);
  return e.power * e.expm1_r + (e.power - 1.0F);
}
inline double limited_expm1(double x) { return std::expm1(x); }

}  // namespace
}  // namespace fastseq

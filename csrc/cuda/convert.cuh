// Conversion of float16 and bfloat16 to float32 and back, rounding to nearest, ties to even. It works on the bits, so
// that it needs no header of the toolkit. It is not slower for that, since memory limits the speed.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "fastseq/array.h"
#include "fastseq/cuda.h"

namespace fastseq::cuda {

__device__ inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

__device__ inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The elements of arrays of half types.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

__device__ inline float to_float(float value) { return value; }

__device__ inline float to_float(BFloat16 value) { return float_of_bits(static_cast<uint32_t>(value.bits) << 16); }

__device__ inline float to_float(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000U) << 16;
  const uint32_t magnitude = value.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return float_of_bits(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13);  // infinite, NaN
  // A product gives float32's exponent; it is exact for subnormal numbers, too.
  const float scaled = float_of_bits(magnitude << 13) * float_of_bits(0x77800000U);  // 2^112
  return float_of_bits(sign | bits_of_float(scaled));
}

// Rounds to the nearest value of the type of `to`.
__device__ inline void round_to(float value, float* to) { *to = value; }

__device__ inline void round_to(float value, BFloat16* to) {
  const uint32_t bits = bits_of_float(value);
  const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
  // Adds half a unit in the last place minus one, plus one if the number below is odd. A NaN remains a NaN.
  const uint32_t rounded = is_nan ? bits | 0x400000U : bits + 0x7fffU + (bits >> 16 & 1U);
  to->bits = static_cast<uint16_t>(rounded >> 16);
}

__device__ inline void round_to(float value, Float16* to) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t sign = bits >> 16 & 0x8000U;
  const uint32_t magnitude = bits & 0x7fffffffU;
  uint32_t half;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U;  // NaN
  } else if (magnitude >= 0x477ff000U) {
    half = 0x7c00U;                       // 65520 and more
  } else if (magnitude >= 0x38800000U) {  // 2^-14: normal
    half = (magnitude - 0x38000000U + 0xfffU + (magnitude >> 13 & 1U)) >> 13;
  } else {
    // Rounds by adding 0.5, whose last place is 2^-24, the smallest subnormal number.
    half = bits_of_float(float_of_bits(magnitude) + 0.5F) - 0x3f000000U;
  }
  to->bits = static_cast<uint16_t>(sign | half);
}

// Convert `count` elements, from float32 or a half type to float32 and back. The work is queued on the stream.
Status convert_to_float(const void* from, DType dtype, int64_t count, float* to, Stream stream);
Status convert_from_float(const float* from, DType dtype, int64_t count, void* to, Stream stream);

}  // namespace fastseq::cuda

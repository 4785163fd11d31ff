// The float types of arrays, and float32, which everything is computed in.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

using Float16 = __half;
using BFloat16 = __nv_bfloat16;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Float16 value) { return __half2float(value); }
__device__ inline float to_float(BFloat16 value) { return __bfloat162float(value); }

// Rounded to nearest, ties to even.
template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline Float16 from_float<Float16>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ inline BFloat16 from_float<BFloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// The lowest finite number.
template <class T>
constexpr float kLowest = -0x1.fffffep127F;
template <>
inline constexpr float kLowest<Float16> = -65504.0F;
template <>
inline constexpr float kLowest<BFloat16> = -0x1.fep127F;

// body(T{}), whose status it returns.
template <class Body>
Status with_float_type(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(float{});
    case DType::kFloat16:
      return body(Float16{});
    case DType::kBFloat16:
      return body(BFloat16{});
    default:
      return Status::invalid_dtype("on a GPU, arrays are float32, float16 or bfloat16");
  }
}

}  // namespace fastseq::cuda

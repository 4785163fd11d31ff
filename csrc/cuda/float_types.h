// The float types of arrays on a GPU.
#pragma once

#include "convert.cuh"
#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

// Returns body(T{}) for the type T of a dtype.
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
      return Status::invalid_dtype("arrays on a GPU are float32, float16 or bfloat16");
  }
}

}  // namespace fastseq::cuda

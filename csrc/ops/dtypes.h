// From a dtype to the type of a template.
#pragma once

#include "fastseq/array.h"

namespace fastseq {

// Returns body(zero of the type of floats), for float32 and float64: plans are made for no others.
template <class Body>
auto with_float_type(DType dtype, const Body& body) {
  return dtype == DType::kFloat64 ? body(double{}) : body(float{});
}

// Likewise of ids, which are int32 or int64.
template <class Body>
auto with_id_type(DType dtype, const Body& body) {
  return dtype == DType::kInt32 ? body(int32_t{}) : body(int64_t{});
}

}  // namespace fastseq

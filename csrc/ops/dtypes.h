// From dtypes to C++ types, for templates.
#pragma once

#include "fastseq/array.h"

namespace fastseq {

// Returns body(zero) for a zero of the dtype's type. Plans have no float types besides float32 and float64.
template <class Body>
auto with_float_type(DType dtype, const Body& body) {
  return dtype == DType::kFloat64 ? body(double{}) : body(float{});
}

// The same for ids, which are int32 or int64.
template <class Body>
auto with_id_type(DType dtype, const Body& body) {
  return dtype == DType::kInt32 ? body(int32_t{}) : body(int64_t{});
}

}  // namespace fastseq

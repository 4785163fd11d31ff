// What the drivers of the elementary operations share.
#pragma once

#include <cstdint>
#include <functional>
#include <numeric>

#include "fastseq/array.h"

namespace fastseq {

// The product of the sizes of the axes from `begin` to before `end`.
inline int64_t elements(const Array& array, int begin, int end) {
  return std::accumulate(array.shape + begin, array.shape + end, int64_t{1}, std::multiplies<>());
}
inline int64_t elements(const Array& array) { return elements(array, 0, array.rank); }

inline int64_t bytes_of(const Array& array) { return elements(array) * static_cast<int64_t>(dtype_bytes(array.dtype)); }

// An array as (outer, count, inner), where `count` is the size of one axis.
struct AxisView {
  int64_t outer;
  int64_t count;
  int64_t inner;

  AxisView(const Array& array, int64_t axis)
      : outer(elements(array, 0, static_cast<int>(axis))),
        count(array.shape[axis]),
        inner(elements(array, static_cast<int>(axis) + 1, array.rank)) {}
};

}  // namespace fastseq

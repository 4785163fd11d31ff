// Nested loops over the axes of several arrays at once, whose elements lie at any distance from each other.
#pragma once

#include <array>
#include <cstdint>

#include "fastseq/array.h"
#include "runtime/range.h"

namespace fastseq {

template <int kArrays>
struct StridedAxis {
  int64_t size;
  std::array<int64_t, kArrays> strides;  // the distance of neighbours in each array, in elements
};

template <int kArrays>
class StridedAxes {
 public:
  using Offsets = std::array<int64_t, kArrays>;

  // Adds an axis inside those that are there already. Axes that can be walked as one become one.
  void add(int64_t size, const Offsets& strides) {
    if (size == 1) return;
    if (count_ > 0) {
      StridedAxis<kArrays>& last = axes_[count_ - 1];
      bool one = true;
      for (int a = 0; a < kArrays; ++a) one = one && last.strides[a] == size * strides[a];
      if (one) {
        last = {last.size * size, strides};
        return;
      }
    }
    axes_[count_++] = {size, strides};
  }

  int count() const { return count_; }
  const StridedAxis<kArrays>& operator[](int axis) const { return axes_[axis]; }

  // Removes an axis and returns it.
  StridedAxis<kArrays> take(int axis) {
    const StridedAxis<kArrays> taken = axes_[axis];
    std::copy(axes_ + axis + 1, axes_ + count_, axes_ + axis);
    --count_;
    return taken;
  }

  // The number of positions.
  int64_t positions() const {
    int64_t positions = 1;
    for (int axis = 0; axis < count_; ++axis) positions *= axes_[axis].size;
    return positions;
  }

  // Calls body(position, offsets in the arrays) for each position of the range, which is not empty.
  template <class Body>
  void for_each(const Range& range, const Body& body) const {
    int64_t index[Array::kMaxRank];
    Offsets at{};
    int64_t rest = range.begin;
    for (int axis = count_ - 1; axis >= 0; --axis) {
      index[axis] = rest % axes_[axis].size;
      rest /= axes_[axis].size;
      move(at, axes_[axis], index[axis]);
    }
    for (int64_t position = range.begin;; advance(at, index)) {
      body(position, at);
      if (++position == range.end) return;
    }
  }

 private:
  static void move(Offsets& at, const StridedAxis<kArrays>& axis, int64_t steps) {
    for (int a = 0; a < kArrays; ++a) at[a] += steps * axis.strides[a];
  }
  void advance(Offsets& at, int64_t* index) const {
    for (int axis = count_ - 1; axis >= 0; --axis) {
      move(at, axes_[axis], 1);
      if (++index[axis] < axes_[axis].size) return;
      move(at, axes_[axis], -axes_[axis].size);
      index[axis] = 0;
    }
  }

  StridedAxis<kArrays> axes_[Array::kMaxRank];
  int count_ = 0;
};

}  // namespace fastseq

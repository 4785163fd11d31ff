// The driver of `combine`, for all arithmetic of two arrays that broadcast.
#include <algorithm>
#include <string>

#include "common/checks.h"
#include "dtypes.h"
#include "elementary_driver.h"
#include "fastseq/elementwise.h"
#include "folds.h"
#include "runtime/settings.h"
#include "runtime/team.h"
#include "strided.h"

namespace fastseq {
namespace {

// The size of axis `axis` of an array that is seen with `rank` axes, the first ones of size 1.
int64_t size_at(const Array& array, int rank, int axis) {
  const int own = axis - (rank - array.rank);
  return own < 0 ? 1 : array.shape[own];
}

// The axes of the result, with those of a and b.
StridedAxes<2> broadcast_axes(const Combine& op) {
  const int rank = op.plan.result.rank;
  std::array<int64_t, 2> strides[Array::kMaxRank];
  std::array<int64_t, 2> next{1, 1};
  for (int axis = rank - 1; axis >= 0; --axis)
    for (const int array : {0, 1}) {
      const int64_t size = size_at(array == 0 ? op.a : op.b, rank, axis);
      strides[axis][array] = size == 1 ? 0 : next[array];
      next[array] *= size;
    }
  StridedAxes<2> axes;
  for (int axis = 0; axis < rank; ++axis) axes.add(op.plan.result.shape[axis], strides[axis]);
  return axes;
}

// A stride is 1, or 0 for a single element; not both are 0.
template <class T, class Function>
void combine_row(int64_t count, const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* out,
                 const Function& function) {
  if (a_stride == 0) {
    const T one = *a;
    for (int64_t i = 0; i < count; ++i) out[i] = function(one, b[i]);
  } else if (b_stride == 0) {
    const T one = *b;
    for (int64_t i = 0; i < count; ++i) out[i] = function(a[i], one);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = function(a[i], b[i]);
  }
}

template <class T, class Function>
void combine_all(const Combine& op, const Function& function) {
  StridedAxes<2> axes = broadcast_axes(op);
  const StridedAxis<2> inner = axes.count() > 0 ? axes.take(axes.count() - 1) : StridedAxis<2>{1, {1, 1}};
  const int64_t width = inner.size;
  for_each_part(elements(op.plan.result), op.plan.threads, [&](const Range& part) {
    const Range rows{part.begin / width, (part.end - 1) / width + 1};
    axes.for_each(rows, [&](int64_t row, const std::array<int64_t, 2>& at) {
      const int64_t begin = std::max(part.begin - row * width, int64_t{0});
      const int64_t end = std::min(part.end - row * width, width);
      combine_row(end - begin, op.a.as<const T>() + at[0] + begin * inner.strides[0], inner.strides[0],
                  op.b.as<const T>() + at[1] + begin * inner.strides[1], inner.strides[1],
                  op.outputs.as<T>() + row * width + begin, function);
    });
  });
}

template <class T>
void combine(const Combine& op) {
  switch (op.how) {
    case Combination::kAdd:
      return combine_all<T>(op, [](T a, T b) { return a + b; });
    case Combination::kSubtract:
      return combine_all<T>(op, [](T a, T b) { return a - b; });
    case Combination::kMultiply:
      return combine_all<T>(op, [](T a, T b) { return a * b; });
    case Combination::kDivide:
      return combine_all<T>(op, [](T a, T b) { return a / b; });
    case Combination::kMaximum:
      return combine_all<T>(op, Larger());
    case Combination::kMinimum:
      return combine_all<T>(op, Smaller());
  }
}

}  // namespace

Status Combine::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_floats("a", a));
  FASTSEQ_RETURN_IF_ERROR(check_floats("b", b));
  FASTSEQ_RETURN_IF_ERROR(check_dtype("b", b, a.dtype));
  Array& result = plan.result;
  result = a;
  result.rank = std::max(a.rank, b.rank);
  for (int axis = 0; axis < result.rank; ++axis) {
    const int64_t of_a = size_at(a, result.rank, axis);
    const int64_t of_b = size_at(b, result.rank, axis);
    if (of_a != of_b && of_a != 1 && of_b != 1)
      return wrong_shape("b", "that broadcasts with that of a, " + shape_text(a.shape, a.rank, a.rank), b);
    result.shape[axis] = of_a == 1 ? of_b : of_a;
  }
  FASTSEQ_RETURN_IF_ERROR(check_sizes("outputs", result.shape, result.rank));
  plan.threads = threads_for_bytes(static_cast<double>(bytes_of(a) + bytes_of(b) + bytes_of(result)));
  return {};
}

Status Combine::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(a.dtype, [&](auto zero) { combine<decltype(zero)>(*this); });
  return {};
}

}  // namespace fastseq

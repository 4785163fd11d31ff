// The drivers of the operations that copy runs of elements: repeat, slice, pad, concatenate. Arrays are seen as (outer,
// count, inner), where `count` is the size of the axis.
#include <algorithm>
#include <string>

#include "common/checks.h"
#include "elementary_driver.h"
#include "fastseq/layout.h"
#include "runs.h"

namespace fastseq {
namespace {

// An array along an axis, with sizes in bytes.
struct ByteView : AxisView {
  int64_t row;   // of one position of the axis
  int64_t step;  // from one outer position to the next

  ByteView(const Array& array, int64_t axis)
      : AxisView(array, axis), row(inner * static_cast<int64_t>(dtype_bytes(array.dtype))), step(count * row) {}
};

Status check_axis(const Array& array, int64_t axis) { return check_range("axis", axis, 0, array.rank - 1); }

// Sets the result's size along the axis, and the number of threads.
Status plan_copies(const Array& like, int64_t axis, int64_t size, ElementaryPlan* plan) {
  plan->result = like;
  plan->result.shape[axis] = size;
  FASTSEQ_RETURN_IF_ERROR(check_sizes("outputs", plan->result.shape, plan->result.rank));
  plan->threads = threads_for_copies(bytes_of(plan->result));
  return {};
}

// Copies all of x, or zeros if `from` is null, to the positions of the result's axis from `first` on.
void place(const char* from, const ByteView& x, int64_t first, const Array& outputs, int64_t axis, int threads) {
  const ByteView to(outputs, axis);
  copy_runs({x.outer, 1, x.step}, threads, from, {x.step, 0}, outputs.as<char>() + first * to.row, {to.step, 0});
}

// The first and the last bound of x[begin:end], as in Python.
Range bounds(int64_t begin, int64_t end, int64_t size) {
  const auto bound = [size](int64_t place) {
    return place < 0 ? std::max(place + size, int64_t{0}) : std::min(place, size);
  };
  const int64_t first = bound(begin);
  return {first, std::max(bound(end), first)};
}

}  // namespace

Status Repeat::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("x", x, 1));
  FASTSEQ_RETURN_IF_ERROR(check_axis(x, axis));
  FASTSEQ_RETURN_IF_ERROR(check_range("count", count, 0));
  FASTSEQ_RETURN_IF_ERROR(check_sizes("outputs", {x.shape[axis], count}));
  return plan_copies(x, axis, x.shape[axis] * count, &plan);
}

Status Repeat::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  const ByteView view(x, axis);
  copy_runs({view.outer * view.count, count, view.row}, plan.threads, x.as<const char>(), {view.row, 0},
            outputs.as<char>(), {count * view.row, view.row});
  return {};
}

Status Slice::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("x", x, 1));
  FASTSEQ_RETURN_IF_ERROR(check_axis(x, axis));
  const Range kept = bounds(begin, end, x.shape[axis]);
  return plan_copies(x, axis, kept.end - kept.begin, &plan);
}

Status Slice::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  const ByteView from(x, axis);
  const ByteView to(outputs, axis);
  const Range kept = bounds(begin, end, from.count);
  if (to.count == 0) return {};  // there is no last position
  const char* first = x.as<const char>() + kept.begin * from.row;
  if (flip)
    copy_runs({to.outer, to.count, to.row}, plan.threads, first + (to.count - 1) * from.row, {from.step, -from.row},
              outputs.as<char>(), {to.step, to.row});
  else
    copy_runs({to.outer, 1, to.step}, plan.threads, first, {from.step, 0}, outputs.as<char>(), {to.step, 0});
  return {};
}

Status Pad::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("x", x, 1));
  FASTSEQ_RETURN_IF_ERROR(check_axis(x, axis));
  FASTSEQ_RETURN_IF_ERROR(check_range("before", before, 0));
  FASTSEQ_RETURN_IF_ERROR(check_range("after", after, 0));
  return plan_copies(x, axis, before + x.shape[axis] + after, &plan);
}

Status Pad::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  const auto zeros = [&](int64_t first, int64_t count) {
    Array none = x;
    none.shape[axis] = count;
    place(nullptr, ByteView(none, axis), first, outputs, axis, plan.threads);
  };
  zeros(0, before);
  place(x.as<const char>(), ByteView(x, axis), before, outputs, axis, plan.threads);
  zeros(before + x.shape[axis], after);
  return {};
}

Status Concatenate::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("a", a, 1));
  FASTSEQ_RETURN_IF_ERROR(check_axis(a, axis));
  FASTSEQ_RETURN_IF_ERROR(check_elements("b", b, 1));
  Array like = a;
  if (b.rank == a.rank) like.shape[axis] = b.shape[axis];
  FASTSEQ_RETURN_IF_ERROR(check_like("b", b, like));
  return plan_copies(a, axis, a.shape[axis] + b.shape[axis], &plan);
}

Status Concatenate::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  place(a.as<const char>(), ByteView(a, axis), 0, outputs, axis, plan.threads);
  place(b.as<const char>(), ByteView(b, axis), a.shape[axis], outputs, axis, plan.threads);
  return {};
}

}  // namespace fastseq

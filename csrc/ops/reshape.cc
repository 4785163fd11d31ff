// The driver of `reshape`: the new shape, and a copy.
#include <algorithm>
#include <string>

#include "common/checks.h"
#include "elementary_driver.h"
#include "fastseq/layout.h"
#include "runs.h"

namespace fastseq {
namespace {

// Factors of a number of elements: whether one of them is 0, and the product of the other ones.
struct Factors {
  bool zero = false;
  int64_t product = 1;

  void multiply(int64_t size) {
    zero = zero || size == 0;
    product *= std::max(size, int64_t{1});
  }
};

// The size that -1 stands for. Sizes that the result has from x are left out, so that it is known for a batch of size 0
// as well. If any size fits, because `like` has a size of 0, it follows from the other sizes.
int64_t inferred_size(const Reshape& op) {
  Factors known;
  Factors all;
  for (int axis = 0; op.like.present && axis < op.keep; ++axis) known.multiply(op.like.shape[axis]);
  for (const int64_t size : op.shape) known.multiply(size == -1 ? 1 : size);
  const int64_t first = op.like.present ? 0 : op.keep;
  for (int64_t axis = first; axis < op.x.rank - op.tail; ++axis) all.multiply(op.x.shape[axis]);
  return all.zero && !known.zero ? 0 : all.product / known.product;
}

// At most kMaxRank sizes of 0 or more, whose product is in range, and at most one -1.
Status check_shape(const std::vector<int64_t>& shape) {
  const auto count = static_cast<int>(shape.size());
  if (count > Array::kMaxRank)
    return Status::invalid_argument("shape must have at most " + std::to_string(Array::kMaxRank) + " sizes, got " +
                                    std::to_string(count));
  if (std::count(shape.begin(), shape.end(), -1) > 1)
    return Status::invalid_argument("shape must have at most one -1, got " + shape_text(shape.data(), count, count));
  std::vector<int64_t> known = shape;
  std::replace(known.begin(), known.end(), int64_t{-1}, int64_t{1});
  return check_sizes("shape", known.data(), count);
}

}  // namespace

Status Reshape::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("x", x));
  if (like.present) FASTSEQ_RETURN_IF_ERROR(check_elements("like", like));
  FASTSEQ_RETURN_IF_ERROR(check_shape(shape));
  FASTSEQ_RETURN_IF_ERROR(check_range("tail", tail, 0, x.rank));
  FASTSEQ_RETURN_IF_ERROR(check_range("keep", keep, 0, like.present ? like.rank : x.rank - tail));
  const int64_t rank = keep + static_cast<int64_t>(shape.size()) + tail;
  if (rank > Array::kMaxRank)
    return Status::invalid_argument("outputs must have at most " + std::to_string(Array::kMaxRank) +
                                    " dimensions, got " + std::to_string(rank));
  Array& result = plan.result;
  result = x;
  int64_t* next = std::copy_n(like.present ? like.shape : x.shape, keep, result.shape);
  next = std::replace_copy(shape.begin(), shape.end(), next, int64_t{-1}, inferred_size(*this));
  std::copy_n(x.shape + x.rank - tail, tail, next);
  result.rank = static_cast<int>(rank);
  FASTSEQ_RETURN_IF_ERROR(check_sizes("outputs", result.shape, result.rank));
  if (elements(result) != elements(x))
    return Status::invalid_argument("shape must keep the number of elements of x, which has shape " +
                                    shape_text(x.shape, x.rank, x.rank) + ", got outputs of shape " +
                                    shape_text(result.shape, result.rank, result.rank));
  plan.threads = threads_for_copies(bytes_of(x));
  return {};
}

Status Reshape::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  copy_runs({1, 1, bytes_of(x)}, plan.threads, x.as<const char>(), {0, 0}, outputs.as<char>(), {0, 0});
  return {};
}

}  // namespace fastseq

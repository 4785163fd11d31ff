// A dense layer as a convolution: see fastseq/dense.h.
#include "fastseq/dense.h"

#include "common/checks.h"

namespace fastseq {
namespace {

// The rows of an array as the timesteps of one sequence.
Array as_sequence(const Array& array) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < array.rank; ++i) rows *= array.shape[i];
  Array sequence = Array::like(array.dtype, {1, rows, array.shape[array.rank - 1]});
  sequence.data = array.data;
  return sequence;
}

}  // namespace

Conv1dInputs Dense::inputs() const {
  Array of_one_tap = Array::like(kernel.dtype, {1, kernel.shape[0], kernel.shape[1]});
  of_one_tap.data = kernel.data;
  return {as_sequence(x), of_one_tap, bias};
}

Status Dense::make_plan() {
  if (!x.present || x.rank < 1 || x.rank > Array::kMaxRank) return check_float_rank("x", x, 2, "(..., inputs)");
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", x, x.rank, "(..., inputs)"));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("kernel", kernel, 2, "(inputs, units)"));
  FASTSEQ_RETURN_IF_ERROR(check_array("kernel", kernel, x.dtype, {x.shape[x.rank - 1], kernel.shape[1]}));
  Conv1dOptions options;
  options.activation = activation;
  // As for "valid", a convolution without a timestep is an error, but a dense layer of no rows is not.
  options.padding = Padding::kSame;
  return conv1d_plan_forward(inputs(), options, &plan);
}

Status Dense::run(void* scratch) const {
  return conv1d_forward(plan, inputs(), {as_sequence(outputs), {}}, scratch, prepared);
}

}  // namespace fastseq

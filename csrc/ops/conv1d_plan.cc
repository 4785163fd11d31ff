// The plan of a convolution.
#include "common/conv1d_checks.h"
#include "conv1d_layout.h"

namespace fastseq {
namespace {

Status make_plan(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan) {
  *plan = {};
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_inputs(inputs, options, Floats::kCpu, &plan->dims));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  plan->options = options;
  // With one output step, strides mean nothing, but backward would have work and scratch for them.
  if (plan->dims.convolved <= 1) plan->options.strides = 1;
  const Conv1dDims& d = plan->dims;
  plan->threads = threads_for_operations(2.0 * static_cast<double>(d.batch) * static_cast<double>(d.convolved) *
                                         static_cast<double>(d.filters) *
                                         static_cast<double>(d.width * d.channels / options.groups));
  return {};
}

}  // namespace

Status conv1d_plan_forward(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, plan));
  plan->scratch_bytes = conv1d_forward_scratch_bytes(*plan);
  plan->prepared_bytes = conv1d_prepared_bytes(*plan);
  return {};
}

Status conv1d_plan_backward(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, plan));
  plan->scratch_bytes = conv1d_backward_scratch_bytes(*plan);
  return {};
}

}  // namespace fastseq

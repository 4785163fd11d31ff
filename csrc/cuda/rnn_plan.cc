// The plan of a recurrent op.
#include "common/cell.h"
#include "common/rnn_checks.h"
#include "rnn_loop.h"
#include "rnn_scratch.h"

namespace fastseq::cuda {

int64_t rnn_workspace_width(const RnnOptions& options, int64_t units) {
  const int64_t extra = options.cell == Cell::kLstm || (options.cell == Cell::kGru && options.reset_after) ? 2 : 1;
  return (CellShape(options).gates + extra) * units;
}

namespace {

Status make_plan(const RnnInputs& inputs, const RnnOptions& options, Precision precision, bool backward,
                 RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_rnn_inputs(inputs, options, Floats::kCuda, &plan->dims));
  plan->options = options;
  plan->precision = plan->dims.dtype == DType::kFloat32 ? precision : Precision::kTf32;
  plan->input_factors = factors_of(inputs.dropout_mask);
  plan->recurrent_factors = factors_of(inputs.recurrent_dropout_mask);
  plan->masked = inputs.mask.present;
  plan->persistent = find_loop_shape(*plan, backward, &plan->shape);
  return {};
}

}  // namespace

Status rnn_plan_forward(const RnnInputs& inputs, const RnnOptions& options, Precision precision, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, precision, false, plan));
  plan->scratch_bytes = rnn_forward_scratch_bytes(*plan);
  return {};
}

Status rnn_plan_backward(const RnnInputs& inputs, const RnnOptions& options, Precision precision, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, precision, true, plan));
  plan->scratch_bytes = rnn_backward_scratch_bytes(*plan);
  return {};
}

}  // namespace fastseq::cuda

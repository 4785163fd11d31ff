// Checks of the LSTM's inputs and the plan of a call.
#include <algorithm>

#include "checks.h"
#include "fastseq/lstm.h"
#include "fastseq/runtime.h"
#include "lstm_layout.h"
#include "settings.h"

namespace fastseq {
namespace {

// (1 or 4, batch, width)
Status check_factors(const char* name, const Array& array, const LstmDims& dims, int64_t width) {
  const int64_t groups = array.rank == 3 && array.shape[0] == 4 ? 4 : 1;
  return check_optional(name, array, dims.dtype, {groups, dims.batch, width});
}

int groups_of(const Array& factors) { return factors.present ? static_cast<int>(factors.shape[0]) : 0; }

// A thread is worth waking for about 20 us of work.
constexpr double kOperationsPerThread = 4e6;

Status make_plan(const LstmInputs& inputs, const LstmOptions& options, LstmPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(lstm_check(inputs, &plan->dims));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  const LstmDims& dims = plan->dims;
  plan->options = options;
  plan->input_groups = groups_of(inputs.dropout_mask);
  plan->recurrent_groups = groups_of(inputs.recurrent_dropout_mask);
  const double operations = 8.0 * static_cast<double>(dims.batch) * static_cast<double>(dims.timesteps) *
                            static_cast<double>(dims.units) * static_cast<double>(dims.inputs + dims.units);
  const double useful = std::max(1.0, operations / kOperationsPerThread);
  plan->threads = static_cast<int>(std::min<double>(num_threads(), useful));

  // A chunk's projections (z and x of the thread's rows) take about a quarter of a typical second-level cache.
  constexpr int64_t kChunkBytes = 512 * 1024;
  const int64_t element = dims.dtype == DType::kFloat64 ? 8 : 4;
  const int64_t step_bytes = std::max<int64_t>(1, lstm_rows_per_member(*plan)) * (4 * dims.units + dims.inputs) * element;
  plan->chunk = std::max<int64_t>(1, std::min(dims.timesteps, kChunkBytes / step_bytes));
  return {};
}

}  // namespace

Status lstm_check(const LstmInputs& inputs, LstmDims* dims) {
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", inputs.x, 3, "(batch, timesteps, inputs)"));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("recurrent_kernel", inputs.recurrent_kernel, 2, "(units, 4 * units)"));
  dims->dtype = inputs.x.dtype;
  dims->batch = inputs.x.shape[0];
  dims->timesteps = inputs.x.shape[1];
  dims->inputs = inputs.x.shape[2];
  dims->units = inputs.recurrent_kernel.shape[0];
  const int64_t units = dims->units;
  if (units < 1) return Status::invalid_argument("recurrent_kernel must have at least 1 unit, got 0");
  FASTSEQ_RETURN_IF_ERROR(
      check_array("recurrent_kernel", inputs.recurrent_kernel, dims->dtype, {units, 4 * units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("kernel", inputs.kernel, dims->dtype, {dims->inputs, 4 * units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("bias", inputs.bias, dims->dtype, {4 * units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("h0", inputs.h0, dims->dtype, {dims->batch, units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("c0", inputs.c0, dims->dtype, {dims->batch, units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("mask", inputs.mask, DType::kBool, {dims->batch, dims->timesteps}));
  FASTSEQ_RETURN_IF_ERROR(check_factors("dropout_mask", inputs.dropout_mask, *dims, dims->inputs));
  return check_factors("recurrent_dropout_mask", inputs.recurrent_dropout_mask, *dims, units);
}

Status lstm_plan_forward(const LstmInputs& inputs, const LstmOptions& options, bool save_workspace, LstmPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, plan));
  plan->save_workspace = save_workspace;
  plan->scratch_bytes = lstm_forward_scratch_bytes(*plan, inputs);
  return {};
}

Status lstm_plan_backward(const LstmInputs& inputs, const LstmOptions& options, LstmPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, plan));
  plan->scratch_bytes = lstm_backward_scratch_bytes(*plan, inputs);
  return {};
}

}  // namespace fastseq

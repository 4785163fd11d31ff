// Checks of the recurrent ops' inputs and the plan of a call.
#include <algorithm>

#include "checks.h"
#include "fastseq/rnn.h"
#include "fastseq/runtime.h"
#include "rnn_layout.h"

namespace fastseq {
namespace {

// (1 or G, batch, width)
Status check_factors(const char* name, const Array& array, const RnnDims& dims, int64_t width) {
  const int64_t factors = array.rank == 3 && array.shape[0] == dims.gates ? dims.gates : 1;
  return check_optional(name, array, dims.dtype, {factors, dims.batch, width});
}

int factors_of(const Array& array) { return array.present ? static_cast<int>(array.shape[0]) : 0; }

Status check_inputs(const RnnInputs& inputs, const RnnOptions& options, RnnDims* dims) {
  dims->gates = CellShape(options).gates;
  const std::string letters = dims->gates == 1 ? "(units, units)" : "(units, " + std::to_string(dims->gates) + " * units)";
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", inputs.x, 3, "(batch, timesteps, inputs)"));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("recurrent_kernel", inputs.recurrent_kernel, 2, letters.c_str()));
  dims->dtype = inputs.x.dtype;
  dims->batch = inputs.x.shape[0];
  dims->timesteps = inputs.x.shape[1];
  dims->inputs = inputs.x.shape[2];
  dims->units = inputs.recurrent_kernel.shape[0];
  const int64_t units = dims->units;
  const int64_t columns = dims->gates * units;
  if (units < 1) return Status::invalid_argument("recurrent_kernel must have at least 1 unit, got 0");
  FASTSEQ_RETURN_IF_ERROR(check_array("recurrent_kernel", inputs.recurrent_kernel, dims->dtype, {units, columns}));
  FASTSEQ_RETURN_IF_ERROR(check_array("kernel", inputs.kernel, dims->dtype, {dims->inputs, columns}));
  FASTSEQ_RETURN_IF_ERROR(check_bias("bias", inputs.bias, options, *dims));
  FASTSEQ_RETURN_IF_ERROR(check_optional("h0", inputs.h0, dims->dtype, {dims->batch, units}));
  if (options.cell == Cell::kLstm)
    FASTSEQ_RETURN_IF_ERROR(check_optional("c0", inputs.c0, dims->dtype, {dims->batch, units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("mask", inputs.mask, DType::kBool, {dims->batch, dims->timesteps}));
  FASTSEQ_RETURN_IF_ERROR(check_factors("dropout_mask", inputs.dropout_mask, *dims, dims->inputs));
  return check_factors("recurrent_dropout_mask", inputs.recurrent_dropout_mask, *dims, units);
}

// A thread is worth waking for about 50 us of work: waking a sleeping one takes about as long.
constexpr double kOperationsPerThread = 1e7;
// Of what a chunk of steps computes (z and x, or dz and dx): about a quarter of a typical second-level cache.
constexpr int64_t kChunkBytes = 512 * 1024;

// How to divide the time loop: by rows, without any waiting, or by units, so that a thread has fewer weights to read in
// every step. Counted in multiply-adds of a step: a thread's own, where a weight read from the second-level cache costs as
// much as 5 of them and one from further away 20, and meeting the other threads about 100,000.
void choose_grid(const RnnDims& dims, int threads, RnnPlan* plan) {
  const int64_t weights = dims.gates * dims.units * dims.units;
  constexpr int64_t kNearWeights = 256 * 1024;
  constexpr int64_t kMeeting = 100000;
  int64_t best = 0;
  for (int row_groups = 1; row_groups <= threads && (row_groups == 1 || row_groups <= dims.batch); ++row_groups) {
    const auto unit_groups = static_cast<int>(std::min<int64_t>(threads / row_groups, dims.units));
    for (const int groups : {1, unit_groups}) {
      const int64_t own_weights = weights / groups;
      const int64_t rows = (dims.batch + row_groups - 1) / row_groups;
      const int64_t reading = own_weights <= kNearWeights ? 5 : 20;
      const int64_t cost = own_weights * std::max(rows, reading) + (groups > 1 ? kMeeting : 0);
      if (best > 0 && cost >= best) continue;
      best = cost;
      plan->row_groups = row_groups;
      plan->unit_groups = groups;
    }
  }
}

Status make_plan(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_inputs(inputs, options, &plan->dims));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  const RnnDims& dims = plan->dims;
  plan->options = options;
  plan->input_factors = factors_of(inputs.dropout_mask);
  plan->recurrent_factors = factors_of(inputs.recurrent_dropout_mask);
  plan->masked = inputs.mask.present;

  const double operations = 2.0 * static_cast<double>(dims.batch) * static_cast<double>(dims.timesteps) *
                            static_cast<double>(dims.gates * dims.units) * static_cast<double>(dims.inputs + dims.units);
  const double useful = std::max(1.0, operations / kOperationsPerThread);
  choose_grid(dims, static_cast<int>(std::min<double>(num_threads(), useful)), plan);
  return {};
}

// How many steps of `rows` rows, each with `elements` elements a step, are worth doing at once.
int64_t chunk_of(const RnnDims& dims, int64_t rows, int64_t elements) {
  const int64_t bytes = std::max<int64_t>(1, rows * elements * (dims.dtype == DType::kFloat64 ? 8 : 4));
  return std::clamp<int64_t>(kChunkBytes / bytes, 1, std::max<int64_t>(1, dims.timesteps));
}

}  // namespace

Status check_bias(const char* name, const Array& array, const RnnOptions& options, const RnnDims& dims) {
  const int64_t columns = dims.gates * dims.units;
  if (options.cell == Cell::kGru && options.reset_after) return check_optional(name, array, dims.dtype, {2, columns});
  return check_optional(name, array, dims.dtype, {columns});
}

Status parse_activation(const char* argument, const std::string& name, Activation* activation) {
  static constexpr struct {
    const char* name;
    Activation activation;
  } kActivations[] = {{"tanh", Activation::kTanh},
                      {"sigmoid", Activation::kSigmoid},
                      {"hard_sigmoid", Activation::kHardSigmoid},
                      {"relu", Activation::kRelu},
                      {"linear", Activation::kLinear}};
  std::string names;
  for (const auto& known : kActivations) {
    if (name == known.name) {
      *activation = known.activation;
      return {};
    }
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return Status::invalid_argument(std::string(argument) + " must be one of " + names + ", got '" + name + "'");
}

int64_t rnn_workspace_width(const RnnOptions& options, int64_t units) { return CellShape(options).saved * units; }

Status rnn_plan_forward(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, plan));
  const RnnDims& d = plan->dims;
  plan->chunk = chunk_of(d, rnn_rows_per_group(*plan), d.gates * Place(*plan, 0).width() + d.inputs);
  plan->scratch_bytes = rnn_forward_scratch_bytes(*plan);
  return {};
}

Status rnn_plan_backward(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, plan));
  const RnnDims& d = plan->dims;
  // The same for any number of threads: the sums of the weight gradients go chunk by chunk.
  plan->chunk = chunk_of(d, rnn_rows_per_part(*plan), CellShape(options).dz * d.units + d.inputs);
  plan->scratch_bytes = rnn_backward_scratch_bytes(*plan);
  return {};
}

}  // namespace fastseq

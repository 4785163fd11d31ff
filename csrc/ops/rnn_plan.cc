// The plan of a recurrent op.
#include <algorithm>

#include "batch_shards.h"
#include "common/rnn_checks.h"
#include "fastseq/rnn.h"
#include "rnn_layout.h"

namespace fastseq {
namespace {

// The size of a chunk of steps in memory (z and x, or dz and dx): about a quarter of a typical second-level cache.
constexpr int64_t kChunkBytes = 512 * 1024;

// The number of shards in a backward pass (batch_shards.h).
int shards_of(const RnnDims& dims) {
  return batch_shards(dims.batch, dims.batch * dims.timesteps, (dims.inputs + dims.units) * dims.gates * dims.units,
                      dtype_bytes(dims.dtype));
}

// The division of the batch by so many row groups.
struct RowDivision {
  int row_groups;
  int64_t rows;    // of which a thread takes a step, in all its shards
  double sharing;  // of the threads of a subteam, as a factor of their time

  RowDivision(int64_t batch, int shards, int groups) : row_groups(groups) {
    constexpr double kSharing = 0.2;  // half of that in subteams_for: here the weight gradients are left out
    const int subteams = subteams_for(groups, shards);
    const int64_t groups_of_subteam = groups / subteams;
    const int64_t rows_of_shard = (batch + shards - 1) / shards;
    rows = (shards + subteams - 1) / subteams * ((rows_of_shard + groups_of_subteam - 1) / groups_of_subteam);
    sharing = shards == 1 ? 1.0 : 1.0 + kSharing * (1.0 - 1.0 / static_cast<double>(groups_of_subteam));
  }
};

// The cost of a step of the time loop for one thread, in multiply-adds. Threads divide the rows, without any waiting,
// or the units as well, so that a thread reads fewer weights in every step. The cost may be larger than an int64 holds.
double step_cost(const RnnDims& dims, int64_t rows, int64_t unit_groups) {
  constexpr int64_t kNearWeights = 256 * 1024;  // weights that fit a core's cache
  constexpr int64_t kNear = 5;                  // multiply-adds in the time of reading a weight from that cache
  constexpr int64_t kFar = 20;                  // or from further away
  constexpr int64_t kElementwise = 3000;        // for 16 units of one row
  constexpr int64_t kMeeting = 50000;           // for each thread at a barrier
  const int64_t vectors = ((dims.units + unit_groups - 1) / unit_groups + 15) / 16;
  const int64_t columns = (dims.gates * dims.units / unit_groups + 15) / 16 * 16;
  const int64_t weights = dims.units * columns;
  const int64_t reading = weights <= kNearWeights ? kNear : kFar;
  const double computing =
      static_cast<double>(weights) * static_cast<double>(std::max(rows, reading)) +
      static_cast<double>(rows) * static_cast<double>(dims.inputs * columns + vectors * kElementwise);
  return unit_groups == 1 ? computing : computing + static_cast<double>(kMeeting * unit_groups);
}

void choose_grid(int threads, RnnPlan* plan) {
  const RnnDims& dims = plan->dims;
  double best = step_cost(dims, dims.batch, 1);
  const auto consider = [&](const RowDivision& division, int64_t unit_groups) {
    const double cost = step_cost(dims, division.rows, unit_groups) * division.sharing;
    if (cost >= best) return;
    best = cost;
    plan->row_groups = division.row_groups;
    plan->unit_groups = static_cast<int>(unit_groups);
  };
  const auto most_rows = static_cast<int>(std::min<int64_t>(threads, dims.batch));
  for (int groups = 2; groups <= most_rows; ++groups) consider(RowDivision(dims.batch, plan->shards, groups), 1);
  // Barriers must gain a fifth at least: the threads may have to share CPUs with others.
  best -= best / 5;
  for (int groups = 1; groups <= std::max(1, most_rows); ++groups) {
    const RowDivision division(dims.batch, plan->shards, groups);
    for (int64_t units = 2; units <= std::min<int64_t>(threads / groups, dims.units); ++units)
      consider(division, units);
  }
  plan->subteams = subteams_for(plan->row_groups, plan->shards);
}

Status make_plan(const RnnInputs& inputs, const RnnOptions& options, bool backward, RnnPlan* plan) {
  *plan = {};
  FASTSEQ_RETURN_IF_ERROR(check_rnn_inputs(inputs, options, Floats::kCpu, &plan->dims));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  const RnnDims& dims = plan->dims;
  plan->options = options;
  plan->input_factors = factors_of(inputs.dropout_mask);
  plan->recurrent_factors = factors_of(inputs.recurrent_dropout_mask);
  plan->masked = inputs.mask.present;

  const double operations = 2.0 * static_cast<double>(dims.batch) * static_cast<double>(dims.timesteps) *
                            static_cast<double>(dims.gates * dims.units) *
                            static_cast<double>(dims.inputs + dims.units);
  if (backward) plan->shards = shards_of(dims);
  choose_grid(threads_for_operations(operations), plan);
  return {};
}

// The number of steps in a chunk, for `rows` rows with `elements` elements each in a step.
int64_t chunk_of(const RnnDims& dims, int64_t rows, int64_t elements) {
  const int64_t bytes = std::max<int64_t>(1, rows * elements * (dims.dtype == DType::kFloat64 ? 8 : 4));
  return std::clamp<int64_t>(kChunkBytes / bytes, 1, std::max<int64_t>(1, dims.timesteps));
}

}  // namespace

int64_t rnn_workspace_width(const RnnOptions& options, int64_t units) { return CellShape(options).saved * units; }

Status rnn_plan_forward(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, false, plan));
  const RnnDims& d = plan->dims;
  plan->chunk = chunk_of(d, rnn_rows_per_group(*plan), d.gates * GridPosition(*plan, 0).width() + d.inputs);
  plan->scratch_bytes = rnn_forward_scratch_bytes(*plan);
  plan->prepared_bytes = rnn_prepared_bytes(*plan);
  return {};
}

Status rnn_plan_backward(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(make_plan(inputs, options, true, plan));
  const RnnDims& d = plan->dims;
  // The same for any number of threads, since the weight gradients are summed chunk by chunk.
  plan->chunk = chunk_of(d, rnn_rows_per_shard(*plan), CellShape(options).dz * d.units + d.inputs);
  plan->scratch_bytes = rnn_backward_scratch_bytes(*plan);
  return {};
}

}  // namespace fastseq

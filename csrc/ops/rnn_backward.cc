// LSTM, GRU and SimpleRNN backward: the driver.
//
// The batch is split into shards, and the team into subteams (batch_shards.h). A subteam computes its shards one after
// the other. For each shard it goes backwards in time, in chunks of steps. A cell is one step of one row. For each
// chunk the subteam computes:
// - for each step, dz from the workspace, and dh of the step before as one product dz recurrent_kernel^T. The shard's
//   rows are divided among the subteam's row groups, and the units of a row among the threads of its group.
// - dx as one product dz kernel^T, with the same division of rows.
// - the chunk's contribution to the weight gradients, as products over its cells:
//     dkernel += x^T dz,  drecurrent_kernel += h_prev^T dz,  dbias += 1^T dz.
//   The rows of these matrices are divided among the threads of the subteam.
// So dz is needed for one chunk only and stays in the second-level cache. The threads of a subteam wait for each other
// twice a chunk, and those of a row group also after every step. At the end all threads add the shards' sums, in order.
// Shards, chunks and the order of every sum depend only on the call's dimensions.
#include <cstring>

#include "common/rnn_checks.h"
#include "fastseq/rnn.h"
#include "rnn_layout.h"
#include "rnn_saved_states.h"
#include "rnn_weights.h"

namespace fastseq {
namespace {

template <class T>
struct BackwardScratch {
  // The weights for one unit group.
  struct Weights {
    PackedWeights<T> recurrent_kernel;  // the rows of the group's units, transposed

    Weights(const RnnPlan& plan, int index, Scratch& scratch)
        : recurrent_kernel(kernels_of<T>(*plan.isa), plan.dims.units, plan.dims.units, CellShape(plan.options).gates,
                           CellShape(plan.options).recurrent_groups(plan.recurrent_factors, true), true,
                           split(plan.dims.units, plan.unit_groups, index), plan.row_groups, scratch) {}
  };

  // Scratch of one subteam, for a chunk of at most P cells.
  struct SubteamScratch {
    T* dz;       // (P, dz_stride), with room for a vector behind it
    T* reset_h;  // (P, U), for GRU without reset_after; else null

    SubteamScratch(const RnnPlan& plan, int, Scratch& scratch) {
      const int64_t cells = rnn_rows_per_shard(plan) * plan.chunk;
      dz = scratch.take<T>(cells * dz_stride<T>(plan) + 16);
      reset_h = CellShape(plan.options).resets_operand ? scratch.take<T>(cells * plan.dims.units) : nullptr;
    }
  };

  // Scratch of one thread, with at most R rows of a shard, w units and C = R * chunk cells in a chunk.
  struct ThreadScratch {
    T* dh;            // (R, w)
    T* dc;            // (R, w), for LSTM; else null
    T* dreset_h;      // (R, w), for GRU without reset_after; else null
    T* dy;            // (R, U)
    T* undropped;     // (C, D) or (R, w): a group's product before its dropout factors
    const T** saved;  // (R), like the next four
    const T** previous;
    const T** dy_rows;
    T** dz_rows;
    T** reset_h_rows;
    const T** dz_cells;  // (C), like the next four
    const T** operands;
    T** results;
    T** undropped_rows;
    int64_t* batch_rows;
    int64_t* first_cells;  // (rows of a shard + 1): the number of each row's first cell in this chunk
    typename WeightGradients<T>::ThreadScratch weights;

    ThreadScratch(const RnnPlan& plan, int, Scratch& scratch) : weights(plan, scratch) {
      const CellShape cell(plan.options);
      const int64_t units = plan.dims.units;
      const int64_t width = GridPosition(plan, 0).width();
      const int64_t row_groups = plan.row_groups / plan.subteams;
      const int64_t rows = (rnn_rows_per_shard(plan) + row_groups - 1) / row_groups;
      const int64_t cells = rows * plan.chunk;
      dh = scratch.take<T>(rows * width);
      dc = cell.has_c() ? scratch.take<T>(rows * width) : nullptr;
      dreset_h = cell.resets_operand ? scratch.take<T>(rows * width) : nullptr;
      dy = scratch.take<T>(rows * units);
      undropped = scratch.take<T>(
          std::max(plan.input_factors ? cells * plan.dims.inputs : 0, plan.recurrent_factors ? rows * width : 0));
      saved = scratch.take<const T*>(rows);
      previous = scratch.take<const T*>(rows);
      dy_rows = scratch.take<const T*>(rows);
      dz_rows = scratch.take<T*>(rows);
      reset_h_rows = scratch.take<T*>(rows);
      dz_cells = scratch.take<const T*>(cells);
      operands = scratch.take<const T*>(cells);
      results = scratch.take<T*>(cells);
      undropped_rows = scratch.take<T*>(cells);
      batch_rows = scratch.take<int64_t>(cells);
      first_cells = scratch.take<int64_t>(rnn_rows_per_shard(plan) + 1);
    }
  };

  // The sums of one shard.
  struct ShardSums : WeightSums<T> {
    ShardSums(const RnnPlan& plan, int, Scratch& scratch) {
      const int64_t columns = plan.dims.gates * plan.dims.units;
      this->kernel = scratch.take<T>(plan.dims.inputs * columns);
      this->recurrent_kernel = scratch.take<T>(plan.dims.units * columns);
      this->bias = scratch.take<T>(2 * columns);
    }
  };

  PackedWeights<T> kernel;  // transposed
  Repeated<RnnPlan, Weights> weights;
  Repeated<RnnPlan, SubteamScratch> subteams;
  Repeated<RnnPlan, ThreadScratch> members;
  Steps steps;
  DistinctRows<T> distinct;             // of each shard
  T* distinct_dz;                       // (subteams, most, dz_stride)
  T* zeros;                             // (U)
  Repeated<RnnPlan, ShardSums> shards;  // all but the first, whose sums are in the results

  BackwardScratch(const RnnPlan& plan, Scratch& scratch)
      : kernel(kernels_of<T>(*plan.isa), plan.dims.inputs, plan.dims.units, CellShape(plan.options).gates,
               CellShape(plan.options).input_groups(plan.input_factors), true, {0, plan.dims.inputs}, rnn_threads(plan),
               scratch),
        weights(plan, plan.unit_groups, scratch),
        subteams(plan, plan.subteams, scratch),
        members(plan, rnn_threads(plan), scratch),
        steps(plan.dims.batch, plan.dims.timesteps, plan.options.go_backwards, plan.masked, scratch),
        distinct(plan.dims.batch * plan.dims.timesteps, plan.dims.inputs, plan.dims.gates * plan.dims.units,
                 rnn_most_distinct(plan, rnn_rows_per_shard(plan) * plan.dims.timesteps), plan.shards,
                 rnn_threads(plan), scratch),
        distinct_dz(scratch.take<T>(plan.subteams * distinct.most() * dz_stride<T>(plan))),
        zeros(scratch.take<T>(plan.dims.units)),
        shards(plan, plan.shards - 1, scratch) {}
};

template <class T>
class Backward : RnnOperands<T> {
  using Base = RnnOperands<T>;
  using Base::batch, Base::timesteps, Base::inputs, Base::units, Base::plan, Base::kernels, Base::cell, Base::mask;
  using Base::dropout, Base::recurrent_dropout, Base::copy_units;
  using Base::x, Base::kernel, Base::recurrent_kernel, Base::h0, Base::c0;

  using Weights = typename BackwardScratch<T>::Weights;
  using SubteamScratch = typename BackwardScratch<T>::SubteamScratch;
  using ThreadScratch = typename BackwardScratch<T>::ThreadScratch;

 public:
  Backward(const RnnPlan& the_plan, void* memory, const RnnInputs& in, const Array& workspace,
           const RnnOutputGradients& dout, const RnnGradients& gradients)
      : Base(the_plan, in),
        doutputs_(dout.doutputs.as<T>()),
        dlast_output_(dout.dlast_output.as<T>()),
        dh_n_(dout.dh_n.as<T>()),
        dc_n_(dout.dc_n.as<T>()),
        dx_(gradients.dx.as<T>()),
        with_weights_(gradients.dkernel.present),
        dweights_{gradients.dkernel.as<T>(), gradients.drecurrent_kernel.as<T>(), gradients.dbias.as<T>()},
        dh0_(gradients.dh0.as<T>()),
        dc0_(gradients.dc0.as<T>()),
        scratch_(the_plan, memory),
        states_(*this, scratch_.steps, workspace.as<T>(), scratch_.zeros) {}

  void run(const Team& team) const {
    const GridPosition position(plan, team.rank);
    const Weights weights = scratch_.weights.at(position.unit_group);
    if (dx_) scratch_.kernel.pack(kernel, team.rank);
    weights.recurrent_kernel.pack(recurrent_kernel, position.row_group);
    scratch_.steps.list(mask, team.share(batch));
    if (plan.masked) team.wait();
    if (team.rank == 0) {
      scratch_.steps.order();
      std::fill_n(scratch_.zeros, units, T(0));
      if (with_weights_) Base::sample(scratch_.distinct, scratch_.steps);
    }
    team.wait();
    const Team ordered = team.by_cpu();
    if (with_weights_ && scratch_.distinct.promising()) {
      Base::hash(scratch_.distinct, ordered.share(batch * timesteps));
      team.wait();
    }
    for (int index = ordered.subteam(); index < plan.shards; index += plan.subteams) run_shard(ordered, index);
    team.wait();
    if (!with_weights_ || plan.shards == 1) return;
    const ThreadScratch local = scratch_.members.at(team.rank);
    const WeightGradients<T> sums = weight_gradients(ordered, local, dweights_, none());
    for (int index = 1; index < plan.shards; ++index) sums.add_shard(scratch_.shards.at(index - 1));
    team.wait();
  }

 private:
  // A thread's view of a chunk: the steps [begin, end) of a shard.
  struct Chunk {
    const Team& team;
    const GridPosition& position;
    const ThreadScratch& local;
    const ChunkCells<T> cells;
    const DealtRows& rows;  // this row group's rows of the shard: every row_groups-th, beginning with row_group
    int64_t row_group;
    int64_t row_groups;
    int64_t begin;
    int64_t end;

    int64_t cell(int64_t r, int64_t step) const { return cells.cell(row_group + r * row_groups, step); }
  };

  WeightGradients<T> weight_gradients(const Team& team, const ThreadScratch& local, const WeightSums<T>& sums,
                                      const DistinctSums<T>& distinct) const {
    return {*this, scratch_.steps, states_, team, local.weights, sums, distinct};
  }

  DistinctSums<T> none() const { return {scratch_.distinct, 0, 0, nullptr, 0}; }

  // Finds the distinct rows of x in a shard.
  DistinctSums<T> distinct_rows(const Team& team, int index, const DealtRows& shard) const {
    const DistinctRows<T>& distinct = scratch_.distinct;
    if (team.rank_in_subteam() == 0)
      distinct.find(index, [&](const auto& body) { shard.for_each_row_of_x({0, shard.count()}, body); });
    team.wait_for_subteam();
    if (distinct.count_by_hash(index) == 0) return none();
    shard.for_each_row_of_x(split(shard.count(), team.subteam_size(), team.rank_in_subteam()),
                            [&](int64_t row) { distinct.compare(index, team.rank, x, row); });
    team.wait_for_subteam();
    const int64_t stride = dz_stride<T>(plan);
    T* dz = scratch_.distinct_dz + team.subteam() * distinct.most() * stride;
    return {distinct, index, distinct.count(index), dz, stride};
  }

  void run_shard(const Team& team, int index) const {
    const GridPosition position(plan, team.rank);
    const PackedWeights<T> weights = scratch_.weights.at(position.unit_group).recurrent_kernel;
    const SubteamScratch subteam = scratch_.subteams.at(team.subteam());
    const ThreadScratch local = scratch_.members.at(team.rank);
    const Steps& steps = scratch_.steps;
    const int64_t row_groups = plan.row_groups / plan.subteams;
    const int64_t row_group = position.row_group / plan.subteams;
    const DealtRows shard(steps, batch, index, plan.shards);
    const DealtRows rows(steps, batch, index + plan.shards * row_group, plan.shards * row_groups);
    for (int64_t r = 0; r < rows.count(); ++r) {
      copy_units(position, dh_n_, rows[r], local.dh + r * position.width());
      if (local.dc) copy_units(position, dc_n_, rows[r], local.dc + r * position.width());
      if (dx_ && steps.count(rows[r]) < timesteps && position.unit_group == 0)
        std::fill_n(dx_ + rows[r] * timesteps * inputs, timesteps * inputs, T(0));
    }
    const WeightSums<T> sums = index == 0 ? dweights_ : scratch_.shards.at(index - 1);
    const bool look = with_weights_ && scratch_.distinct.promising();
    const WeightGradients<T> weight_sums =
        weight_gradients(team, local, sums, look ? distinct_rows(team, index, shard) : none());
    if (with_weights_) weight_sums.clear();

    for (int64_t end = shard.most_steps(); end > 0;) {
      const int64_t begin = std::max<int64_t>(0, end - plan.chunk);
      local.first_cells[0] = 0;
      for (int64_t i = 0; i < shard.count(); ++i)
        local.first_cells[i + 1] =
            local.first_cells[i] + std::max<int64_t>(0, std::min(end, steps.count(shard[i])) - begin);
      const ChunkCells<T> cells{shard, begin, local.first_cells, subteam.dz, dz_stride<T>(plan), subteam.reset_h};
      const Chunk chunk{team, position, local, cells, rows, row_group, row_groups, begin, end};
      for (int64_t step = end - 1; step >= begin; --step) take_step(chunk, weights, step);
      if (dx_) compute_dx(chunk);
      if (with_weights_) {
        team.wait_for_subteam();
        weight_sums.add(cells);
      }
      team.wait_for_subteam();
      end = begin;
    }
    if (with_weights_) weight_sums.finish();

    for (int64_t r = 0; r < rows.count(); ++r) {
      const int64_t at = rows[r] * units + position.units.begin;
      T* dh = local.dh + r * position.width();
      if (Base::masked_output_begins_at_h0()) {
        const T* dy = repeated_output_gradient(rows[r], 0, 0, local.dy + r * units);
        if (dy) add_to(position.width(), dy + position.units.begin, dh);
      }
      std::copy_n(dh, position.width(), dh0_ + at);
      if (local.dc) std::copy_n(local.dc + r * position.width(), position.width(), dc0_ + at);
    }
  }

  // Computes dx for the rows of this row group. Its threads have waited for each other after the chunk's last dz. Each
  // thread computes a share of the cells.
  void compute_dx(const Chunk& chunk) const {
    const Steps& steps = scratch_.steps;
    const ThreadScratch& local = chunk.local;
    int64_t all = 0;
    for (int64_t r = 0; r < chunk.rows.count(); ++r)
      all += std::max<int64_t>(0, std::min(chunk.end, steps.count(chunk.rows[r])) - chunk.begin);
    const Range share = split(all, plan.unit_groups, chunk.position.unit_group);
    int64_t index = 0;
    int64_t cells = 0;
    for (int64_t r = 0; r < chunk.rows.count(); ++r) {
      const int64_t b = chunk.rows[r];
      const int64_t end = std::min(chunk.end, steps.count(b));
      for (int64_t step = chunk.begin; step < end; ++step, ++index) {
        if (index < share.begin || index >= share.end) continue;
        local.dz_cells[cells] = chunk.cells.dz_of(chunk.cell(r, step));
        local.results[cells] = dx_ + (b * timesteps + steps.time(b, step)) * inputs;
        local.batch_rows[cells++] = b;
      }
    }
    bool onto = false;
    for (const GateGroup& gates : scratch_.kernel.groups()) {
      product(local, cells, scratch_.kernel, gates, dropout, onto);
      onto = true;
    }
  }

  // Computes dz of one step, and dh of the step before, for the rows of this row group that have the step.
  void take_step(const Chunk& chunk, const PackedWeights<T>& weights, int64_t step) const {
    const GridPosition& position = chunk.position;
    const ThreadScratch& local = chunk.local;
    const int64_t first = position.units.begin;
    const int64_t active = chunk.rows.active(step, chunk.rows.count());
    for (int64_t r = 0; r < active; ++r) {
      const int64_t b = chunk.rows[r];
      const int64_t cell_in_chunk = chunk.cell(r, step);
      local.saved[r] = states_.row(b, step) + first;
      local.previous[r] = states_.previous(b, step) + first;
      const T* dy = output_gradient(b, step, local.dy + r * units);
      local.dy_rows[r] = dy ? dy + first : nullptr;
      local.dz_rows[r] = chunk.cells.dz_of(cell_in_chunk) + first;
      if (chunk.cells.reset_h) local.reset_h_rows[r] = chunk.cells.reset_h + cell_in_chunk * units + first;
      local.batch_rows[r] = b;
    }
    const CellBackwardArgs<T> args{Base::cell_step(active, position),
                                   local.saved,
                                   local.previous,
                                   local.dy_rows,
                                   local.dh,
                                   local.dc,
                                   local.dreset_h,
                                   local.dz_rows,
                                   local.reset_h_rows};
    bool onto = false;  // whether to add to dh instead of overwriting it
    switch (plan.options.cell) {
      case Cell::kLstm:
        kernels.lstm_backward(args);
        break;
      case Cell::kGru:
        kernels.gru_update_backward(args);
        if (cell.resets_operand) {
          chunk.team.group().wait();
          recurrent_products(position, weights, local, active, true, local.dreset_h, false);
        }
        kernels.gru_reset_backward(args);
        onto = true;
        break;
      case Cell::kSimpleRnn:
        kernels.simple_rnn_backward(args);
        break;
    }
    chunk.team.group().wait();
    recurrent_products(position, weights, local, active, false, local.dh, onto);
  }

  // Computes results (active, w) = dz recurrent_kernel^T or, with `onto`, adds the product to results. With `reset` the
  // product is over the gates whose operand is reset_h, and without over those whose operand is h.
  void recurrent_products(const GridPosition& position, const PackedWeights<T>& weights, const ThreadScratch& local,
                          int64_t active, bool reset, T* results, bool onto) const {
    for (int64_t r = 0; r < active; ++r) {
      local.dz_cells[r] = local.dz_rows[r] - position.units.begin;
      local.results[r] = results + r * position.width();
    }
    for (const GateGroup& gates : weights.groups()) {
      if (gates.reset != reset) continue;
      product(local, active, weights, gates, recurrent_dropout, onto, position.units.begin);
      onto = true;
    }
  }

  // Computes results = dz_cells weights for these gates, times dropout factors, or with `onto` adds that to results.
  // The first column of results belongs to the dropout factor with index `first`.
  void product(const ThreadScratch& local, int64_t rows, const PackedWeights<T>& weights, const GateGroup& gates,
               const DropoutFactors<T>& factors, bool onto, int64_t first = 0) const {
    const PackedShape shape = weights.shape(gates);
    for (int64_t m = 0; m < rows; ++m) local.operands[m] = local.dz_cells[m] + gates.dz_first * units;
    if (!factors.data) {
      kernels.product(
          {rows, shape, local.operands, 1, weights.data(gates), 0, onto ? local.results : nullptr, local.results});
    } else {
      const int64_t columns = shape.columns;
      for (int64_t m = 0; m < rows; ++m) local.undropped_rows[m] = local.undropped + m * columns;
      kernels.product({rows, shape, local.operands, 1, weights.data(gates), 0, nullptr, local.undropped_rows});
      for (int64_t m = 0; m < rows; ++m) {
        const T* factor = factors.row(gates, local.batch_rows[m]) + first;
        T* result = local.results[m];
        const T* addend = local.undropped_rows[m];
        if (onto)
          for (int64_t j = 0; j < columns; ++j) result[j] += addend[j] * factor[j];
        else
          multiply(columns, addend, factor, result);
      }
    }
  }

  // The gradient with respect to the output of a step.
  const T* output_gradient(int64_t b, int64_t step, T* buffer) const {
    return repeated_output_gradient(b, scratch_.steps.place(b, step), step + 1, buffer);
  }

  // The gradient with respect to the output at place `first` of row b, or with respect to h0 if h0 is the output before
  // the first step. It is the sum of the rows of doutputs for this place and for the masked steps before step `next`,
  // which repeat the output. If last_output repeats it, too, dlast_output is added. Returns null if there is no
  // gradient. A sum of several rows is in `buffer`.
  const T* repeated_output_gradient(int64_t b, int64_t first, int64_t next, T* buffer) const {
    const Steps& steps = scratch_.steps;
    const bool last = next == steps.count(b);
    int64_t end = last ? timesteps : steps.place(b, next);
    const bool last_output_is_ours = last && (first == timesteps - 1 || !plan.options.zero_output_for_mask);
    if (plan.options.zero_output_for_mask) end = first + 1;
    const T* sum = nullptr;
    const auto add = [&](const T* row) {
      if (!sum) {
        sum = row;
      } else if (sum != buffer) {
        for (int64_t u = 0; u < units; ++u) buffer[u] = sum[u] + row[u];
        sum = buffer;
      } else {
        add_to(units, row, buffer);
      }
    };
    if (doutputs_)
      for (int64_t s = first; s < end; ++s) add(doutputs_ + (b * timesteps + s) * units);
    if (dlast_output_ && last_output_is_ours) add(dlast_output_ + b * units);
    return sum;
  }

  const T *doutputs_, *dlast_output_, *dh_n_, *dc_n_;
  T* dx_;
  bool with_weights_;
  WeightSums<T> dweights_;
  T *dh0_, *dc0_;
  Carved<BackwardScratch<T>> scratch_;
  SavedStates<T> states_;
};

}  // namespace

size_t rnn_backward_scratch_bytes(const RnnPlan& plan) { return scratch_bytes<BackwardScratch>(plan); }

Status rnn_backward(const RnnPlan& plan, const RnnInputs& inputs, const Array& workspace,
                    const RnnOutputGradients& doutputs, const RnnGradients& gradients, void* scratch) {
  FASTSEQ_RETURN_IF_ERROR(check_rnn_gradients(workspace, doutputs, gradients, plan.options, plan.dims,
                                              {plan.dims.dtype, rnn_workspace_width(plan.options, plan.dims.units)}));
  run_driver<Backward>(plan, scratch, inputs, workspace, doutputs, gradients);
  return {};
}

}  // namespace fastseq

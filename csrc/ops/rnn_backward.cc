// LSTM, GRU and SimpleRNN backward: the driver.
//
// The batch is split into shards, the team into subteams (batch_shards.h), each of which takes its shards one after the
// other.
// A shard goes through time in reverse, in chunks of steps:
//   dz of each step from the workspace, and dh of the step before as one product dz recurrent_kernel^T, the shard's
//   rows dealt to the subteam's row groups, the units of a row to the threads of its group; dx of the chunk as one
//   product dz kernel^T, by who has the rows; the chunk's share of the weight gradients, as products over its cells, a
//   cell being one step of one row,
//     dkernel += x^T dz,  drecurrent_kernel += h_prev^T dz,  dbias += 1^T dz,
//   the rows of these matrices dealt to the subteam.
// So dz is needed for a chunk only and stays in the second-level cache. The threads of a subteam meet twice a chunk,
// those of a row group also after every step; a subteam or group of one thread waits for nobody. In the end the shards'
// sums are added up. Shards and chunks follow from the call's dimensions alone, and so does the order of every sum.
#include <cstring>

#include "common/rnn_checks.h"
#include "fastseq/rnn.h"
#include "rnn_layout.h"

namespace fastseq {
namespace {

// From one row of dz to the next: whole vectors of any ISA, and an odd number of cache lines, so that the rows that a
// product reads at the same column do not all fall into the same sets of the first-level cache.
template <class T>
int64_t dz_stride(const RnnPlan& plan) {
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t lines = (CellShape(plan.options).dz * plan.dims.units + kLine - 1) / kLine;
  return (lines | 1) * kLine;
}

// Sums of the weight gradients.
template <class T>
struct WeightSums {
  T* kernel;            // (D, GU)
  T* recurrent_kernel;  // (U, GU)
  T* bias;              // (GU) or (2, GU); null without bias
};

template <class T>
struct BackwardScratch {
  // Of one unit group.
  struct Weights {
    PackedWeights<T> recurrent_kernel;  // the rows of its units, transposed

    Weights(const RnnPlan& plan, int index, Scratch& scratch)
        : recurrent_kernel(kernels_of<T>(*plan.isa), plan.dims.units, plan.dims.units, CellShape(plan.options).gates,
                           CellShape(plan.options).recurrent_groups(plan.recurrent_factors, true), true,
                           split(plan.dims.units, plan.unit_groups, index), plan.row_groups, scratch) {}
  };

  // Of one subteam: the chunk it works on, of P cells at most.
  struct SubteamScratch {
    T* dz;       // (P, dz_stride), and a vector of room behind it
    T* reset_h;  // (P, U), of GRU without reset_after; else null

    SubteamScratch(const RnnPlan& plan, int, Scratch& scratch) {
      const int64_t cells = rnn_rows_per_shard(plan) * plan.chunk;
      dz = scratch.take<T>(cells * dz_stride<T>(plan) + 16);
      reset_h = CellShape(plan.options).resets_operand ? scratch.take<T>(cells * plan.dims.units) : nullptr;
    }
  };

  // Of one member of the team, with R rows of a shard, C = R * chunk cells in a chunk and at most w units.
  struct ThreadScratch {
    T* dh;            // (R, w)
    T* dc;            // (R, w), of LSTM; else null
    T* dreset_h;      // (R, w), of GRU without reset_after; else null
    T* dy;            // (R, U)
    T* undropped;     // (C, D) or (R, w): a group's product before its dropout factors
    const T** saved;  // (R), as the next four
    const T** previous;
    const T** dy_rows;
    T** dz_rows;
    T** reset_h_rows;
    const T** dz_cells;  // (C), as the next four
    const T** operands;
    T** results;
    T** undropped_rows;
    int64_t* batch_rows;
    int64_t* first_cells;  // (rows of a shard + 1): the number of cells before each row's, in this chunk
    // Of the weight gradients, M = D + 1 + U + 1 rows at most:
    T* dropped;             // (max(D, U)): an operand times its dropout factors
    T* columns;             // (M, kDepthBlock), packed by tiles
    const T** column_rows;  // (M)
    T** weight_rows;        // (M)

    ThreadScratch(const RnnPlan& plan, int, Scratch& scratch) {
      const CellShape cell(plan.options);
      const int64_t units = plan.dims.units;
      const int64_t width = GridPosition(plan, 0).width();
      const int64_t row_groups = plan.row_groups / rnn_subteams(plan);
      const int64_t rows = (rnn_rows_per_shard(plan) + row_groups - 1) / row_groups;
      const int64_t cells = rows * plan.chunk;
      const int64_t most = plan.dims.inputs + units + 2;
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
      dropped = scratch.take<T>(std::max(plan.dims.inputs, units));
      const int64_t tile = kernels_of<T>(*plan.isa).tile_rows;
      columns = scratch.take<T>((most / tile + 1) * column_tile_stride<T>(tile));
      column_rows = scratch.take<const T*>(most);
      weight_rows = scratch.take<T*>(most);
    }
  };

  PackedWeights<T> kernel;  // transposed
  Repeated<RnnPlan, Weights> weights;
  Repeated<RnnPlan, SubteamScratch> subteams;
  Repeated<RnnPlan, ThreadScratch> members;
  Steps steps;
  T* zeros;              // (U)
  WeightSums<T> second;  // of the second shard; those of the first are the results

  BackwardScratch(const RnnPlan& plan, Scratch& scratch)
      : kernel(kernels_of<T>(*plan.isa), plan.dims.inputs, plan.dims.units, CellShape(plan.options).gates,
               CellShape(plan.options).input_groups(plan.input_factors), true, {0, plan.dims.inputs}, rnn_threads(plan),
               scratch),
        weights(plan, plan.unit_groups, scratch),
        subteams(plan, rnn_subteams(plan), scratch),
        members(plan, rnn_threads(plan), scratch),
        steps(plan.dims.batch, plan.dims.timesteps, plan.options.go_backwards, plan.masked, scratch),
        zeros(scratch.take<T>(plan.dims.units)) {
    const int64_t columns = rnn_batch_shards(plan) > 1 ? plan.dims.gates * plan.dims.units : 0;
    second = {scratch.take<T>(plan.dims.inputs * columns), scratch.take<T>(plan.dims.units * columns),
              scratch.take<T>(2 * columns)};
  }
  BackwardScratch(const RnnPlan& plan, void* memory) : BackwardScratch(plan, Scratch(memory)) {}

 private:
  BackwardScratch(const RnnPlan& plan, Scratch&& scratch) : BackwardScratch(plan, scratch) {}
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
        workspace_(workspace.as<T>()),
        doutputs_(dout.doutputs.as<T>()),
        dlast_output_(dout.dlast_output.as<T>()),
        dh_n_(dout.dh_n.as<T>()),
        dc_n_(dout.dc_n.as<T>()),
        dx_(gradients.dx.as<T>()),
        with_weights_(gradients.dkernel.present),
        dweights_{gradients.dkernel.as<T>(), gradients.drecurrent_kernel.as<T>(), gradients.dbias.as<T>()},
        dh0_(gradients.dh0.as<T>()),
        dc0_(gradients.dc0.as<T>()),
        dz_stride_(dz_stride<T>(plan)),
        scratch_(the_plan, memory) {}

  void run(const Team& team) const {
    const GridPosition position(plan, team.rank);
    const Weights weights = scratch_.weights.at(position.unit_group);
    if (dx_) scratch_.kernel.pack(kernel, team.rank);
    weights.recurrent_kernel.pack(recurrent_kernel, position.row_group);
    if (team.rank == 0) {
      scratch_.steps.build(mask);
      std::fill_n(scratch_.zeros, units, T(0));
    }
    team.wait();
    const Team ordered = team.by_cpu();
    for (int index = ordered.subteam(); index < rnn_batch_shards(plan); index += ordered.shape.subteams)
      run_shard(ordered, index);
    team.wait();
    if (with_weights_ && rnn_batch_shards(plan) > 1) {
      add_second_shard(ordered);
      team.wait();
    }
  }

 private:
  // What a thread works on: a chunk of steps [begin, end) of a shard.
  struct Chunk {
    const Team& team;
    const GridPosition& position;
    const SubteamScratch& subteam;
    const ThreadScratch& local;
    const DealtRows& shard;  // rows of the shard
    const DealtRows& rows;   // those of them that are this row group's: every row_groups-th, from the row_group-th on
    int64_t row_group;
    int64_t row_groups;
    int64_t begin;
    int64_t end;

    // Cells are numbered row after row of the shard.
    int64_t cell(int64_t shard_row, int64_t step) const { return local.first_cells[shard_row] + step - begin; }
    int64_t cell_of(int64_t r, int64_t step) const { return cell(row_group + r * row_groups, step); }
  };

  void run_shard(const Team& team, int index) const {
    const GridPosition position(plan, team.rank);
    const PackedWeights<T> weights = scratch_.weights.at(position.unit_group).recurrent_kernel;
    const SubteamScratch subteam = scratch_.subteams.at(team.subteam());
    const ThreadScratch local = scratch_.members.at(team.rank);
    const Steps& steps = scratch_.steps;
    const int64_t shards = rnn_batch_shards(plan);
    const int64_t row_groups = plan.row_groups / team.shape.subteams;
    const int64_t row_group = position.row_group / team.shape.subteams;
    const DealtRows shard(steps, batch, index, shards);
    const DealtRows rows(steps, batch, index + shards * row_group, shards * row_groups);
    for (int64_t r = 0; r < rows.count(); ++r) {
      copy_units(position, dh_n_, rows[r], local.dh + r * position.width());
      if (local.dc) copy_units(position, dc_n_, rows[r], local.dc + r * position.width());
      if (dx_ && steps.count(rows[r]) < timesteps && position.unit_group == 0)
        std::fill_n(dx_ + rows[r] * timesteps * inputs, timesteps * inputs, T(0));
    }
    const WeightSums<T>& sums = index == 0 ? dweights_ : scratch_.second;
    if (with_weights_)
      for_own_weights(team, [&](const WeightJob& job, Range range) { clear_weights(sums, job, range); });

    for (int64_t end = shard.most_steps(); end > 0;) {
      const int64_t begin = std::max<int64_t>(0, end - plan.chunk);
      local.first_cells[0] = 0;
      for (int64_t i = 0; i < shard.count(); ++i)
        local.first_cells[i + 1] =
            local.first_cells[i] + std::max<int64_t>(0, std::min(end, steps.count(shard[i])) - begin);
      const Chunk chunk{team, position, subteam, local, shard, rows, row_group, row_groups, begin, end};
      for (int64_t step = end - 1; step >= begin; --step) take_step(chunk, weights, step);
      if (dx_) compute_dx(chunk);
      if (with_weights_) {
        team.wait_for_subteam();
        for_own_weights(team, [&](const WeightJob& job, Range range) { add_weights(chunk, sums, job, range); });
      }
      team.wait_for_subteam();
      end = begin;
    }

    for (int64_t r = 0; r < rows.count(); ++r) {
      const int64_t at = rows[r] * units + position.units.begin;
      std::copy_n(local.dh + r * position.width(), position.width(), dh0_ + at);
      if (local.dc) std::copy_n(local.dc + r * position.width(), position.width(), dc0_ + at);
    }
  }

  // Of the rows of this row group, whose threads have met after the chunk's last dz; each takes its share of the cells.
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
        local.dz_cells[cells] = dz_of(chunk.subteam, chunk.cell_of(r, step));
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

  // One step of this row group's rows that have it: dz, and dh of the step before.
  void take_step(const Chunk& chunk, const PackedWeights<T>& weights, int64_t step) const {
    const GridPosition& position = chunk.position;
    const ThreadScratch& local = chunk.local;
    const int64_t first = position.units.begin;
    const int64_t active = chunk.rows.active(step, chunk.rows.count());
    for (int64_t r = 0; r < active; ++r) {
      const int64_t b = chunk.rows[r];
      const int64_t cell_in_chunk = chunk.cell_of(r, step);
      local.saved[r] = saved_row(b, step) + first;
      local.previous[r] = previous_row(b, step) + first;
      const T* dy = output_gradient(b, step, local.dy + r * units);
      local.dy_rows[r] = dy ? dy + first : nullptr;
      local.dz_rows[r] = dz_of(chunk.subteam, cell_in_chunk) + first;
      if (chunk.subteam.reset_h) local.reset_h_rows[r] = chunk.subteam.reset_h + cell_in_chunk * units + first;
      local.batch_rows[r] = b;
    }
    const CellBackwardArgs<T> args{active,
                                   position.width(),
                                   units,
                                   plan.options.activation,
                                   plan.options.recurrent_activation,
                                   plan.options.reset_after,
                                   local.saved,
                                   local.previous,
                                   local.dy_rows,
                                   local.dh,
                                   local.dc,
                                   local.dreset_h,
                                   local.dz_rows,
                                   local.reset_h_rows};
    bool onto = false;  // whether dh holds something already
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

  // results (active, w) = dz recurrent_kernel^T, of the gates whose operand is (not) reset, or added onto them.
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

  // results = the gates' part of dz_cells weights, times dropout factors, or that added onto them. The results' columns
  // are those from `first` on of what the factors are for.
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

  // Where the weight gradients of one group of gates come from and go to: rows of operands, one more for the bias.
  struct WeightJob {
    const GateGroup& gates;
    bool recurrent;
    bool with_bias;
    int64_t rows;  // the bias's too
    int64_t cost() const { return rows * gates.count; }
    int64_t operands() const { return rows - (with_bias ? 1 : 0); }
  };

  // Calls body(job, rows) for those rows of the weight gradients that are this member's of its subteam.
  template <class Body>
  void for_own_weights(const Team& team, const Body& body) const {
    const GateGroups groups[2] = {cell.input_groups(plan.input_factors),
                                  cell.recurrent_groups(plan.recurrent_factors, true)};
    const auto for_each_job = [&](const auto& take) {
      for (const bool recurrent : {false, true}) {
        const bool with_bias = dweights_.bias && (!recurrent || Base::has_two_biases());
        for (const GateGroup& gates : groups[recurrent ? 1 : 0])
          take(WeightJob{gates, recurrent, with_bias, (recurrent ? units : inputs) + (with_bias ? 1 : 0)});
      }
    };
    int64_t all = 0;
    for_each_job([&](const WeightJob& job) { all += job.cost(); });
    const Range share = split(all, team.subteam_size(), team.rank_in_subteam());
    int64_t first = 0;
    for_each_job([&](const WeightJob& job) {
      // A row belongs to the share in which its first gate lies.
      const auto row_at = [&](int64_t at) {
        return std::clamp<int64_t>((at - first + job.gates.count - 1) / job.gates.count, 0, job.rows);
      };
      const Range rows{row_at(share.begin), row_at(share.end)};
      if (rows.begin < rows.end) body(job, rows);
      first += job.cost();
    });
  }

  // Row `row` of the job's matrix, or of its bias behind that.
  T* weight_row(const WeightSums<T>& sums, const WeightJob& job, int64_t row) const {
    const int64_t ld = cell.gates * units;
    T* matrix = job.recurrent ? sums.recurrent_kernel : sums.kernel;
    T* begin = row < job.operands() ? matrix + row * ld : sums.bias + (job.recurrent ? ld : 0);
    return begin + job.gates.first * units;
  }

  void clear_weights(const WeightSums<T>& sums, const WeightJob& job, Range range) const {
    for (int64_t row = range.begin; row < range.end; ++row)
      std::fill_n(weight_row(sums, job, row), job.gates.count * units, T(0));
  }

  // Adds the chunk's cells to rows `range` of the job's matrix.
  void add_weights(const Chunk& chunk, const WeightSums<T>& sums, const WeightJob& job, Range range) const {
    const ThreadScratch& local = chunk.local;
    const int64_t rows = range.end - range.begin;
    const int64_t columns = job.gates.count * units;
    const int64_t tile = kernels.tile_rows;
    for (int64_t i = 0; i < rows; ++i) {
      local.weight_rows[i] = weight_row(sums, job, range.begin + i);
      const int64_t at = i / tile * column_tile_stride<T>(tile) + i % tile;
      local.column_rows[i] = local.columns + at;
      // The bias's operand is 1 everywhere, and nothing else is written there.
      if (range.begin + i == job.operands())
        for (int64_t k = 0; k < kDepthBlock; ++k) local.columns[at + k * tile] = T(1);
    }
    const int64_t packed = std::min(range.end, job.operands()) - range.begin;
    const int64_t cells = local.first_cells[chunk.shard.count()];
    const int64_t blocks = (cells + kDepthBlock - 1) / kDepthBlock;
    int64_t i = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      const Range span = split(cells, blocks, block);
      for (int64_t c = span.begin; c < span.end; ++c) {
        while (c >= local.first_cells[i + 1]) ++i;
        const int64_t b = chunk.shard[i];
        const int64_t step = chunk.begin + c - local.first_cells[i];
        const T* row = operand_row(chunk, job, b, step, c) + range.begin;
        if (const T* factors = (job.recurrent ? recurrent_dropout : dropout).row(job.gates, b)) {
          multiply(packed, row, factors + range.begin, local.dropped);
          row = local.dropped;
        }
        kernels.pack_column(c - span.begin, packed, row, local.columns);
      }
      kernels.product({rows,
                       {span.end - span.begin, columns, 0},
                       local.column_rows,
                       tile,
                       dz_of(chunk.subteam, span.begin) + job.gates.dz_first * units,
                       dz_stride_,
                       local.weight_rows,
                       local.weight_rows});
    }
  }

  void add_second_shard(const Team& team) const {
    const int64_t columns = cell.gates * units;
    add_sums(team, inputs * columns, scratch_.second.kernel, dweights_.kernel);
    add_sums(team, units * columns, scratch_.second.recurrent_kernel, dweights_.recurrent_kernel);
    if (dweights_.bias)
      add_sums(team, (Base::has_two_biases() ? 2 : 1) * columns, scratch_.second.bias, dweights_.bias);
  }

  const T* operand_row(const Chunk& chunk, const WeightJob& job, int64_t b, int64_t step, int64_t cell_in_chunk) const {
    if (!job.recurrent) return x + (b * timesteps + scratch_.steps.time(b, step)) * inputs;
    if (job.gates.reset) return chunk.subteam.reset_h + cell_in_chunk * units;
    return hidden_before(b, step);
  }

  // h_{t-1}.
  const T* hidden_before(int64_t b, int64_t step) const {
    return step == 0 ? initial(h0, b) : saved_row(b, step - 1) + cell.hidden_at * units;
  }

  // What the elementwise part needs of the step before: c of LSTM, else h.
  const T* previous_row(int64_t b, int64_t step) const {
    if (!cell.has_c()) return hidden_before(b, step);
    return step == 0 ? initial(c0, b) : saved_row(b, step - 1) + cell.c_at * units;
  }

  // The gradient that reaches this step through outputs: its own row and, as masked steps repeat the row's previous
  // output, those of the masked steps that follow, and last_output if this is what it repeats. Null for none; the sum
  // of several is in `buffer`.
  const T* output_gradient(int64_t b, int64_t step, T* buffer) const {
    const Steps& steps = scratch_.steps;
    const int64_t first = steps.place(b, step);
    const bool last = step + 1 == steps.count(b);
    int64_t end = last ? timesteps : steps.place(b, step + 1);
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

  T* dz_of(const SubteamScratch& subteam, int64_t cell_in_chunk) const {
    return subteam.dz + cell_in_chunk * dz_stride_;
  }
  const T* saved_row(int64_t b, int64_t step) const {
    return workspace_ + (b * timesteps + scratch_.steps.time(b, step)) * cell.saved * units;
  }
  const T* initial(const T* state, int64_t b) const { return state ? state + b * units : scratch_.zeros; }

  const T* workspace_;
  const T *doutputs_, *dlast_output_, *dh_n_, *dc_n_;
  T* dx_;
  bool with_weights_;
  WeightSums<T> dweights_;
  T *dh0_, *dc0_;
  int64_t dz_stride_;
  BackwardScratch<T> scratch_;
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

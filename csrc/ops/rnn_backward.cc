// LSTM, GRU and SimpleRNN backward: the driver.
//
// First the time loop in reverse, batch rows dealt to the row groups as in forward: dz of a step from the workspace, then
// dh of the step before as one product dz recurrent_kernel^T; after each chunk of steps, dx of the chunk as one
// product dz kernel^T while dz is in the second-level cache. Within a row group each thread has its own units of dz and
// dh, and all read all of dz, so that they meet after every step.
// Then the weight gradients as products over all cells, a cell being one step of one row:
//   dkernel = x^T dz,  drecurrent_kernel = h_prev^T dz,  dbias = 1^T dz,
// the rows of all of these matrices dealt to the team, their sums taken in one fixed order by everyone. Where the matrices
// are small enough, the batch is split into parts with sums of their own, added up in the end: a thread then reads, as
// far as there are no more threads than parts, the dz that it has written itself, not one from another core's cache.
#include <cstring>

#include "checks.h"
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

// How many parts the sums of the weight gradients have: by the call's dimensions alone.
int weight_parts(const RnnPlan& plan) {
  constexpr int64_t kMostWeights = 256 * 1024;  // of one part; what a thread adds to must stay in its cache
  constexpr int64_t kLeastCells = 256;          // fewer do not repay adding up the parts
  const RnnDims& d = plan.dims;
  const bool pays = (d.inputs + d.units) * d.gates * d.units <= kMostWeights && d.batch * d.timesteps >= kLeastCells;
  return pays && d.batch > 1 ? 2 : 1;
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
                           part(plan.dims.units, plan.unit_groups, index), plan.row_groups, scratch) {}
  };

  // Of one member of the team, with R rows, C = R * chunk cells in a chunk and at most w units.
  struct Member {
    T* dh;                    // (R, w)
    T* dc;                    // (R, w), of LSTM; else null
    T* dreset_h;              // (R, w), of GRU without reset_after; else null
    T* dy;                    // (R, U)
    T* undropped;             // (C, D) or (R, w): a group's product before its dropout factors
    const T** saved;          // (R), as the next four
    const T** previous;
    const T** dy_rows;
    T** dz_rows;
    T** operand_rows;
    const T** dz_cells;       // (C), as the next four
    const T** operands;
    T** results;
    T** undropped_rows;
    int64_t* batch_rows;
    // Of the weight gradients, M = D + 1 + U + 1 rows at most:
    T* dropped;               // (max(D, U)): an operand times its dropout factors
    T* columns;               // (M, kDepthBlock), packed, M rounded up to whole tiles
    const T** column_rows;    // (M)
    T** weight_rows;          // (M)

    Member(const RnnPlan& plan, int, Scratch& scratch) {
      const int64_t units = plan.dims.units;
      const int64_t width = Place(plan, 0).width();
      const int64_t rows = rnn_rows_per_group(plan);
      const int64_t cells = rows * plan.chunk;
      const int64_t most = plan.dims.inputs + units + 2;
      dh = scratch.take<T>(rows * width);
      dc = plan.options.cell == Cell::kLstm ? scratch.take<T>(rows * width) : nullptr;
      dreset_h = CellShape(plan.options).resets_operand ? scratch.take<T>(rows * width) : nullptr;
      dy = scratch.take<T>(rows * units);
      undropped = scratch.take<T>(
          std::max(plan.input_factors ? cells * plan.dims.inputs : 0, plan.recurrent_factors ? rows * width : 0));
      saved = scratch.take<const T*>(rows);
      previous = scratch.take<const T*>(rows);
      dy_rows = scratch.take<const T*>(rows);
      dz_rows = scratch.take<T*>(rows);
      operand_rows = scratch.take<T*>(rows);
      dz_cells = scratch.take<const T*>(cells);
      operands = scratch.take<const T*>(cells);
      results = scratch.take<T*>(cells);
      undropped_rows = scratch.take<T*>(cells);
      batch_rows = scratch.take<int64_t>(cells);
      dropped = scratch.take<T>(std::max(plan.dims.inputs, units));
      const int64_t tile = kernels_of<T>(*plan.isa).tile_rows;
      columns = scratch.take<T>((most + tile) * kDepthBlock);
      column_rows = scratch.take<const T*>(most);
      weight_rows = scratch.take<T*>(most);
    }
  };

  PackedWeights<T> kernel;  // transposed
  Repeated<Weights> weights;
  Repeated<Member> members;
  Steps steps;
  T* dz;       // (cells, dz_stride), and a vector of room behind it
  T* operand;  // (cells, U): h of LSTM, r h_prev of GRU without reset_after; else null
  T* zeros;    // (U)
  WeightSums<T> second;  // of the second part; those of the first are the results

  BackwardScratch(const RnnPlan& plan, Scratch& scratch)
      : kernel(kernels_of<T>(*plan.isa), plan.dims.inputs, plan.dims.units, CellShape(plan.options).gates,
               CellShape(plan.options).input_groups(plan.input_factors), true, {0, plan.dims.inputs},
               rnn_threads(plan), scratch),
        weights(plan, plan.unit_groups, scratch),
        members(plan, rnn_threads(plan), scratch),
        steps(plan.dims.batch, plan.dims.timesteps, plan.options.go_backwards, plan.masked, weight_parts(plan), scratch) {
    const int64_t cells = plan.dims.batch * plan.dims.timesteps;
    const CellShape cell(plan.options);
    dz = scratch.take<T>(cells * dz_stride<T>(plan) + 16);
    operand = cell.hidden_at < 0 || cell.resets_operand ? scratch.take<T>(cells * plan.dims.units) : nullptr;
    zeros = scratch.take<T>(plan.dims.units);
    const int64_t columns = plan.dims.gates * plan.dims.units;
    const int64_t sums = weight_parts(plan) > 1 ? columns : 0;
    second = {scratch.take<T>(plan.dims.inputs * sums), scratch.take<T>(plan.dims.units * sums),
              scratch.take<T>(2 * sums)};
  }
  BackwardScratch(const RnnPlan& plan, void* memory) : BackwardScratch(plan, Scratch(memory)) {}

 private:
  BackwardScratch(const RnnPlan& plan, Scratch&& scratch) : BackwardScratch(plan, scratch) {}
};

template <class T>
class Backward : RnnOperands<T> {
  using Base = RnnOperands<T>;
  using Base::batch, Base::timesteps, Base::inputs, Base::units, Base::plan, Base::kernels, Base::cell, Base::mask;
  using Base::x, Base::kernel, Base::recurrent_kernel, Base::h0, Base::c0;
  using Base::dropout, Base::recurrent_dropout, Base::copy_units;

  using Weights = typename BackwardScratch<T>::Weights;
  using Member = typename BackwardScratch<T>::Member;

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
        dweights_{gradients.dkernel.as<T>(), gradients.drecurrent_kernel.as<T>(), gradients.dbias.as<T>()},
        dh0_(gradients.dh0.as<T>()),
        dc0_(gradients.dc0.as<T>()),
        dz_stride_(dz_stride<T>(plan)),
        scratch_(the_plan, memory) {}

  void run(const Team& team) const {
    const Place place(plan, team.rank);
    const Weights weights = scratch_.weights.at(place.unit_group);
    scratch_.kernel.pack(kernel, team.rank);
    weights.recurrent_kernel.pack(recurrent_kernel, place.row_group);
    if (team.rank == 0) {
      scratch_.steps.build(mask);
      std::fill_n(scratch_.zeros, units, T(0));
    }
    team.wait();
    const Team ordered = team.by_cpu();
    run_rows(ordered);
    team.wait();
    run_weights(ordered);
    team.wait();
    if (scratch_.steps.parts() > 1) {
      add_second_part(ordered);
      team.wait();
    }
  }

 private:
  void run_rows(const Team& team) const {
    const Place place(plan, team.rank);
    const PackedWeights<T> weights = scratch_.weights.at(place.unit_group).recurrent_kernel;
    const Member own = scratch_.members.at(team.rank);
    const Steps& steps = scratch_.steps;
    const GroupRows rows(steps, plan, place);
    for (int64_t r = 0; r < rows.count(); ++r) {
      copy_units(place, dh_n_, rows[r], own.dh + r * place.width());
      if (own.dc) copy_units(place, dc_n_, rows[r], own.dc + r * place.width());
      if (steps.count(rows[r]) < timesteps && place.unit_group == 0)
        std::fill_n(dx_ + rows[r] * timesteps * inputs, timesteps * inputs, T(0));
    }

    for (int64_t end = rows.most_steps(); end > 0;) {
      const int64_t begin = end > plan.chunk ? end - plan.chunk : 0;
      for (int64_t step = end - 1; step >= begin; --step) {
        const int64_t active = rows.active(step, rows.count());
        take_step(place, team.group(place.row_group), weights, own, rows, step, active);
      }
      // The threads of the group have met after the chunk's last dz; each takes its share of the cells.
      int64_t all = 0;
      for (int64_t r = 0; r < rows.count(); ++r)
        all += std::max<int64_t>(0, std::min(end, steps.count(rows[r])) - begin);
      const Range share = part(all, plan.unit_groups, place.unit_group);
      int64_t index = 0;
      int64_t cells = 0;
      for (int64_t r = 0; r < rows.count(); ++r) {
        const int64_t b = rows[r];
        const int64_t count = steps.count(b);
        for (int64_t step = begin; step < end && step < count; ++step, ++index) {
          if (index < share.begin || index >= share.end) continue;
          own.dz_cells[cells] = dz_row(b, step);
          own.results[cells] = dx_ + (b * timesteps + steps.time(b, step)) * inputs;
          own.batch_rows[cells++] = b;
        }
      }
      bool onto = false;
      for (const GateGroup& gates : scratch_.kernel.groups()) {
        product(own, cells, scratch_.kernel, gates, dropout, onto);
        onto = true;
      }
      end = begin;
    }

    for (int64_t r = 0; r < rows.count(); ++r) {
      const int64_t at = rows[r] * units + place.units.begin;
      std::copy_n(own.dh + r * place.width(), place.width(), dh0_ + at);
      if (own.dc) std::copy_n(own.dc + r * place.width(), place.width(), dc0_ + at);
    }
  }

  // One step of the first `active` rows: dz, and dh of the step before.
  void take_step(const Place& place, Barrier& all_units, const PackedWeights<T>& weights, const Member& own,
                 const GroupRows& rows, int64_t step, int64_t active) const {
    const int64_t first = place.units.begin;
    for (int64_t r = 0; r < active; ++r) {
      const int64_t b = rows[r];
      own.saved[r] = saved_row(b, step) + first;
      own.previous[r] = previous_row(b, step) + first;
      const T* dy = output_gradient(b, step, own.dy + r * units);
      own.dy_rows[r] = dy ? dy + first : nullptr;
      own.dz_rows[r] = dz_row(b, step) + first;
      if (scratch_.operand) own.operand_rows[r] = scratch_.operand + scratch_.steps.cell(b, step) * units + first;
      own.batch_rows[r] = b;
    }
    const CellBackwardArgs<T> args{active,
                                   place.width(),
                                   units,
                                   plan.options.activation,
                                   plan.options.recurrent_activation,
                                   plan.options.reset_after,
                                   own.saved,
                                   own.previous,
                                   own.dy_rows,
                                   own.dh,
                                   own.dc,
                                   own.dreset_h,
                                   own.dz_rows,
                                   own.operand_rows};
    bool onto = false;  // whether dh holds something already
    switch (plan.options.cell) {
      case Cell::kLstm:
        kernels.lstm_backward(args);
        break;
      case Cell::kGru:
        kernels.gru_update_backward(args);
        if (cell.resets_operand) {
          all_units.wait();
          recurrent_products(place, weights, own, active, true, own.dreset_h, false);
        }
        kernels.gru_reset_backward(args);
        onto = true;
        break;
      case Cell::kSimpleRnn:
        kernels.simple_rnn_backward(args);
        break;
    }
    all_units.wait();
    recurrent_products(place, weights, own, active, false, own.dh, onto);
  }

  // results (active, w) = dz recurrent_kernel^T, of the gates whose operand is (not) reset, or added onto them.
  void recurrent_products(const Place& place, const PackedWeights<T>& weights, const Member& own, int64_t active,
                          bool reset, T* results, bool onto) const {
    for (int64_t r = 0; r < active; ++r) {
      own.dz_cells[r] = own.dz_rows[r] - place.units.begin;
      own.results[r] = results + r * place.width();
    }
    for (const GateGroup& gates : weights.groups()) {
      if (gates.reset != reset) continue;
      product(own, active, weights, gates, recurrent_dropout, onto, place.units.begin);
      onto = true;
    }
  }

  // results = the gates' part of dz_cells weights, times dropout factors, or that added onto them. The results' columns
  // are those from `first` on of what the factors are for.
  void product(const Member& own, int64_t rows, const PackedWeights<T>& weights, const GateGroup& gates,
               const DropoutFactors<T>& factors, bool onto, int64_t first = 0) const {
    const PackedShape shape = weights.shape(gates);
    for (int64_t m = 0; m < rows; ++m) own.operands[m] = own.dz_cells[m] + gates.dz_first * units;
    if (!factors.data) {
      kernels.product({rows, shape, own.operands, 1, weights.data(gates), 0, onto ? own.results : nullptr,
                       own.results});
    } else {
      const int64_t columns = shape.columns;
      for (int64_t m = 0; m < rows; ++m) own.undropped_rows[m] = own.undropped + m * columns;
      kernels.product({rows, shape, own.operands, 1, weights.data(gates), 0, nullptr, own.undropped_rows});
      for (int64_t m = 0; m < rows; ++m) {
        const T* factor = factors.row(gates, own.batch_rows[m]) + first;
        T* result = own.results[m];
        const T* addend = own.undropped_rows[m];
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
  };

  void run_weights(const Team& team) const {
    const Member own = scratch_.members.at(team.rank);
    const GateGroups groups[2] = {cell.input_groups(plan.input_factors),
                                  cell.recurrent_groups(plan.recurrent_factors, true)};
    const auto for_each_job = [&](const auto& body) {
      for (const bool recurrent : {false, true}) {
        const bool with_bias = dweights_.bias && (!recurrent || Base::has_recurrent_bias());
        for (const GateGroup& gates : groups[recurrent ? 1 : 0])
          body(WeightJob{gates, recurrent, with_bias, (recurrent ? units : inputs) + (with_bias ? 1 : 0)});
      }
    };
    int64_t all = 0;
    for_each_job([&](const WeightJob& job) { all += job.cost(); });
    // Rows were dealt to the ranks in turn, and so were they to the parts: ranks are taken in the parts' order.
    const int parts = scratch_.steps.parts();
    const int turn = team.rank % parts;
    const int position = team.rank / parts + turn * (team.size / parts) + std::min(turn, team.size % parts);
    const Range share = fastseq::part(parts * all, team.size, position);
    int64_t first = 0;
    for (int part = 0; part < parts; ++part)
      for_each_job([&](const WeightJob& job) {
        // A row belongs to the share in which its first gate lies.
        const auto row_at = [&](int64_t at) {
          return std::clamp<int64_t>((at - first + job.gates.count - 1) / job.gates.count, 0, job.rows);
        };
        const Range rows{row_at(share.begin), row_at(share.end)};
        if (rows.begin < rows.end) weight_rows(job, part, rows, own);
        first += job.cost();
      });
  }

  // Rows [begin, end) of the job's matrix, summed over the cells of one part.
  void weight_rows(const WeightJob& job, int part, Range range, const Member& own) const {
    const Steps& steps = scratch_.steps;
    const int64_t rows = range.end - range.begin;
    const int64_t columns = job.gates.count * units;
    const int64_t ld = cell.gates * units;
    const int64_t operands = job.rows - (job.with_bias ? 1 : 0);
    const int64_t tile = kernels.tile_rows;
    const WeightSums<T>& sums = part == 0 ? dweights_ : scratch_.second;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row = range.begin + i;
      T* matrix = job.recurrent ? sums.recurrent_kernel : sums.kernel;
      T* bias_row = sums.bias + (job.recurrent ? ld : 0);
      own.weight_rows[i] = (row < operands ? matrix + row * ld : bias_row) + job.gates.first * units;
      std::fill_n(own.weight_rows[i], columns, T(0));
      const int64_t at = i / tile * tile * kDepthBlock + i % tile;
      own.column_rows[i] = own.columns + at;
      // The bias's operand is 1 everywhere, and nothing else is written there.
      if (row == operands)
        for (int64_t k = 0; k < kDepthBlock; ++k) own.columns[at + k * tile] = T(1);
    }
    const int64_t packed = std::min(range.end, operands) - range.begin;
    int64_t index = part;
    int64_t step = 0;
    const int64_t end = steps.first_cell(part + 1);
    for (int64_t begin = steps.first_cell(part); begin < end; begin += kDepthBlock) {
      const int64_t depth = std::min(kDepthBlock, end - begin);
      for (int64_t k = 0; k < depth; ++k, ++step) {
        while (step == steps.count(steps.ordered_row(index))) {
          index += steps.parts();
          step = 0;
        }
        const int64_t b = steps.ordered_row(index);
        const T* row = operand_row(job, b, step) + range.begin;
        if (const T* factors = (job.recurrent ? recurrent_dropout : dropout).row(job.gates, b)) {
          multiply(packed, row, factors + range.begin, own.dropped);
          row = own.dropped;
        }
        kernels.pack_column(k, packed, row, own.columns);
      }
      kernels.product({rows, {depth, columns, 0}, own.column_rows, tile,
                       scratch_.dz + begin * dz_stride_ + job.gates.dz_first * units, dz_stride_, own.weight_rows,
                       own.weight_rows});
    }
  }

  void add_second_part(const Team& team) const {
    const auto add = [&](int64_t count, const T* from, T* to) {
      const Range share = team.share(count);
      add_to(share.end - share.begin, from + share.begin, to + share.begin);
    };
    const int64_t columns = cell.gates * units;
    add(inputs * columns, scratch_.second.kernel, dweights_.kernel);
    add(units * columns, scratch_.second.recurrent_kernel, dweights_.recurrent_kernel);
    if (dweights_.bias) add((Base::has_recurrent_bias() ? 2 : 1) * columns, scratch_.second.bias, dweights_.bias);
  }

  const T* operand_row(const WeightJob& job, int64_t b, int64_t step) const {
    if (!job.recurrent) return x + (b * timesteps + scratch_.steps.time(b, step)) * inputs;
    if (job.gates.reset) return scratch_.operand + scratch_.steps.cell(b, step) * units;
    return hidden_before(b, step);
  }

  // h_{t-1}.
  const T* hidden_before(int64_t b, int64_t step) const {
    if (step == 0) return initial(h0, b);
    if (cell.hidden_at < 0) return scratch_.operand + scratch_.steps.cell(b, step - 1) * units;
    return saved_row(b, step - 1) + cell.hidden_at * units;
  }

  // What the elementwise part needs of the step before: c of LSTM, else h.
  const T* previous_row(int64_t b, int64_t step) const {
    if (plan.options.cell != Cell::kLstm) return hidden_before(b, step);
    return step == 0 ? initial(c0, b) : saved_row(b, step - 1) + 4 * units;
  }

  // The gradient that reaches this step through outputs: its own row and, as masked steps repeat the row's previous
  // output, those of the masked steps that follow, and last_output if this is what it repeats. Null for none; the sum
  // of several is in `buffer`.
  const T* output_gradient(int64_t b, int64_t step, T* buffer) const {
    const Steps& steps = scratch_.steps;
    const int64_t own = steps.place(b, step);
    const bool last = step + 1 == steps.count(b);
    int64_t end = last ? timesteps : steps.place(b, step + 1);
    const bool last_output_is_ours = last && (own == timesteps - 1 || !plan.options.zero_output_for_mask);
    if (plan.options.zero_output_for_mask) end = own + 1;
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
      for (int64_t s = own; s < end; ++s) add(doutputs_ + (b * timesteps + s) * units);
    if (dlast_output_ && last_output_is_ours) add(dlast_output_ + b * units);
    return sum;
  }

  T* dz_row(int64_t b, int64_t step) const { return scratch_.dz + scratch_.steps.cell(b, step) * dz_stride_; }
  const T* saved_row(int64_t b, int64_t step) const {
    return workspace_ + (b * timesteps + scratch_.steps.time(b, step)) * cell.saved * units;
  }
  const T* initial(const T* state, int64_t b) const { return state ? state + b * units : scratch_.zeros; }

  const T* workspace_;
  const T *doutputs_, *dlast_output_, *dh_n_, *dc_n_;
  T* dx_;
  WeightSums<T> dweights_;
  T *dh0_, *dc0_;
  int64_t dz_stride_;
  BackwardScratch<T> scratch_;
};

}  // namespace

size_t rnn_backward_scratch_bytes(const RnnPlan& plan) { return rnn_scratch_bytes<BackwardScratch>(plan); }

Status rnn_backward(const RnnPlan& plan, const RnnInputs& inputs, const Array& workspace,
                    const RnnOutputGradients& doutputs, const RnnGradients& gradients, void* scratch) {
  const RnnDims& d = plan.dims;
  const bool lstm = plan.options.cell == Cell::kLstm;
  FASTSEQ_RETURN_IF_ERROR(check_array("workspace", workspace, d.dtype,
                                      {d.batch, d.timesteps, rnn_workspace_width(plan.options, d.units)}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("doutputs", doutputs.doutputs, d.dtype, {d.batch, d.timesteps, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dlast_output", doutputs.dlast_output, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dh_n", doutputs.dh_n, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("dx", gradients.dx, d.dtype, {d.batch, d.timesteps, d.inputs}));
  FASTSEQ_RETURN_IF_ERROR(check_array("dkernel", gradients.dkernel, d.dtype, {d.inputs, d.gates * d.units}));
  FASTSEQ_RETURN_IF_ERROR(
      check_array("drecurrent_kernel", gradients.drecurrent_kernel, d.dtype, {d.units, d.gates * d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_bias("dbias", gradients.dbias, plan.options, d));
  FASTSEQ_RETURN_IF_ERROR(check_array("dh0", gradients.dh0, d.dtype, {d.batch, d.units}));
  if (lstm) {
    FASTSEQ_RETURN_IF_ERROR(check_optional("dc_n", doutputs.dc_n, d.dtype, {d.batch, d.units}));
    FASTSEQ_RETURN_IF_ERROR(check_array("dc0", gradients.dc0, d.dtype, {d.batch, d.units}));
  }
  run_rnn<Backward>(plan, scratch, inputs, workspace, doutputs, gradients);
  return {};
}

}  // namespace fastseq

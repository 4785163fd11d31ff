// LSTM backward: the driver.
//
// First the time loop in reverse, batch rows dealt to the team as in forward, no barrier in it: dz of a step from the
// workspace, then dh of the step before as one product dz recurrent_kernel^T; after each chunk of steps, dx of the
// chunk as one product dz kernel^T while dz is in the second-level cache. Then, after one barrier, the weight
// gradients as one product over all steps of all rows,
//   [dkernel; drecurrent_kernel; dbias] = [x | h_prev | 1]^T dz,
// its result split over the team by rows and columns, its sum taken in one fixed order by everyone.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "fastseq/lstm.h"
#include "lstm_layout.h"

namespace fastseq {
namespace {

// How [rows x columns] of a result is split over a team: parts_m x parts_n, columns by whole vectors.
struct Grid {
  int parts_m;
  int parts_n;
};

Grid choose_grid(int members, int64_t rows, int64_t vectors, int lanes) {
  Grid best{1, 1};
  int64_t best_cost = -1;
  for (int m = 1; m <= members; ++m) {
    const int n = members / m;
    const int64_t part_rows = (rows + m - 1) / m;
    const int64_t part_vectors = (vectors + n - 1) / n;
    // Multiply-adds of the largest part, plus packing its two operands (worth about 8 each).
    const int64_t cost = part_rows * part_vectors + 8 * (part_rows / lanes + part_vectors);
    if (best_cost < 0 || cost < best_cost) {
      best_cost = cost;
      best = {m, n};
    }
  }
  return best;
}

template <class T>
struct BackwardScratch : LstmPrepared<T> {
  T* dz;      // (B, T, 4U), by step, not by time
  T* hidden;  // (B, T, U), h by step
  T* zeros;   // (U)

  // Of one member of the team, which has R rows at most and C = R * chunk cells in a chunk.
  struct Member {
    T* dh;                   // (R, U)
    T* dc;                   // (R, U)
    T* dy;                   // (U)
    T* unmasked;             // (C, D) or (R, U): a gate's product before its dropout factors
    const T** dz_rows;       // (C), as the next four
    const T** group_rows;
    T** result_rows;
    T** unmasked_rows;
    int64_t* batch_rows;
    // Of the weight gradients, M = D + U + 1 rows at most:
    T* operands;              // (kDepthBlock, M)
    T* packed_dz;             // kDepthBlock x 4U, packed
    const T** operand_columns;  // (M)
    T** weight_rows;            // (M)

    Member(const LstmPlan& plan, Scratch& scratch) {
      const int64_t units = plan.dims.units;
      const int64_t rows = lstm_rows_per_member(plan);
      const int64_t cells = rows * plan.chunk;
      const int64_t weight_count = plan.dims.inputs + units + 1;
      dh = scratch.take<T>(rows * units);
      dc = scratch.take<T>(rows * units);
      dy = scratch.take<T>(units);
      unmasked = scratch.take<T>(std::max(plan.input_groups ? cells * plan.dims.inputs : 0,
                                          plan.recurrent_groups ? rows * units : 0));
      dz_rows = scratch.take<const T*>(cells);
      group_rows = scratch.take<const T*>(cells);
      result_rows = scratch.take<T*>(cells);
      unmasked_rows = scratch.take<T*>(cells);
      batch_rows = scratch.take<int64_t>(cells);
      operands = scratch.take<T>(kDepthBlock * weight_count);
      packed_dz = scratch.take<T>(kernels_of<T>(*plan.isa).packed_size(kDepthBlock, 4 * units));
      operand_columns = scratch.take<const T*>(weight_count);
      weight_rows = scratch.take<T*>(weight_count);
    }
  };
  MemberScratch<Member> members;

  BackwardScratch(const LstmPlan& plan, bool masked, Scratch& scratch)
      : LstmPrepared<T>(plan, masked, true, scratch),
        dz(scratch.take<T>(plan.dims.batch * plan.dims.timesteps * 4 * plan.dims.units)),
        hidden(scratch.take<T>(plan.dims.batch * plan.dims.timesteps * plan.dims.units)),
        zeros(scratch.take<T>(plan.dims.units)),
        members(plan, scratch) {}
};

template <class T>
struct Backward : LstmOperands<T> {
  using Base = LstmOperands<T>;
  using Base::batch, Base::timesteps, Base::inputs, Base::units, Base::plan, Base::kernels, Base::mask;
  using Base::x, Base::kernel, Base::recurrent_kernel, Base::h0, Base::c0;
  using Base::dropout, Base::recurrent_dropout, Base::copy_or_zero;

  const T *gates, *cells;
  const T *doutputs, *dlast_output, *dh_n, *dc_n;
  T *dx, *dkernel, *drecurrent_kernel, *dbias, *dh0, *dc0;
  BackwardScratch<T>& scratch;
  const Steps& steps;

  using Pieces = typename BackwardScratch<T>::Member;

  void prepare(const Team& team) {
    scratch.prepare(team, kernel, recurrent_kernel, mask);
    if (team.rank == 0) std::fill_n(scratch.zeros, units, T(0));
  }

  void run_rows(const Team& team) {
    const Pieces pieces = scratch.members.at(plan, team.rank);
    const MemberRows rows(steps, team, batch);
    for (int64_t r = 0; r < rows.count(); ++r) {
      copy_or_zero(pieces.dh + r * units, dh_n, rows[r]);
      copy_or_zero(pieces.dc + r * units, dc_n, rows[r]);
      if (steps.count(rows[r]) < timesteps)
        std::fill_n(dx + rows[r] * timesteps * inputs, timesteps * inputs, T(0));
    }

    const int64_t longest = rows.most_steps();
    for (int64_t end = longest; end > 0;) {
      const int64_t begin = end > plan.chunk ? end - plan.chunk : 0;
      for (int64_t step = end - 1; step >= begin; --step) {
        int64_t active = 0;
        for (; active < rows.count() && steps.count(rows[active]) > step; ++active) {
          const int64_t b = rows[active];
          const int64_t cell = b * timesteps + step;
          const T* c = cells_at(b, step);
          T* dz = scratch.dz + cell * 4 * units;
          kernels.lstm_gates_backward({units, gates + (b * timesteps + steps.time(b, step)) * 4 * units,
                                       step > 0 ? cells_at(b, step - 1) : initial(c0, b), c,
                                       output_gradient(b, step, pieces.dy), pieces.dh + active * units,
                                       pieces.dc + active * units, dz, scratch.hidden + cell * units});
          pieces.dz_rows[active] = dz;
          pieces.result_rows[active] = pieces.dh + active * units;
          pieces.batch_rows[active] = b;
        }
        product(pieces, active, scratch.recurrent_kernel, recurrent_dropout);
      }

      int64_t cells_in_chunk = 0;
      for (int64_t r = 0; r < rows.count(); ++r) {
        const int64_t b = rows[r];
        const int64_t count = steps.count(b);
        for (int64_t step = begin; step < end && step < count; ++step) {
          pieces.dz_rows[cells_in_chunk] = scratch.dz + (b * timesteps + step) * 4 * units;
          pieces.result_rows[cells_in_chunk] = dx + (b * timesteps + steps.time(b, step)) * inputs;
          pieces.batch_rows[cells_in_chunk++] = b;
        }
      }
      product(pieces, cells_in_chunk, scratch.kernel, dropout);
      end = begin;
    }

    for (int64_t r = 0; r < rows.count(); ++r) {
      std::copy_n(pieces.dh + r * units, units, dh0 + rows[r] * units);
      std::copy_n(pieces.dc + r * units, units, dc0 + rows[r] * units);
    }
  }

  void run_weights(const Team& team) {
    const Pieces pieces = scratch.members.at(plan, team.rank);
    const int groups = std::max(scratch.kernel.groups(), scratch.recurrent_kernel.groups());
    const int64_t columns = 4 * units / groups;
    const int64_t all_rows = inputs + units + (dbias ? 1 : 0);
    const int64_t vectors = (columns + kernels.lanes - 1) / kernels.lanes;
    const Grid grid = choose_grid(team.size, all_rows, vectors, kernels.lanes);
    if (team.rank >= grid.parts_m * grid.parts_n) return;
    const Range m = part(all_rows, grid.parts_m, team.rank / grid.parts_n);
    const Range v = part(vectors, grid.parts_n, team.rank % grid.parts_n);
    const Range n{v.begin * kernels.lanes, std::min(columns, v.end * kernels.lanes)};
    if (m.begin == m.end || n.begin >= n.end) return;
    for (int g = 0; g < groups; ++g) weight_block(pieces, g, m, {g * columns + n.begin, g * columns + n.end});
  }

  // Rows m of [dkernel; drecurrent_kernel; dbias], columns n of 4U, all within gate group g.
  void weight_block(const Pieces& pieces, int g, Range m, Range n) const {
    const int64_t rows = m.end - m.begin;
    const int64_t columns = n.end - n.begin;
    for (int64_t i = 0; i < rows; ++i) {
      pieces.operand_columns[i] = pieces.operands + i;
      pieces.weight_rows[i] = weight_row(m.begin + i) + n.begin;
      std::fill_n(pieces.weight_rows[i], columns, T(0));
    }
    int64_t left = 0;
    for (int64_t b = 0; b < batch; ++b) left += steps.count(b);
    int64_t b = 0;
    int64_t step = 0;
    while (left > 0) {
      const int64_t depth = std::min(kDepthBlock, left);
      for (int64_t k = 0; k < depth; ++k, ++step) {
        while (step == steps.count(b)) {
          ++b;
          step = 0;
        }
        gather_operands(g, b, step, m, pieces.operands + k * rows);
        const T* dz = scratch.dz + (b * timesteps + step) * 4 * units;
        kernels.pack_row(k, depth, columns, dz + n.begin, pieces.packed_dz);
      }
      kernels.product({rows, depth, columns, pieces.operand_columns, rows, pieces.packed_dz, pieces.weight_rows,
                       pieces.weight_rows});
      left -= depth;
    }
  }

  // [x_t | h_{t-1} | 1][m], each times its dropout factors.
  void gather_operands(int g, int64_t b, int64_t step, Range m, T* to) const {
    const T* x_row = x + (b * timesteps + steps.time(b, step)) * inputs;
    const T* h_row = step > 0 ? scratch.hidden + (b * timesteps + step - 1) * units : initial(h0, b);
    to = gather(x_row, dropout.row(g, b), m, 0, inputs, to);
    to = gather(h_row, recurrent_dropout.row(g, b), m, inputs, units, to);
    if (m.end > inputs + units) *to = T(1);
  }

  // Elements of row that lie in m, the row being [first, first + count) of all.
  static T* gather(const T* row, const T* factors, Range m, int64_t first, int64_t count, T* to) {
    const int64_t begin = std::max<int64_t>(0, m.begin - first);
    const int64_t size = std::min(count, m.end - first) - begin;
    if (size <= 0) return to;
    if (factors)
      multiply(size, row + begin, factors + begin, to);
    else
      std::memcpy(to, row + begin, static_cast<size_t>(size) * sizeof(T));
    return to + size;
  }

  T* weight_row(int64_t m) const {
    if (m < inputs) return dkernel + m * 4 * units;
    if (m < inputs + units) return drecurrent_kernel + (m - inputs) * 4 * units;
    return dbias;
  }

  // result_rows = sum over gates of (dz_rows of the gate, weights^T of the gate), each times its dropout factors.
  void product(const Pieces& pieces, int64_t rows, const PackedWeights<T>& weights,
               const DropoutFactors<T>& factors) const {
    const int64_t columns = weights.columns();
    if (!factors.data) {
      kernels.product({rows, weights.depth(), columns, pieces.dz_rows, 1, weights.group(0), nullptr,
                       pieces.result_rows});
      return;
    }
    for (int64_t i = 0; i < rows; ++i) pieces.unmasked_rows[i] = pieces.unmasked + i * columns;
    for (int g = 0; g < weights.groups(); ++g) {
      for (int64_t i = 0; i < rows; ++i) pieces.group_rows[i] = pieces.dz_rows[i] + g * weights.gate_columns();
      kernels.product({rows, weights.depth(), columns, pieces.group_rows, 1, weights.group(g), nullptr,
                       pieces.unmasked_rows});
      for (int64_t i = 0; i < rows; ++i) {
        const T* factor = factors.row(g, pieces.batch_rows[i]);
        T* result = pieces.result_rows[i];
        const T* addend = pieces.unmasked_rows[i];
        if (g == 0)
          multiply(columns, addend, factor, result);
        else
          for (int64_t j = 0; j < columns; ++j) result[j] += addend[j] * factor[j];
      }
    }
  }

  // The gradient that reaches this step through outputs: its own row and, as masked steps repeat the row's previous
  // output, those of the masked steps that follow, and last_output if this is what it repeats. Null for none; the sum
  // of several is in `buffer`.
  const T* output_gradient(int64_t b, int64_t step, T* buffer) const {
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
    if (doutputs)
      for (int64_t s = own; s < end; ++s) add(doutputs + (b * timesteps + s) * units);
    if (dlast_output && last_output_is_ours) add(dlast_output + b * units);
    return sum;
  }

  const T* cells_at(int64_t b, int64_t step) const { return cells + (b * timesteps + steps.time(b, step)) * units; }
  const T* initial(const T* state, int64_t b) const { return state ? state + b * units : scratch.zeros; }
};

template <class T>
void run(const LstmPlan& plan, const LstmInputs& in, const LstmWorkspace& workspace, const LstmOutputGradients& dout,
         const LstmGradients& gradients, void* memory) {
  Scratch carve(memory);
  BackwardScratch<T> scratch(plan, in.mask.present, carve);
  Backward<T> backward{{plan, in},
                       workspace.gates.as<T>(),
                       workspace.cells.as<T>(),
                       dout.doutputs.as<T>(),
                       dout.dlast_output.as<T>(),
                       dout.dh_n.as<T>(),
                       dout.dc_n.as<T>(),
                       gradients.dx.as<T>(),
                       gradients.dkernel.as<T>(),
                       gradients.drecurrent_kernel.as<T>(),
                       gradients.dbias.as<T>(),
                       gradients.dh0.as<T>(),
                       gradients.dc0.as<T>(),
                       scratch,
                       scratch.steps};
  run_team<Backward<T>, 3>(plan.threads, backward,
                           {&Backward<T>::prepare, &Backward<T>::run_rows, &Backward<T>::run_weights});
}

}  // namespace

size_t lstm_backward_scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs) {
  return scratch_bytes<BackwardScratch>(plan, inputs);
}

Status lstm_backward(const LstmPlan& plan, const LstmInputs& inputs, const LstmWorkspace& workspace,
                     const LstmOutputGradients& doutputs, const LstmGradients& gradients, void* scratch) {
  const LstmDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(check_array("gates", workspace.gates, d.dtype, {d.batch, d.timesteps, 4 * d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("cells", workspace.cells, d.dtype, {d.batch, d.timesteps, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("doutputs", doutputs.doutputs, d.dtype, {d.batch, d.timesteps, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dlast_output", doutputs.dlast_output, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dh_n", doutputs.dh_n, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dc_n", doutputs.dc_n, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("dx", gradients.dx, d.dtype, {d.batch, d.timesteps, d.inputs}));
  FASTSEQ_RETURN_IF_ERROR(check_array("dkernel", gradients.dkernel, d.dtype, {d.inputs, 4 * d.units}));
  FASTSEQ_RETURN_IF_ERROR(
      check_array("drecurrent_kernel", gradients.drecurrent_kernel, d.dtype, {d.units, 4 * d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dbias", gradients.dbias, d.dtype, {4 * d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("dh0", gradients.dh0, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("dc0", gradients.dc0, d.dtype, {d.batch, d.units}));
  if (d.dtype == DType::kFloat64)
    run<double>(plan, inputs, workspace, doutputs, gradients, scratch);
  else
    run<float>(plan, inputs, workspace, doutputs, gradients, scratch);
  return {};
}

}  // namespace fastseq

// LSTM forward: the driver.
//
// Batch rows are dealt to the team; each member runs the whole time loop of its rows with no barrier in it. Time goes in
// chunks: first the input projection x kernel + bias of all steps of the chunk as one product, while the chunk's x and
// z stay in the second-level cache, then the steps, each one product h recurrent_kernel onto z and the gates.
// (Row-parallel loops without barriers: Zhang et al. 2018, "DeepCPU"; the projection ahead of the loop: Appleyard et al.
// 2016.) Workspace: activated gates (B, T, 4U) and cells (B, T, U), by time.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "fastseq/lstm.h"
#include "lstm_layout.h"

namespace fastseq {
namespace {

template <class T>
struct ForwardScratch : LstmPrepared<T> {
  // Of one member of the team, which has R rows at most and C = R * chunk cells in a chunk.
  struct Member {
    T* h;                     // (R, U)
    T* c;                     // (R, U)
    T* gates;                 // (C, 4U) when the workspace is not saved
    T* masked;                // (C, D) or (R, U): operands times their dropout factors
    const T** operand_rows;   // (C), as the next five
    const T** masked_rows;
    const T** initial_rows;
    T** gate_rows;
    T** group_rows;
    int64_t* batch_rows;
    const T** c_prev;  // (R)

    Member(const LstmPlan& plan, Scratch& scratch) {
      const int64_t units = plan.dims.units;
      const int64_t rows = lstm_rows_per_member(plan);
      const int64_t cells = rows * plan.chunk;
      h = scratch.take<T>(rows * units);
      c = scratch.take<T>(rows * units);
      gates = scratch.take<T>(plan.save_workspace ? 0 : cells * 4 * units);
      masked = scratch.take<T>(std::max(plan.input_groups ? cells * plan.dims.inputs : 0,
                                        plan.recurrent_groups ? rows * units : 0));
      operand_rows = scratch.take<const T*>(cells);
      masked_rows = scratch.take<const T*>(cells);
      initial_rows = scratch.take<const T*>(cells);
      gate_rows = scratch.take<T*>(cells);
      group_rows = scratch.take<T*>(cells);
      batch_rows = scratch.take<int64_t>(cells);
      c_prev = scratch.take<const T*>(rows);
    }
  };
  MemberScratch<Member> members;

  ForwardScratch(const LstmPlan& plan, bool masked, Scratch& scratch)
      : LstmPrepared<T>(plan, masked, false, scratch),
        members(plan, scratch) {}
};

template <class T>
struct Forward : LstmOperands<T> {
  using Base = LstmOperands<T>;
  using Base::batch, Base::timesteps, Base::inputs, Base::units, Base::plan, Base::kernels, Base::mask;
  using Base::x, Base::kernel, Base::recurrent_kernel, Base::bias, Base::h0, Base::c0;
  using Base::dropout, Base::recurrent_dropout, Base::copy_or_zero;

  T *outputs, *last_output, *h_n, *c_n, *gates, *cells;
  ForwardScratch<T>& scratch;
  const Steps& steps;

  using Pieces = typename ForwardScratch<T>::Member;

  void prepare(const Team& team) { scratch.prepare(team, kernel, recurrent_kernel, mask); }

  void run_rows(const Team& team) {
    const Pieces pieces = scratch.members.at(plan, team.rank);
    const MemberRows rows(steps, team, batch);
    const size_t row_bytes = static_cast<size_t>(units) * sizeof(T);
    for (int64_t r = 0; r < rows.count(); ++r) {
      copy_or_zero(pieces.h + r * units, h0, rows[r]);
      copy_or_zero(pieces.c + r * units, c0, rows[r]);
      pieces.c_prev[r] = pieces.c + r * units;
    }

    const int64_t longest = rows.most_steps();
    for (int64_t begin = 0; begin < longest; begin += plan.chunk) {
      const int64_t end = begin + plan.chunk < longest ? begin + plan.chunk : longest;
      const auto gates_at = [&](int64_t r, int64_t b, int64_t step) {
        return gates ? gates + (b * timesteps + steps.time(b, step)) * 4 * units
                     : pieces.gates + (r * plan.chunk + step - begin) * 4 * units;
      };
      int64_t cells_in_chunk = 0;
      for (int64_t r = 0; r < rows.count(); ++r) {
        const int64_t b = rows[r];
        const int64_t count = steps.count(b);
        for (int64_t step = begin; step < end && step < count; ++step) {
          pieces.operand_rows[cells_in_chunk] = x + (b * timesteps + steps.time(b, step)) * inputs;
          pieces.gate_rows[cells_in_chunk] = gates_at(r, b, step);
          pieces.batch_rows[cells_in_chunk++] = b;
        }
      }
      product(pieces, cells_in_chunk, scratch.kernel, dropout, true);

      for (int64_t step = begin; step < end; ++step) {
        int64_t active = 0;
        for (; active < rows.count() && steps.count(rows[active]) > step; ++active) {
          const int64_t b = rows[active];
          pieces.operand_rows[active] = pieces.h + active * units;
          pieces.gate_rows[active] = gates_at(active, b, step);
          pieces.batch_rows[active] = b;
        }
        product(pieces, active, scratch.recurrent_kernel, recurrent_dropout, false);
        for (int64_t r = 0; r < active; ++r) {
          const int64_t b = pieces.batch_rows[r];
          T* h = pieces.h + r * units;
          T* c = cells ? cells + (b * timesteps + steps.time(b, step)) * units : pieces.c + r * units;
          kernels.lstm_gates_forward({units, pieces.gate_rows[r], pieces.c_prev[r], c, h});
          pieces.c_prev[r] = c;
          if (outputs) std::memcpy(outputs + (b * timesteps + steps.place(b, step)) * units, h, row_bytes);
        }
      }
    }

    for (int64_t r = 0; r < rows.count(); ++r) {
      const int64_t b = rows[r];
      const int64_t count = steps.count(b);
      const bool ends_masked = count == 0 || steps.place(b, count - 1) != timesteps - 1;
      std::memcpy(h_n + b * units, pieces.h + r * units, row_bytes);
      std::memcpy(c_n + b * units, pieces.c_prev[r], row_bytes);
      const bool zero = count == 0 || (ends_masked && plan.options.zero_output_for_mask);
      copy_or_zero(last_output + b * units, zero ? nullptr : pieces.h, r);
      if (outputs && count < timesteps) fill_masked_outputs(b);
    }
  }

  // gate_rows = init + operand_rows weights, where init is the bias or, for the recurrent product, what is there.
  void product(const Pieces& pieces, int64_t rows, const PackedWeights<T>& weights, const DropoutFactors<T>& factors,
               bool from_bias) const {
    const int64_t depth = weights.depth();
    for (int g = 0; g < weights.groups(); ++g) {
      const int64_t column = g * weights.gate_columns();
      const T* gate_bias = bias ? bias + column : nullptr;
      for (int64_t m = 0; m < rows; ++m) {
        pieces.group_rows[m] = pieces.gate_rows[m] + column;
        pieces.initial_rows[m] = from_bias ? gate_bias : pieces.group_rows[m];
      }
      const T* const* operands = pieces.operand_rows;
      if (factors.data) {
        for (int64_t m = 0; m < rows; ++m) {
          T* to = pieces.masked + m * depth;
          multiply(depth, pieces.operand_rows[m], factors.row(g, pieces.batch_rows[m]), to);
          pieces.masked_rows[m] = to;
        }
        operands = pieces.masked_rows;
      }
      const T* const* init = from_bias && !bias ? nullptr : pieces.initial_rows;
      kernels.product({rows, depth, weights.columns(), operands, 1, weights.group(g), init, pieces.group_rows});
    }
  }

  void fill_masked_outputs(int64_t b) const {
    const T* previous = nullptr;
    for (int64_t s = 0; s < timesteps; ++s) {
      T* row = outputs + (b * timesteps + s) * units;
      if (mask[b * timesteps + steps.flip(s)]) {
        if (!plan.options.zero_output_for_mask) previous = row;
      } else {
        copy_or_zero(row, previous, 0);
      }
    }
  }
};

template <class T>
void run(const LstmPlan& plan, const LstmInputs& in, const LstmOutputs& out, void* memory) {
  Scratch carve(memory);
  ForwardScratch<T> scratch(plan, in.mask.present, carve);
  Forward<T> forward{{plan, in},
                     out.outputs.as<T>(),
                     out.last_output.as<T>(),
                     out.h_n.as<T>(),
                     out.c_n.as<T>(),
                     out.gates.as<T>(),
                     out.cells.as<T>(),
                     scratch,
                     scratch.steps};
  run_team<Forward<T>, 2>(plan.threads, forward, {&Forward<T>::prepare, &Forward<T>::run_rows});
}

}  // namespace

size_t lstm_forward_scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs) {
  return scratch_bytes<ForwardScratch>(plan, inputs);
}

Status lstm_forward(const LstmPlan& plan, const LstmInputs& inputs, const LstmOutputs& outputs, void* scratch) {
  const LstmDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(check_optional("outputs", outputs.outputs, d.dtype, {d.batch, d.timesteps, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("last_output", outputs.last_output, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("h_n", outputs.h_n, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("c_n", outputs.c_n, d.dtype, {d.batch, d.units}));
  if (plan.save_workspace) {
    FASTSEQ_RETURN_IF_ERROR(check_array("gates", outputs.gates, d.dtype, {d.batch, d.timesteps, 4 * d.units}));
    FASTSEQ_RETURN_IF_ERROR(check_array("cells", outputs.cells, d.dtype, {d.batch, d.timesteps, d.units}));
  }
  if (d.dtype == DType::kFloat64)
    run<double>(plan, inputs, outputs, scratch);
  else
    run<float>(plan, inputs, outputs, scratch);
  return {};
}

}  // namespace fastseq

// LSTM, GRU and SimpleRNN forward: the driver.
//
// Batch rows are divided among the row groups. Each group runs the whole time loop of its rows and does not wait for
// other groups. The time loop works in chunks of steps. First it computes the input projection x kernel + bias for all
// steps of the chunk as one product, while the chunk's x and z stay in the second-level cache. Then it computes the
// steps; each is one product h recurrent_kernel and the elementwise part. (Row-parallel loops without barriers: Zhang
// et al. 2018, "DeepCPU"; the projection ahead of the loop: Appleyard et al. 2016.)
//
// Within a row group, each thread computes some units of h and reads all of them. So the threads wait for each other
// after every step. There are two buffers for h, one to read and one to write.
#include "common/rnn_checks.h"
#include "fastseq/rnn.h"
#include "rnn_layout.h"

namespace fastseq {
namespace {

template <class T>
struct ForwardScratch {
  // The weights of the units of one unit group.
  struct Weights {
    PackedWeights<T> kernel;
    PackedWeights<T> recurrent_kernel;
    T* bias;            // (G * units of the group)
    T* recurrent_bias;  // (G * units of the group)

    Weights(const RnnPlan& plan, int index, Scratch& scratch)
        : Weights(plan, CellShape(plan.options), split(plan.dims.units, plan.unit_groups, index), scratch) {}

   private:
    Weights(const RnnPlan& plan, const CellShape& cell, Range units, Scratch& scratch)
        : kernel(kernels_of<T>(*plan.isa), plan.dims.inputs, plan.dims.units, cell.gates,
                 cell.input_groups(plan.input_factors), false, units, plan.row_groups, scratch),
          recurrent_kernel(kernels_of<T>(*plan.isa), plan.dims.units, plan.dims.units, cell.gates,
                           cell.recurrent_groups(plan.recurrent_factors, false), false, units, plan.row_groups,
                           scratch),
          bias(scratch.take<T>(cell.gates * (units.end - units.begin))),
          recurrent_bias(scratch.take<T>(cell.gates * (units.end - units.begin))) {}
  };

  // Scratch of one row group with at most R rows.
  struct Group {
    T* h[2];     // (R, U)
    T* reset_h;  // (R, U), for GRU without reset_after; else null

    Group(const RnnPlan& plan, int, Scratch& scratch) {
      const int64_t size = rnn_rows_per_group(plan) * plan.dims.units;
      for (T*& buffer : h) buffer = scratch.take<T>(size);
      reset_h = CellShape(plan.options).resets_operand ? scratch.take<T>(size) : nullptr;
    }
  };

  // Scratch of one thread, with at most w units and C = R * chunk cells in a chunk.
  struct ThreadScratch {
    T* c;                // (R, w), for LSTM; else null
    T* z;                // (C, G * w)
    T* recurrent;        // (R, G * w)
    T* dropped;          // (C, D) or (R, U): operands times their dropout factors
    const T** operands;  // (C), like the next four
    const T** dropped_rows;
    const T** initial;
    T** results;
    int64_t* batch_rows;
    T** saved;  // (R)

    ThreadScratch(const RnnPlan& plan, int, Scratch& scratch) {
      const CellShape cell(plan.options);
      const int64_t gates = cell.gates;
      const int64_t width = GridPosition(plan, 0).width();
      const int64_t rows = rnn_rows_per_group(plan);
      const int64_t cells = rows * plan.chunk;
      c = cell.has_c() ? scratch.take<T>(rows * width) : nullptr;
      z = scratch.take<T>(cells * gates * width);
      recurrent = scratch.take<T>(rows * gates * width);
      dropped = scratch.take<T>(std::max(plan.input_factors ? cells * plan.dims.inputs : 0,
                                         plan.recurrent_factors ? rows * plan.dims.units : 0));
      operands = scratch.take<const T*>(cells);
      dropped_rows = scratch.take<const T*>(cells);
      initial = scratch.take<const T*>(cells);
      results = scratch.take<T*>(cells);
      batch_rows = scratch.take<int64_t>(cells);
      saved = scratch.take<T*>(rows);
    }
  };

  Repeated<RnnPlan, Weights> weights;
  Repeated<RnnPlan, Group> groups;
  Repeated<RnnPlan, ThreadScratch> members;
  Steps steps;

  ForwardScratch(const RnnPlan& plan, Scratch& scratch)
      : weights(plan, plan.unit_groups, scratch),
        groups(plan, plan.row_groups, scratch),
        members(plan, rnn_threads(plan), scratch),
        steps(plan.dims.batch, plan.dims.timesteps, plan.options.go_backwards, plan.masked, scratch) {}
};

template <class T>
class Forward : RnnOperands<T> {
  using Base = RnnOperands<T>;
  using Base::batch, Base::timesteps, Base::inputs, Base::units, Base::plan, Base::kernels, Base::cell, Base::mask;
  using Base::dropout, Base::recurrent_dropout, Base::copy_units;
  using Base::x, Base::kernel, Base::recurrent_kernel, Base::bias, Base::h0, Base::c0;

  using Weights = typename ForwardScratch<T>::Weights;
  using Group = typename ForwardScratch<T>::Group;
  using ThreadScratch = typename ForwardScratch<T>::ThreadScratch;

 public:
  Forward(const RnnPlan& the_plan, void* memory, const RnnInputs& in, const RnnOutputs& out)
      : Base(the_plan, in),
        outputs_(out.outputs.as<T>()),
        last_output_(out.last_output.as<T>()),
        h_n_(out.h_n.as<T>()),
        c_n_(out.c_n.as<T>()),
        workspace_(out.workspace.as<T>()),
        scratch_(the_plan, memory) {}

  void run(const Team& team) const {
    const GridPosition position(plan, team.rank);
    const Weights weights = scratch_.weights.at(position.unit_group);
    weights.kernel.pack(kernel, position.row_group);
    weights.recurrent_kernel.pack(recurrent_kernel, position.row_group);
    if (position.row_group == 0) {
      if (bias) weights.kernel.gather_units(bias, cell.gates, weights.bias);
      if (bias && Base::has_two_biases())
        weights.kernel.gather_units(bias + cell.gates * units, cell.gates, weights.recurrent_bias);
    }
    if (team.rank == 0) scratch_.steps.build(mask);
    team.wait();
    run_rows(team.by_cpu());
    team.wait();
  }

 private:
  void run_rows(const Team& team) const {
    const GridPosition position(plan, team.rank);
    Barrier& all_units = team.group();
    const Weights weights = scratch_.weights.at(position.unit_group);
    const Group group = scratch_.groups.at(position.row_group);
    const ThreadScratch local = scratch_.members.at(team.rank);
    const Steps& steps = scratch_.steps;
    const DealtRows rows(steps, batch, position.row_group, plan.row_groups);
    const int64_t width = position.width();
    const int64_t z_width = cell.gates * width;
    for (int64_t r = 0; r < rows.count(); ++r) {
      copy_units(position, h0, rows[r], group.h[0] + r * units + position.units.begin);
      if (local.c) copy_units(position, c0, rows[r], local.c + r * width);
    }
    all_units.wait();

    const int64_t longest = rows.most_steps();
    int64_t active = rows.count();
    for (int64_t begin = 0; begin < longest; begin += plan.chunk) {
      const int64_t end = std::min(begin + plan.chunk, longest);
      int64_t cells = 0;
      int64_t left = active;
      for (int64_t step = begin; step < end; ++step) {
        left = rows.active(step, left);
        for (int64_t r = 0; r < left; ++r) {
          local.operands[cells] = x + (rows[r] * timesteps + steps.time(rows[r], step)) * inputs;
          local.batch_rows[cells++] = rows[r];
        }
      }
      for (const GateGroup& gates : weights.kernel.groups())
        product(local, cells, weights.kernel, gates, dropout, bias ? weights.bias : nullptr, local.z, z_width);

      T* z = local.z;
      for (int64_t step = begin; step < end; ++step) {
        active = rows.active(step, active);
        for (int64_t r = 0; r < active; ++r) local.batch_rows[r] = rows[r];
        take_step(position, all_units, weights, group, local, rows, step, active, z);
        z += active * z_width;
        all_units.wait();
      }
    }

    for (int64_t r = 0; r < rows.count(); ++r) finish_row(position, rows[r], group, local, r);
  }

  // Computes one step of the first `active` rows. z (active, G * width) is their input projection.
  void take_step(const GridPosition& position, Barrier& all_units, const Weights& weights, const Group& group,
                 const ThreadScratch& local, const DealtRows& rows, int64_t step, int64_t active, T* z) const {
    const Steps& steps = scratch_.steps;
    const int64_t first = position.units.begin;
    const T* h_prev = group.h[step & 1];
    T* h = group.h[(step + 1) & 1];
    if (workspace_)
      for (int64_t r = 0; r < active; ++r)
        local.saved[r] = workspace_ + (rows[r] * timesteps + steps.time(rows[r], step)) * cell.saved * units + first;
    const CellForwardArgs<T> args{Base::cell_step(active, position),
                                  z,
                                  local.recurrent,
                                  h_prev + first,
                                  h + first,
                                  local.c,
                                  group.reset_h ? group.reset_h + first : nullptr,
                                  workspace_ ? local.saved : nullptr};
    recurrent_products(weights, local, active, false, h_prev);
    switch (plan.options.cell) {
      case Cell::kLstm:
        kernels.lstm_forward(args);
        break;
      case Cell::kGru:
        kernels.gru_reset_forward(args);
        if (cell.resets_operand) {
          all_units.wait();
          recurrent_products(weights, local, active, true, group.reset_h);
        }
        kernels.gru_update_forward(args);
        break;
      case Cell::kSimpleRnn:
        kernels.simple_rnn_forward(args);
        break;
    }
    if (outputs_)
      for (int64_t r = 0; r < active; ++r)
        std::copy_n(h + r * units + first, position.width(),
                    outputs_ + (rows[r] * timesteps + steps.place(rows[r], step)) * units + first);
  }

  // Computes recurrent = operand recurrent_kernel + recurrent bias. With `reset` it does so for the gates whose operand
  // is reset_h, and without for those whose operand is h.
  void recurrent_products(const Weights& weights, const ThreadScratch& local, int64_t active, bool reset,
                          const T* h) const {
    for (int64_t r = 0; r < active; ++r) local.operands[r] = h + r * units;
    for (const GateGroup& gates : weights.recurrent_kernel.groups())
      if (gates.reset == reset)
        product(local, active, weights.recurrent_kernel, gates, recurrent_dropout,
                bias && Base::has_two_biases() ? weights.recurrent_bias : nullptr, local.recurrent,
                cell.gates * (weights.kernel.width()));
  }

  // Computes the gates' columns of results (rows, ld) = operands weights + initial. The operands are multiplied by
  // their dropout factors first.
  void product(const ThreadScratch& local, int64_t rows, const PackedWeights<T>& weights, const GateGroup& gates,
               const DropoutFactors<T>& factors, const T* initial, T* results, int64_t ld) const {
    const int64_t column = gates.first * weights.width();
    const PackedShape shape = weights.shape(gates);
    for (int64_t m = 0; m < rows; ++m) local.results[m] = results + m * ld + column;
    if (initial) std::fill_n(local.initial, rows, initial + column);
    const T* const* operands = local.operands;
    if (factors.data) {
      for (int64_t m = 0; m < rows; ++m) {
        local.dropped_rows[m] = local.dropped + m * shape.depth;
        multiply(shape.depth, local.operands[m], factors.row(gates, local.batch_rows[m]),
                 local.dropped + m * shape.depth);
      }
      operands = local.dropped_rows;
    }
    kernels.product(
        {rows, shape, operands, 1, weights.data(gates), 0, initial ? local.initial : nullptr, local.results});
  }

  // Writes the final states of row b, which is row r of the group, its last output, and its outputs at masked steps.
  void finish_row(const GridPosition& position, int64_t b, const Group& group, const ThreadScratch& local,
                  int64_t r) const {
    const Steps& steps = scratch_.steps;
    const int64_t first = position.units.begin;
    const int64_t count = steps.count(b);
    const T* h = group.h[count & 1];
    copy_units(position, h, r, h_n_ + b * units + first);
    if (local.c) std::copy_n(local.c + r * position.width(), position.width(), c_n_ + b * units + first);
    const bool ends_masked = count == 0 || steps.place(b, count - 1) != timesteps - 1;
    const bool zero =
        (count == 0 && !Base::masked_output_begins_at_h0()) || (ends_masked && plan.options.zero_output_for_mask);
    copy_units(position, zero ? nullptr : h, r, last_output_ + b * units + first);
    if (!outputs_ || count == timesteps) return;
    // Masked steps repeat the previous output.
    const T* previous = h0 && Base::masked_output_begins_at_h0() ? h0 + b * units : nullptr;
    for (int64_t s = 0; s < timesteps; ++s) {
      T* row = outputs_ + (b * timesteps + s) * units;
      if (mask[b * timesteps + steps.flip(s)]) {
        if (!plan.options.zero_output_for_mask) previous = row;
      } else {
        copy_units(position, previous, 0, row + first);
      }
    }
  }

  T *outputs_, *last_output_, *h_n_, *c_n_, *workspace_;
  Carved<ForwardScratch<T>> scratch_;
};

}  // namespace

size_t rnn_forward_scratch_bytes(const RnnPlan& plan) { return scratch_bytes<ForwardScratch>(plan); }

Status rnn_forward(const RnnPlan& plan, const RnnInputs& inputs, const RnnOutputs& outputs, void* scratch) {
  FASTSEQ_RETURN_IF_ERROR(check_rnn_outputs(outputs, plan.options, plan.dims,
                                            {plan.dims.dtype, rnn_workspace_width(plan.options, plan.dims.units)}));
  run_driver<Forward>(plan, scratch, inputs, outputs);
  return {};
}

}  // namespace fastseq

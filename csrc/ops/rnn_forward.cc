// LSTM, GRU and SimpleRNN forward: the driver.
//
// Batch rows are divided among the row groups. Each group runs the whole time loop of its rows and does not wait for
// other groups. The time loop works in chunks of steps. First it computes the input projection x kernel + bias for all
// steps of the chunk as one product, while the chunk's x and z stay in the second-level cache. Then it computes the
// steps; each is one product h recurrent_kernel and the elementwise part. (Row-parallel loops without barriers: Zhang
// et al. 2018, "DeepCPU"; the projection ahead of the loop: Appleyard et al. 2016.)
//
// Equal rows of x have the same projection. Where many are equal, it is computed once for each distinct row before the
// time loop, and the steps copy it (distinct_rows.h).
//
// Within a row group, each thread computes some units of h and reads all of them. So the threads wait for each other
// after every step. There are two buffers for h, one to read and one to write.
//
// Prediction can pack the weights once, and behind an Embedding it can have the projections of all rows of the table
// (RnnPrepared). Then the steps read those.
#include <utility>

#include "common/checks.h"
#include "common/rnn_checks.h"
#include "dtypes.h"
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
    const T** z_rows;    // (R)
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
      z_rows = scratch.take<const T*>(rows);
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

  RnnPlan packing;  // the plan by which the weights are packed: this one or, prepared, one of one row group
  Repeated<RnnPlan, Weights> weights;
  Repeated<RnnPlan, Group> groups;
  Repeated<RnnPlan, ThreadScratch> members;
  Steps steps;
  DistinctRows<T> distinct;
  T* projected;  // a block (most, G * w) for each unit group: the projections of the distinct rows

  // `prepared` is memory of rnn_prepare for such a plan; null: the weights are packed in scratch.
  ForwardScratch(const RnnPlan& plan, Scratch& scratch, const void* prepared = nullptr)
      : packing(prepared ? of_one_row_group(plan) : plan),
        weights(prepared ? weights_in(packing, Scratch(const_cast<void*>(prepared)))
                         : Repeated<RnnPlan, Weights>(packing, plan.unit_groups, scratch)),
        groups(plan, plan.row_groups, scratch),
        members(plan, rnn_threads(plan), scratch),
        steps(plan.dims.batch, plan.dims.timesteps, plan.options.go_backwards, plan.masked, scratch),
        distinct(plan.dims.batch * plan.dims.timesteps, plan.dims.inputs, plan.dims.gates * plan.dims.units,
                 rnn_most_distinct(plan, plan.dims.batch * plan.dims.timesteps), 1, rnn_threads(plan), scratch),
        projected(scratch.take<T>(distinct.most() * plan.dims.gates * plan.dims.units)) {}

  static RnnPlan of_one_row_group(RnnPlan plan) {
    plan.row_groups = 1;
    return plan;
  }
  static Repeated<RnnPlan, Weights> weights_in(const RnnPlan& plan, Scratch&& memory) {
    return {plan, plan.unit_groups, memory};
  }
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
  Forward(const RnnPlan& the_plan, void* memory, const RnnInputs& in, const RnnOutputs& out,
          const RnnPrepared& prepared)
      : Base(the_plan, in),
        lookup_(prepared),
        // A plan for fewer threads than planned has other unit groups, so it packs the weights itself.
        packed_(prepared.weights && prepared.unit_groups == plan.unit_groups ? prepared.weights : nullptr),
        outputs_(out.outputs.as<T>()),
        last_output_(out.last_output.as<T>()),
        h_n_(out.h_n.as<T>()),
        c_n_(out.c_n.as<T>()),
        workspace_(out.workspace.as<T>()),
        scratch_(the_plan, memory, packed_) {}

  // Packs the weights of one unit group; `sharer` is a number of the threads that divide this.
  void pack(int unit_group, int sharer) const {
    const Weights weights = scratch_.weights.at(unit_group);
    if (kernel) weights.kernel.pack(kernel, sharer);
    weights.recurrent_kernel.pack(recurrent_kernel, sharer);
    if (sharer > 0 || !bias) return;
    weights.kernel.gather_units(bias, cell.gates, weights.bias);
    if (Base::has_two_biases())
      weights.kernel.gather_units(bias + cell.gates * units, cell.gates, weights.recurrent_bias);
  }

  void run(const Team& team) const {
    const GridPosition position(plan, team.rank);
    if (!packed_) pack(position.unit_group, position.row_group);
    scratch_.steps.list(mask, team.share(batch));
    if (plan.masked) team.wait();
    if (team.rank == 0) {
      scratch_.steps.order();
      Base::sample(scratch_.distinct, scratch_.steps);
    }
    team.wait();
    const Team ordered = team.by_cpu();
    if (scratch_.distinct.promising()) project_distinct_rows(ordered);
    run_rows(ordered);
    team.wait();
  }

 private:
  // The projections of the distinct rows of x, for the units of a thread's unit group.
  T* projected(const GridPosition& position) const {
    return scratch_.projected + position.units.begin * cell.gates * scratch_.distinct.most();
  }

  void project_distinct_rows(const Team& team) const {
    const DistinctRows<T>& distinct = scratch_.distinct;
    const DealtRows all(scratch_.steps, batch, 0, 1);
    Base::hash(distinct, team.share(batch * timesteps));
    team.wait();
    if (team.rank == 0) distinct.find(0, [&](const auto& body) { all.for_each_row_of_x({0, batch}, body); });
    team.wait();
    if (distinct.count_by_hash(0) == 0) return;
    all.for_each_row_of_x(team.share(batch), [&](int64_t row) { distinct.compare(0, team.rank, x, row); });
    const GridPosition position(plan, team.rank);
    const Weights weights = scratch_.weights.at(position.unit_group);
    const ThreadScratch local = scratch_.members.at(team.rank);
    const int64_t z_width = cell.gates * position.width();
    const int64_t most = rnn_rows_per_group(plan) * plan.chunk;
    const Range ours = split(distinct.count_by_hash(0), plan.row_groups, position.row_group);
    for (int64_t begin = ours.begin; begin < ours.end; begin += most) {
      const int64_t count = std::min(most, ours.end - begin);
      for (int64_t i = 0; i < count; ++i) local.operands[i] = x + distinct.first(0, begin + i) * inputs;
      project(weights, local, count, projected(position) + begin * z_width);
    }
    team.wait();
  }

  // Computes z (rows, G * width) = operands kernel + bias.
  void project(const Weights& weights, const ThreadScratch& local, int64_t rows, T* z) const {
    for (const GateGroup& gates : weights.kernel.groups())
      product(local, rows, weights.kernel, gates, dropout, bias ? weights.bias : nullptr, z,
              cell.gates * weights.kernel.width());
  }

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
    const T* shared = scratch_.distinct.count(0) > 0 ? projected(position) : nullptr;
    int64_t active = rows.count();
    for (int64_t begin = 0; begin < longest; begin += plan.chunk) {
      const int64_t end = std::min(begin + plan.chunk, longest);
      if (!shared && !looks_up()) project_chunk(weights, local, rows, begin, end, active);
      const T* z = local.z;
      for (int64_t step = begin; step < end; ++step) {
        active = rows.active(step, active);
        for (int64_t r = 0; r < active; ++r) {
          local.batch_rows[r] = rows[r];
          const int64_t row_of_x = steps.row_of_x(rows[r], step);
          if (shared)
            local.z_rows[r] = shared + scratch_.distinct.number(row_of_x) * z_width;
          else if (looks_up())
            local.z_rows[r] = projection(weights, row_of_x, local.z + r * z_width);
          else
            local.z_rows[r] = std::exchange(z, z + z_width);
        }
        take_step(position, all_units, weights, group, local, rows, step, active);
        all_units.wait();
      }
    }

    for (int64_t r = 0; r < rows.count(); ++r) finish_row(position, rows[r], group, local, r);
  }

  bool looks_up() const { return lookup_.projections.present; }

  // The projection of a row of x that is looked up, for the thread's units; `buffer` is for those that are not
  // contiguous.
  const T* projection(const Weights& weights, int64_t row_of_x, T* buffer) const {
    const T* row = with_id_type(lookup_.ids.dtype, [&](auto zero) {
      return lookup_.projections.template as<T>() + lookup_.ids.as<decltype(zero)>()[row_of_x] * cell.gates * units;
    });
    if (weights.kernel.width() == units) return row;
    weights.kernel.gather_units(row, cell.gates, buffer);
    return buffer;
  }

  // Computes the projections of all steps of a chunk. `active` rows have its first step.
  void project_chunk(const Weights& weights, const ThreadScratch& local, const DealtRows& rows, int64_t begin,
                     int64_t end, int64_t active) const {
    int64_t cells = 0;
    for (int64_t step = begin; step < end; ++step) {
      active = rows.active(step, active);
      for (int64_t r = 0; r < active; ++r) {
        local.operands[cells] = x + scratch_.steps.row_of_x(rows[r], step) * inputs;
        local.batch_rows[cells++] = rows[r];
      }
    }
    project(weights, local, cells, local.z);
  }

  // Computes one step of the first `active` rows.
  void take_step(const GridPosition& position, Barrier& all_units, const Weights& weights, const Group& group,
                 const ThreadScratch& local, const DealtRows& rows, int64_t step, int64_t active) const {
    const Steps& steps = scratch_.steps;
    const int64_t first = position.units.begin;
    const T* h_prev = group.h[step & 1];
    T* h = group.h[(step + 1) & 1];
    if (workspace_)
      for (int64_t r = 0; r < active; ++r)
        local.saved[r] = workspace_ + (rows[r] * timesteps + steps.time(rows[r], step)) * cell.saved * units + first;
    const CellForwardArgs<T> args{Base::cell_step(active, position),
                                  local.z_rows,
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

  const RnnPrepared& lookup_;
  const void* packed_;
  T *outputs_, *last_output_, *h_n_, *c_n_, *workspace_;
  Carved<ForwardScratch<T>> scratch_;
};

}  // namespace

size_t rnn_forward_scratch_bytes(const RnnPlan& plan) { return scratch_bytes<ForwardScratch>(plan); }

size_t rnn_prepared_bytes(const RnnPlan& plan) {
  Scratch measure(nullptr);
  with_float_type(plan.dims.dtype, [&](auto zero) {
    using Layout = ForwardScratch<decltype(zero)>;
    (void)Repeated<RnnPlan, typename Layout::Weights>(Layout::of_one_row_group(plan), plan.unit_groups, measure);
  });
  return measure.used();
}

void rnn_prepare(const RnnPlan& plan, const RnnInputs& inputs, void* prepared) {
  with_float_type(plan.dims.dtype, [&](auto zero) {
    const RnnPrepared memory{prepared, plan.unit_groups, {}, {}};
    const Forward<decltype(zero)> driver(plan, nullptr, inputs, {}, memory);
    for (int group = 0; group < plan.unit_groups; ++group) driver.pack(group, 0);
  });
}

Status check_lookup(const Array& ids, const Array& projections, const Array& recurrent_kernel) {
  FASTSEQ_RETURN_IF_ERROR(check_integer("ids", ids));
  if (ids.rank != 2) return wrong_shape("ids", "(batch, timesteps)", ids);
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("projections", projections, 2, "(input_dim, gates * units)"));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("recurrent_kernel", recurrent_kernel, 2, "(units, gates * units)"));
  FASTSEQ_RETURN_IF_ERROR(check_array("projections", projections, recurrent_kernel.dtype,
                                      {projections.shape[0], recurrent_kernel.shape[1]}));
  return check_indices("ids", ids, projections.shape[0]);
}

Status rnn_forward(const RnnPlan& plan, const RnnInputs& inputs, const RnnOutputs& outputs, void* scratch,
                   const RnnPrepared& prepared) {
  FASTSEQ_RETURN_IF_ERROR(check_rnn_outputs(outputs, plan.options, plan.dims,
                                            {plan.dims.dtype, rnn_workspace_width(plan.options, plan.dims.units)}));
  run_driver<Forward>(plan, scratch, inputs, outputs, prepared);
  return {};
}

}  // namespace fastseq

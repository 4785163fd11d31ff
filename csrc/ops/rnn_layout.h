// The division of work in a recurrent op, for its plan and its two drivers.
//
// The threads of a call form a grid of row_groups x unit_groups. The batch rows are divided among the row groups, and
// the units among the threads of a row group. With one unit group, no thread waits for another inside the time loop of
// forward. With more, the threads of a row group wait for each other once a step, which pays where a batch has few rows
// for its weights.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/cell.h"
#include "distinct_rows.h"
#include "driver.h"
#include "fastseq/rnn.h"
#include "runtime/settings.h"
#include "steps.h"
#include "weights.h"

namespace fastseq {

inline int rnn_threads(const RnnPlan& plan) { return plan.row_groups * plan.unit_groups; }

inline int64_t rnn_rows_per_group(const RnnPlan& plan) {
  return (plan.dims.batch + plan.row_groups - 1) / plan.row_groups;
}

// A shard has every n-th row of the batch, for n shards.
inline int64_t rnn_rows_per_shard(const RnnPlan& plan) { return (plan.dims.batch + plan.shards - 1) / plan.shards; }

inline TeamShape team_shape(const RnnPlan& plan) { return {plan.row_groups, plan.unit_groups, plan.subteams}; }

inline RnnPlan single_threaded(const RnnPlan& plan) {
  RnnPlan one = plan;
  one.row_groups = one.unit_groups = one.subteams = 1;
  return one;
}

// The largest number of distinct rows of x whose products with the kernel are shared (distinct_rows.h), of `rows` rows;
// 0 if all rows are computed. Few rows or short ones are not worth looking for; with dropout, equal rows have different
// products. The shared results must stay near.
inline int64_t rnn_most_distinct(const RnnPlan& plan, int64_t rows) {
  constexpr int64_t kLeastCells = 512;
  constexpr int64_t kMostBytes = 8 * 1024 * 1024;
  const RnnDims& d = plan.dims;
  if (plan.input_factors > 0 || d.batch * d.timesteps < kLeastCells) return 0;
  const int64_t bytes = d.gates * d.units * static_cast<int64_t>(dtype_bytes(d.dtype));
  return DistinctRows<float>::pays(1, rows, d.inputs, d.gates * d.units) ? std::min(rows / 2, kMostBytes / bytes) : 0;
}

// A thread's position in the grid, and its units.
struct GridPosition {
  int row_group;
  int unit_group;
  Range units;
  int64_t width() const { return units.end - units.begin; }

  GridPosition(const RnnPlan& plan, int rank)
      : row_group(rank / plan.unit_groups),
        unit_group(rank % plan.unit_groups),
        units(split(plan.dims.units, plan.unit_groups, unit_group)) {}
};

// Every stride-th batch row from `first` on, in the order of falling step counts.
class DealtRows {
 public:
  DealtRows(const Steps& steps, int64_t batch, int64_t first, int64_t stride)
      : steps_(steps),
        first_(first),
        stride_(stride),
        count_(std::max<int64_t>(0, (batch - first + stride - 1) / stride)) {}
  int64_t count() const { return count_; }
  int64_t operator[](int64_t r) const { return steps_.ordered_row(first_ + r * stride_); }
  int64_t most_steps() const { return count_ > 0 ? steps_.count((*this)[0]) : 0; }
  // Calls body(row) for the row of x of every step of rows [range.begin, range.end).
  template <class Body>
  void for_each_row_of_x(const Range& range, const Body& body) const {
    for (int64_t r = range.begin; r < range.end; ++r)
      for (int64_t step = 0; step < steps_.count((*this)[r]); ++step) body(steps_.row_of_x((*this)[r], step));
  }
  // The number of rows that have this step; they are the first ones. `before` is the number for an earlier step.
  int64_t active(int64_t step, int64_t before) const {
    while (before > 0 && steps_.count((*this)[before - 1]) <= step) --before;
    return before;
  }

 private:
  const Steps& steps_;
  int64_t first_;
  int64_t stride_;
  int64_t count_;
};

// The dimensions and inputs of a call, for both drivers. Absent arrays are null.
template <class T>
struct RnnOperands {
  const RnnPlan& plan;
  const KernelTable<T>& kernels;
  const CellShape cell;
  const int64_t batch, timesteps, inputs, units;
  const T *x, *kernel, *recurrent_kernel, *bias, *h0, *c0;
  const uint8_t* mask;
  const DropoutFactors<T> dropout, recurrent_dropout;

  RnnOperands(const RnnPlan& the_plan, const RnnInputs& in)
      : plan(the_plan),
        kernels(kernels_of<T>(*plan.isa)),
        cell(plan.options),
        batch(plan.dims.batch),
        timesteps(plan.dims.timesteps),
        inputs(plan.dims.inputs),
        units(plan.dims.units),
        x(in.x.as<T>()),
        kernel(in.kernel.as<T>()),
        recurrent_kernel(in.recurrent_kernel.as<T>()),
        bias(in.bias.as<T>()),
        h0(in.h0.as<T>()),
        c0(in.c0.as<T>()),
        mask(in.mask.as<uint8_t>()),
        dropout{in.dropout_mask.as<T>(), plan.input_factors, batch, inputs},
        recurrent_dropout{in.recurrent_dropout_mask.as<T>(), plan.recurrent_factors, batch, units} {}

  // GRU with reset_after has a second row of biases, for the recurrent product.
  bool has_two_biases() const { return plan.options.cell == Cell::kGru && plan.options.reset_after; }

  // Whether masked steps before a row's first unmasked one output h0; else they output zero.
  bool masked_output_begins_at_h0() const {
    return plan.options.h0_as_first_output && !plan.options.zero_output_for_mask;
  }

  // Decides whether to look for equal rows of x. Masked steps have no influence, on any result.
  void sample(const DistinctRows<T>& distinct, const Steps& steps) const {
    distinct.sample(x, [&](const auto& body) {
      const int64_t rows = std::min(batch, DistinctRows<T>::kSample);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t b = i * batch / rows;
        const int64_t sampled = std::min(DistinctRows<T>::kSample / rows, steps.count(b));
        for (int64_t j = 0; j < sampled; ++j) body(steps.row_of_x(b, j * steps.count(b) / sampled));
      }
    });
  }

  void hash(const DistinctRows<T>& distinct, const Range& rows_of_x) const {
    for (int64_t row = rows_of_x.begin; row < rows_of_x.end; ++row)
      if (!mask || mask[row]) distinct.hash(x, row);
  }

  CellStep cell_step(int64_t rows, const GridPosition& position) const {
    const RnnOptions& o = plan.options;
    return {rows, position.width(), units, o.activation, o.recurrent_activation, o.reset_after};
  }

  // The position's units of row `index` of `source` (rows, units), or zeros without a source.
  void copy_units(const GridPosition& position, const T* source, int64_t index, T* to) const {
    if (source)
      std::copy_n(source + index * units + position.units.begin, position.width(), to);
    else
      std::fill_n(to, position.width(), T(0));
  }
};

size_t rnn_forward_scratch_bytes(const RnnPlan& plan);
size_t rnn_prepared_bytes(const RnnPlan& plan);
size_t rnn_backward_scratch_bytes(const RnnPlan& plan);

}  // namespace fastseq

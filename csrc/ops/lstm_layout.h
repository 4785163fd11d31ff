// What the LSTM's plan and its two drivers share.
#pragma once

#include <algorithm>
#include <cstddef>

#include "fastseq/lstm.h"
#include "scratch.h"
#include "settings.h"
#include "steps.h"
#include "weights.h"

namespace fastseq {

inline int64_t lstm_rows_per_member(const LstmPlan& plan) {
  return (plan.dims.batch + plan.threads - 1) / plan.threads;
}

// One `Member` of scratch for each member of the team, laid out alike.
template <class Member>
class MemberScratch {
 public:
  MemberScratch(const LstmPlan& plan, Scratch& scratch) {
    Scratch measure(nullptr);
    const Member member(plan, measure);
    (void)member;
    bytes_ = static_cast<int64_t>(measure.used());
    base_ = scratch.take<char>(plan.threads * bytes_);
  }
  Member at(const LstmPlan& plan, int rank) const {
    Scratch carve(base_ + rank * bytes_);
    return Member(plan, carve);
  }

 private:
  char* base_;
  int64_t bytes_;
};

// What both drivers prepare before they run: packed weights (transposed for backward) and the steps of every row.
template <class T>
struct LstmPrepared {
  PackedWeights<T> kernel;
  PackedWeights<T> recurrent_kernel;
  Steps steps;

  LstmPrepared(const LstmPlan& plan, bool masked, bool transposed, Scratch& scratch)
      : kernel(kernels_of<T>(*plan.isa), plan.dims.inputs, 4 * plan.dims.units, plan.input_groups, transposed, scratch),
        recurrent_kernel(kernels_of<T>(*plan.isa), plan.dims.units, 4 * plan.dims.units, plan.recurrent_groups,
                         transposed, scratch),
        steps(plan.dims.batch, plan.dims.timesteps, plan.options.go_backwards, masked, scratch) {}

  // A phase of its own.
  void prepare(const Team& team, const T* kernel_matrix, const T* recurrent_kernel_matrix, const uint8_t* mask) {
    kernel.pack(team, kernel_matrix);
    recurrent_kernel.pack(team, recurrent_kernel_matrix);
    if (team.rank == 0) steps.build(mask);
  }
};

// The batch rows of one member: dealt in the order of falling step counts.
class MemberRows {
 public:
  MemberRows(const Steps& steps, const Team& team, int64_t batch)
      : steps_(steps), team_(team), count_((batch - team.rank + team.size - 1) / team.size) {}
  int64_t count() const { return count_; }
  int64_t operator[](int64_t r) const { return steps_.ordered_row(team_.rank + r * team_.size); }
  int64_t most_steps() const { return count_ > 0 ? steps_.count((*this)[0]) : 0; }

 private:
  const Steps& steps_;
  const Team team_;
  const int64_t count_;
};

// A call's dimensions and inputs as both drivers read them; absent arrays are null.
template <class T>
struct LstmOperands {
  const LstmPlan& plan;
  const KernelTable<T>& kernels;
  const int64_t batch, timesteps, inputs, units;
  const T *x, *kernel, *recurrent_kernel, *bias, *h0, *c0;
  const uint8_t* mask;
  const DropoutFactors<T> dropout, recurrent_dropout;

  LstmOperands(const LstmPlan& the_plan, const LstmInputs& in)
      : plan(the_plan),
        kernels(kernels_of<T>(*plan.isa)),
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
        dropout{in.dropout_mask.as<T>(), plan.input_groups, batch, inputs},
        recurrent_dropout{in.recurrent_dropout_mask.as<T>(), plan.recurrent_groups, batch, units} {}

  // row (units) = source[index], or zero without a source.
  void copy_or_zero(T* row, const T* source, int64_t index) const {
    if (source)
      std::copy_n(source + index * units, units, row);
    else
      std::fill_n(row, units, T(0));
  }
};

// Bytes of scratch that ScratchOf<T> lays out for this call.
template <template <class> class ScratchOf>
size_t scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs) {
  Scratch measure(nullptr);
  if (plan.dims.dtype == DType::kFloat64)
    (void)ScratchOf<double>(plan, inputs.mask.present, measure);
  else
    (void)ScratchOf<float>(plan, inputs.mask.present, measure);
  return measure.used();
}

size_t lstm_forward_scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs);
size_t lstm_backward_scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs);

}  // namespace fastseq

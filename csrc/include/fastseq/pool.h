// Max and average pooling of sequences, forward and backward: the contract.
//
// B batch, T timesteps, C channels, P pooled timesteps, K pool size, S strides. All float arrays of one call have one
// dtype, float32 or float64. Arrays do not overlap. Window p has the K timesteps from p S - before on, where
//
//   valid  before = 0, P = floor((T - K) / S) + 1: windows that lie in the sequence as a whole
//   same   P = ceil(T / S), before = floor(max(K - (T - (P - 1) S), 0) / 2): the sequence is padded on both sides, with
//          one step more behind it where they cannot be alike
//
// Of a window that reaches into the padding only the timesteps of the sequence count, for the maximum and for the mean.
// A maximum is the first one of its window. NaN is never the maximum, and where nothing in a window is greater than the
// lowest finite number, that is the maximum, at the window's first timestep: as in TensorFlow on a CPU.
//
// Parallel over B P forward and B T backward. Gradients are added window by window; the same bits for any number of
// threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "fastseq/array.h"
#include "fastseq/padding.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct PoolOptions {
  int64_t pool_size = 2;              // K, from 1 to 2^31 - 1
  int64_t strides = 2;                // S, from 1 on
  Padding padding = Padding::kValid;  // not kCausal
};

// P for T timesteps; an error where "valid" has no window even for S timesteps more, as in Keras.
Status pooled_timesteps(const PoolOptions& options, int64_t timesteps, int64_t* pooled);

struct PoolDims : SequenceDims {
  int64_t channels = 0;
  int64_t pooled = 0;  // P
  int64_t before = 0;
};

// Finds `pooled` and `before` for the timesteps in `dims`; the same error, in which the names of strides and padding
// begin with `prefix`.
Status find_windows(const PoolOptions& options, PoolDims* dims, const std::string& prefix = "");

// What holds a position in a window: the smallest of uint8, uint16 and int32.
DType max_pool_index_dtype(int64_t pool_size);

// Pooling needs no scratch.
struct PoolPlan : PlanOf<PoolDims, PoolOptions> {
  int threads = 1;
};

// x (B, T, C)
Status pool_plan_forward(const Array& x, const PoolOptions& options, PoolPlan* plan);
// doutputs (B, P, C)
Status pool_plan_backward(const Array& doutputs, int64_t timesteps, const PoolOptions& options, PoolPlan* plan);

// outputs (B, P, C); argmax (B, P, C) of max_pool_index_dtype, for backward, optional: the position in its window of
// each maximum.
Status max_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs, const Array& argmax);
// dx (B, T, C). What argmax has that is no position in its window goes nowhere.
Status max_pool_backward(const PoolPlan& plan, const Array& argmax, const Array& doutputs, const Array& dx);

Status average_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs);
Status average_pool_backward(const PoolPlan& plan, const Array& doutputs, const Array& dx);

// --- the statement (statement.h); with the plan of cuda.h, of the same operations on a GPU ---------------------------

template <class Visit>
void state_options(PoolOptions& options, const Visit& visit) {
  visit("pool_size", options.pool_size);
  visit("strides", options.strides);
  visit("padding", options.padding);
}

// What both directions share, of the greatest values or of means.
template <bool kMax, bool kForward, class Plan>
struct PoolOperation : Planned<PoolOptions, Plan> {
  Array argmax;

  static const char* name() {
    if (kMax) return kForward ? "max_pool_forward" : "max_pool_backward";
    return kForward ? "average_pool_forward" : "average_pool_backward";
  }
  DType argmax_dtype() const { return max_pool_index_dtype(this->options.pool_size); }
};

template <bool kMax, class Plan = PoolPlan>
struct PoolForward : PoolOperation<kMax, true, Plan> {
  using Base = PoolOperation<kMax, true, Plan>;
  using Base::argmax, Base::options, Base::plan;
  Array x;
  bool save_argmax = true;
  Array outputs;

  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", 3), x);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    if constexpr (kMax)
      Base::for_each_option(visit, Flag{"save_argmax", save_argmax});
    else
      Base::for_each_option(visit);
  }
  template <class... How>
  Status make_plan(How...) {
    return pool_plan_forward(x, options, &plan);
  }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    const auto like = Array::like(x.dtype, {x.shape[0], plan.dims.pooled, x.shape[2]});
    visit(Output::always("outputs"), outputs, like);
    if (!kMax) return;
    visit(Output::when(save_argmax, "argmax", Holds::kSaved), argmax, like.of_dtype(Base::argmax_dtype()));
  }
  template <class... Stream>
  Status run(void*, Stream... stream) const {
    if constexpr (!kMax) return average_pool_forward(plan, x, outputs);
    return max_pool_forward(plan, x, outputs, argmax, stream...);
  }
};

template <bool kMax, class Plan = PoolPlan>
struct PoolBackward : PoolOperation<kMax, false, Plan> {
  using Base = PoolOperation<kMax, false, Plan>;
  using Base::argmax, Base::options, Base::plan;
  Array doutputs;
  int64_t timesteps = 0;
  Array dx;

  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("doutputs", 3), doutputs);
    visit(Input::number("timesteps"), timesteps);
    if (kMax) visit(Input::saved("argmax", Base::argmax_dtype()), argmax);
  }
  template <class... How>
  Status make_plan(How...) {
    return pool_plan_backward(doutputs, timesteps, options, &plan);
  }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("dx"), dx, Array::like(doutputs.dtype, {doutputs.shape[0], timesteps, doutputs.shape[2]}));
  }
  template <class... Stream>
  Status run(void*, Stream... stream) const {
    if constexpr (!kMax) return average_pool_backward(plan, doutputs, dx);
    return max_pool_backward(plan, argmax, doutputs, dx, stream...);
  }
};

}  // namespace fastseq

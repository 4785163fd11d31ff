// Max and average pooling of sequences, forward and backward: the contract.
//
// B batch, T timesteps, C channels, P pooled timesteps, K pool size, S strides. All float arrays of one call have one
// dtype, float32 or float64. Arrays do not overlap. Window p has the K timesteps from p S - before on, where
//
//   valid  before = 0, P = floor((T - K) / S) + 1: every window lies within the sequence
//   same   P = ceil(T / S), before = floor(max(K - (T - (P - 1) S), 0) / 2): the sequence is padded at both ends, with
//          one step more after it where the padding is odd
//
// Timesteps in the padding count for nothing, neither for the maximum nor for the mean. Among equal maxima the first
// one of the window counts. NaN is never the maximum. If no element of a window is greater than the lowest finite
// number, that number is the maximum, at the window's first timestep. All this is as in TensorFlow on a CPU.
//
// With propagate_nan, NaN is greater than every number, and the last NaN of a window is the maximum, as in PyTorch. The
// maximum of a window of -inf is -inf, at the window's first timestep.
//
// Forward is parallel over B P, backward over B T. Gradients are added window by window. The results have the same bits
// for any number of threads.
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
  int64_t strides = 2;                // S, at least 1
  Padding padding = Padding::kValid;  // not kCausal
  bool propagate_nan = false;         // used by max_pool_forward
};

// P for T timesteps. With "valid" it is 0 if the sequence is shorter than a window, and an error if the sequence is
// shorter than a window by more than S timesteps, as in Keras.
Status pooled_timesteps(const PoolOptions& options, int64_t timesteps, int64_t* pooled);

struct PoolDims : SequenceDims {
  int64_t channels = 0;
  int64_t pooled = 0;  // P
  int64_t before = 0;
};

// Sets `pooled` and `before` for the timesteps in `dims`. It has the errors of pooled_timesteps, in which `prefix`
// comes before the names of strides and padding.
Status find_windows(const PoolOptions& options, PoolDims* dims, const std::string& prefix = "");

// The dtype of a position in a window: the smallest of uint8, uint16 and int32 that holds it.
DType max_pool_index_dtype(int64_t pool_size);

// Pooling needs no scratch.
struct PoolPlan : PlanOf<PoolDims, PoolOptions> {
  int threads = 1;
};

// x (B, T, C)
Status pool_plan_forward(const Array& x, const PoolOptions& options, PoolPlan* plan);
// doutputs (B, P, C)
Status pool_plan_backward(const Array& doutputs, int64_t timesteps, const PoolOptions& options, PoolPlan* plan);

// outputs (B, P, C); argmax (B, P, C) of max_pool_index_dtype, optional: the position of each maximum in its window,
// which backward needs.
Status max_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs, const Array& argmax);
// dx (B, T, C). The gradient of an output whose argmax is not a position in its window is dropped.
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

// The common part of forward and backward, for max pooling (kMax) or average pooling.
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
      Base::for_each_option(visit, Flag{"propagate_nan", options.propagate_nan}, Flag{"save_argmax", save_argmax});
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

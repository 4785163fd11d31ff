// One-dimensional convolution with bias, activation and, optionally, max pooling, forward and backward: the contract.
//
// B batch, T timesteps, C channels, F filters, K kernel width, G groups. The convolution has T' timesteps, the outputs
// have P: T' or, with pooling, the number of windows in T' timesteps (pool.h). Channels come last. All float arrays of
// one call have one dtype, float32 or float64. Arrays do not overlap. With a = activation, s = strides,
// d = dilation_rate, p = padding before the first step:
//
//   z[b, t, f] = bias[f] + sum over k, c of x[b, t s + k d - p, g C/G + c] kernel[k, c, f],  g = f / (F/G) rounded down
//   outputs = a(z) or, pooled, the greatest of a(z) in each window
//
// where x is zero before its first and after its last step. p is 0 with kValid, d (K - 1) with kCausal, and half of the
// whole padding, rounded down, with kSame (padding.h).
//
// Parallel over batch rows and steps; weight gradients over parts of the batch and rows of the kernel. The results have
// the same bits for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/activation.h"
#include "fastseq/array.h"
#include "fastseq/padding.h"
#include "fastseq/pool.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct Conv1dOptions {
  Activation activation = Activation::kLinear;
  Padding padding = Padding::kValid;
  int64_t strides = 1;
  int64_t dilation_rate = 1;
  int64_t groups = 1;
  bool pooled = false;
  PoolOptions pool;  // used where pooled
};

struct Conv1dInputs {
  Array x;       // (B, T, C)
  Array kernel;  // (K, C/G, F)
  Array bias;    // (F), optional: zero where absent
};

struct Conv1dOutputs {
  Array outputs;  // (B, P, F)
  Array argmax;   // (B, P, F) of max_pool_index_dtype (pool.h), only where pooled; optional in forward
};

struct Conv1dGradients {
  Array dx;       // (B, T, C), optional
  Array dkernel;  // (K, C/G, F), optional, together with dbias
  Array dbias;    // (F), optional
};

struct Conv1dDims : SequenceDims {
  int64_t channels = 0;
  int64_t filters = 0;
  int64_t width = 0;           // K
  int64_t convolved = 0;       // T'
  int64_t padding_before = 0;  // p
  PoolDims pool;               // used where pooled
  int64_t outputs = 0;         // P
};

struct Conv1dPlan : PlanOf<Conv1dDims, Conv1dOptions> {
  int threads = 1;
  size_t prepared_bytes = 0;  // size of the memory for conv1d_prepare; 0 where it is better to pack in every call
};

// Both check every shape and dtype of the inputs; the error names the array, what was expected and what came.
Status conv1d_plan_forward(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan);
// `prepared` is what conv1d_prepare has written for the same kernel, options and instruction set; null: every call
// packs the kernel.
Status conv1d_forward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs, void* scratch,
                      const void* prepared = nullptr);
void conv1d_prepare(const Conv1dPlan& plan, const Conv1dInputs& inputs, void* prepared);

// `outputs` are those of forward, with argmax where pooled. `doutputs` (B, P, F) is the gradient of a scalar loss by
// the outputs.
Status conv1d_plan_backward(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan);
Status conv1d_backward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs,
                       const Array& doutputs, const Conv1dGradients& gradients, void* scratch);

// --- the statement (statement.h); with the plan of cuda.h, of the same operations on a GPU ---------------------------

template <class Visit>
void state_options(Conv1dOptions& options, const Visit& visit) {
  visit("activation", options.activation);
  visit("padding", options.padding);
  visit("strides", options.strides);
  visit("dilation_rate", options.dilation_rate);
  visit("groups", options.groups);
  int64_t pool_size = options.pooled ? options.pool.pool_size : 0;  // 0: no pooling
  visit("pool_size", pool_size);
  options.pooled = pool_size != 0;
  if (options.pooled) options.pool.pool_size = pool_size;
  visit("pool_strides", options.pool.strides);
  visit("pool_padding", options.pool.padding);
}

// The common part of forward and backward.
template <bool kForward, class Plan>
struct Conv1dOperation : Planned<Conv1dOptions, Plan> {
  Conv1dInputs inputs;
  Conv1dOutputs outputs;

  static const char* name() { return kForward ? "conv1d_forward" : "conv1d_backward"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", 3), inputs.x);
    visit(Input::required("kernel", 3), inputs.kernel);
    visit(Input::optional("bias"), inputs.bias);
  }
  template <class... How>
  Status make_plan(How... how) {
    return kForward ? conv1d_plan_forward(inputs, this->options, how..., &this->plan)
                    : conv1d_plan_backward(inputs, this->options, how..., &this->plan);
  }
};

template <class Plan = Conv1dPlan>
struct Conv1dForward : Conv1dOperation<true, Plan> {
  using Base = Conv1dOperation<true, Plan>;
  using Base::inputs, Base::outputs, Base::options, Base::plan;
  bool save_argmax = true;

  template <class Visit>
  void for_each_option(const Visit& visit) {
    Base::for_each_option(visit, Flag{"pool_propagate_nan", options.pool.propagate_nan},
                          Flag{"save_argmax", save_argmax});
  }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    const auto like = Array::like(inputs.x.dtype, {inputs.x.shape[0], plan.dims.outputs, inputs.kernel.shape[2]});
    visit(Output::always("outputs"), outputs.outputs, like);
    visit(Output::when(options.pooled && save_argmax, "argmax", Holds::kSaved), outputs.argmax,
          like.of_dtype(max_pool_index_dtype(options.pool.pool_size)));
  }
  template <class... Stream>
  Status run(void* scratch, Stream... stream) const {
    return conv1d_forward(plan, inputs, outputs, scratch, stream...);
  }
};

// Forward for prediction, with a kernel that is packed once.
struct Conv1dPredict : Conv1dForward<>, Preparing {
  Conv1dPredict() { save_argmax = false; }
  static const char* name() { return "conv1d_predict"; }
  size_t prepared_bytes() const { return plan.prepared_bytes; }
  int prepared_for() const { return 0; }
  void prepare(void* memory) const { conv1d_prepare(plan, inputs, memory); }
  Status run(void* scratch) const { return conv1d_forward(plan, inputs, outputs, scratch, prepared); }
};

// The same behind an Embedding whose rows have been multiplied by each tap of the kernel: the sum over the taps of rows
// of tables, by their ids. There are no groups.
struct Conv1dLookup : Planned<Conv1dOptions, Conv1dPlan> {
  static constexpr bool kPlanReadsData = true;  // the ids
  Array ids;                                    // (B, T), int32 or int64
  Array tables;                                 // (K, V, F)
  Array bias;                                   // (F), optional
  Array outputs;

  static const char* name() { return "conv1d_lookup"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("ids", 2, Holds::kIntegers), ids);
    visit(Input::required("tables", 3), tables);
    visit(Input::optional("bias"), bias);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    Planned::for_each_option(visit, Flag{"pool_propagate_nan", options.pool.propagate_nan});
  }
  Status make_plan();
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("outputs"), outputs,
          Array::like(tables.dtype, {ids.shape[0], plan.dims.outputs, tables.shape[2]}));
  }
  Status run(void* scratch) const;
};

template <class Plan = Conv1dPlan>
struct Conv1dBackward : Conv1dOperation<false, Plan>, Wanted {
  using Base = Conv1dOperation<false, Plan>;
  using Base::inputs, Base::outputs, Base::options, Base::plan;
  Array doutputs;
  Conv1dGradients gradients;

  template <class Visit>
  void for_each_input(const Visit& visit) {
    Base::for_each_input(visit);
    visit(Input::required("outputs"), outputs.outputs);
    visit(Input::saved("argmax", max_pool_index_dtype(options.pool.pool_size), options.pooled), outputs.argmax);
    visit(Input::required("doutputs"), doutputs);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    Base::for_each_option(visit, Flag{"with_dx", with_dx}, Flag{"with_weights", with_weights});
  }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::when(with_dx, "dx"), gradients.dx, inputs.x);
    visit(Output::when(with_weights, "dkernel"), gradients.dkernel, inputs.kernel);
    visit(Output::when(with_weights && inputs.bias.present, "dbias"), gradients.dbias,
          inputs.bias.of_dtype(inputs.x.dtype));
  }
  template <class... Stream>
  Status run(void* scratch, Stream... stream) const {
    return conv1d_backward(plan, inputs, outputs, doutputs, gradients, scratch, stream...);
  }
};

}  // namespace fastseq

// One-dimensional convolution with bias, activation and, optionally, max pooling, forward and backward: the contract.
//
// B batch, T timesteps, C channels, F filters, K kernel width, G groups, T' timesteps of the convolution, P those of
// the outputs: T' or, with pooling, what pool.h says of T'. Channels come last. All float arrays of one call have one
// dtype, float32 or float64. Arrays do not overlap. With a = activation, s = strides, d = dilation_rate, p = padding
// before the first step:
//
//   z[b, t, f] = bias[f] + sum over k, c of x[b, t s + k d - p, g C/G + c] kernel[k, c, f],  g = f / (F/G) rounded down
//   outputs = a(z) or, pooled, the greatest of a(z) in each window
//
// where x is zero before its first and after its last step. p is 0 with kValid, d (K - 1) with kCausal, and half of
// what it takes, rounded down, with kSame (padding.h).
//
// Parallel over batch rows and steps; weight gradients over parts of the batch and rows of the kernel. The same bits
// for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/activation.h"
#include "fastseq/array.h"
#include "fastseq/padding.h"
#include "fastseq/pool.h"
#include "fastseq/status.h"

namespace fastseq {

struct Conv1dOptions {
  Activation activation = Activation::kLinear;
  Padding padding = Padding::kValid;
  int64_t strides = 1;
  int64_t dilation_rate = 1;
  int64_t groups = 1;
  bool pooled = false;
  PoolOptions pool;  // where pooled
};

struct Conv1dInputs {
  Array x;       // (B, T, C)
  Array kernel;  // (K, C/G, F)
  Array bias;    // (F), optional: zero
};

struct Conv1dOutputs {
  Array outputs;  // (B, P, F)
  Array argmax;   // (B, P, F) of max_pool_index_dtype (pool.h), where pooled; optional for forward
};

struct Conv1dGradients {
  Array dx;       // (B, T, C), optional
  Array dkernel;  // (K, C/G, F), optional, together with dbias
  Array dbias;    // (F), optional
};

struct Conv1dDims {
  int64_t batch = 0;
  int64_t timesteps = 0;
  int64_t channels = 0;
  int64_t filters = 0;
  int64_t width = 0;           // K
  int64_t convolved = 0;       // T'
  int64_t padding_before = 0;  // p
  PoolDims pool;               // of the pooling, where pooled
  int64_t outputs = 0;         // P
  DType dtype = DType::kFloat32;
};

// A call prepared: which kernels, how many threads, how much scratch.
struct Conv1dPlan {
  Conv1dDims dims;
  Conv1dOptions options;
  const struct Isa* isa = nullptr;
  int threads = 1;
  size_t scratch_bytes = 0;  // of memory to hand over, aligned to kMemoryAlignment (memory.h), content undefined
};

// Both check every shape and dtype of the inputs; the error names the array, what was expected and what came.
Status conv1d_plan_forward(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan);
Status conv1d_forward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs, void* scratch);

// `outputs` are forward's, with argmax where pooled; `doutputs` (B, P, F) is the gradient of a scalar loss by them.
Status conv1d_plan_backward(const Conv1dInputs& inputs, const Conv1dOptions& options, Conv1dPlan* plan);
Status conv1d_backward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs,
                       const Array& doutputs, const Conv1dGradients& gradients, void* scratch);

}  // namespace fastseq

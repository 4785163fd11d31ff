// The ops on an NVIDIA GPU: the contracts of rnn.h, conv1d.h and pool.h for arrays in the memory of one device.
//
// Differences: the float arrays of a call are float32, float16 or bfloat16; float64 is not supported. Half types are
// for storage only: states, sums and products are float32, and results are rounded once. Workspaces are float32 for all
// dtypes. A call is queued on the caller's stream, whose device must be current, and returns before it is done. The
// arrays and the scratch must live until the stream has finished it. Results have the same bits from run to run on one
// kind of GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/conv1d.h"
#include "fastseq/pool.h"
#include "fastseq/rnn.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

// A cudaStream_t; null is the device's default stream.
using Stream = void*;

// The precision of matrix products. With kTf32, the recurrent ops' products outside the time loop round their float32
// operands to 11 bits. That is several times as fast, with errors of up to 1e-3. With half types these products always
// do so, since their values have no more bits. The convolution's products are float32 in any case.
enum class Precision { kFloat32, kTf32 };

// The launch shape of a persistent time loop: one launch for all timesteps, with the recurrent kernel in registers
// (csrc/cuda/rnn_persistent.cuh). A cluster of blocks computes some rows of the batch.
struct RnnLoopShape {
  int batch = 0;
  int timesteps = 0;
  int units = 0;
  int rows = 0;             // rows of the batch in a cluster
  int blocks = 0;           // blocks in a cluster
  int lanes = 0;            // threads that share an output of the product: 4, 8, 16 or 32
  int groups = 0;           // groups of so many lanes in a block
  int chunks = 0;           // chunks of four operands that a thread has
  int threads = 0;          // threads in a block
  size_t shared_bytes = 0;  // shared memory of a block
};

struct RnnPlan {
  RnnDims dims;
  RnnOptions options;
  Precision precision = Precision::kFloat32;
  int input_factors = 0;      // dropout_mask's first dimension, 0 without
  int recurrent_factors = 0;  // recurrent_dropout_mask's
  bool masked = false;
  bool persistent = false;   // else every step is a product and one or two elementwise kernels
  RnnLoopShape shape;        // used where persistent
  size_t scratch_bytes = 0;  // size of the device memory that the caller provides, aligned to 256 bytes
};

// The number of elements that forward saves for backward, per step and row: the activated gates, the states before the
// step and, for GRU with reset_after, h recurrent_kernel[h] + recurrent bias[h]. LSTM has 6U elements, GRU 5U (4U
// without reset_after), SimpleRNN 2U, all float32.
int64_t rnn_workspace_width(const RnnOptions& options, int64_t units);
inline Array rnn_workspace(const RnnPlan& plan) {
  const RnnDims& d = plan.dims;
  return Array::like(DType::kFloat32, {d.batch, d.timesteps, cuda::rnn_workspace_width(plan.options, d.units)});
}

// Plans depend on shapes, dtypes and the current device, not on data.
Status rnn_plan_forward(const RnnInputs& inputs, const RnnOptions& options, Precision precision, RnnPlan* plan);
Status rnn_forward(const RnnPlan& plan, const RnnInputs& inputs, const RnnOutputs& outputs, void* scratch,
                   Stream stream);
Status rnn_plan_backward(const RnnInputs& inputs, const RnnOptions& options, Precision precision, RnnPlan* plan);
Status rnn_backward(const RnnPlan& plan, const RnnInputs& inputs, const Array& workspace,
                    const RnnOutputGradients& doutputs, const RnnGradients& gradients, void* scratch, Stream stream);

struct Conv1dPlan {
  Conv1dDims dims;
  Conv1dOptions options;
  Precision precision = Precision::kFloat32;
  size_t scratch_bytes = 0;
};

Status conv1d_plan_forward(const Conv1dInputs& inputs, const Conv1dOptions& options, Precision precision,
                           Conv1dPlan* plan);
Status conv1d_forward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs, void* scratch,
                      Stream stream);
Status conv1d_plan_backward(const Conv1dInputs& inputs, const Conv1dOptions& options, Precision precision,
                            Conv1dPlan* plan);
Status conv1d_backward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs,
                       const Array& doutputs, const Conv1dGradients& gradients, void* scratch, Stream stream);

struct PoolPlan {
  PoolDims dims;
  PoolOptions options;
  static constexpr size_t scratch_bytes = 0;
};

Status pool_plan_forward(const Array& x, const PoolOptions& options, PoolPlan* plan);
Status pool_plan_backward(const Array& doutputs, int64_t timesteps, const PoolOptions& options, PoolPlan* plan);
Status max_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs, const Array& argmax, Stream stream);
Status max_pool_backward(const PoolPlan& plan, const Array& argmax, const Array& doutputs, const Array& dx,
                         Stream stream);

struct DeviceInfo {
  std::string name;
  int major = 0;  // the compute capability is major.minor
  int minor = 0;
  int multiprocessors = 0;
  size_t memory_bytes = 0;
  int driver = 0;  // versions as CUDA gives them: 13000 is 13.0
  int runtime = 0;
};

// The number of devices that this build has code for; 0, with the reason, where there is none or no driver.
int device_count(std::string* reason);
Status device_info(int device, DeviceInfo* info);

// The device whose memory an address is in; an error for host memory.
Status device_of(const void* data, int* device);

// Makes a device current for the life of this object.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

// Adds folders in which to look for CUDA's libraries. The libraries are loaded when they are first needed.
void look_for_libraries_in(const std::vector<std::string>& folders);

// Waits until all work queued on the stream is done; an error where some of it failed.
Status synchronize(Stream stream);

// Work that is queued on `second` after this call waits for the work that was queued on `first` before it.
Status order(Stream first, Stream second);

// Device memory in the order of a stream: memory that is given back can be taken again by later work on the stream.
Status take_memory(size_t bytes, Stream stream, void** memory);
void give_memory_back(void* memory, Stream stream) noexcept;

}  // namespace fastseq::cuda

// The common part of the recurrent ops' drivers: float32 copies of arrays of half types, and the layout of scratch.
#pragma once

#include "common/checks.h"
#include "common/scratch.h"
#include "convert.cuh"
#include "fastseq/cuda.h"
#include "rnn_loop.h"

namespace fastseq::cuda {

inline int64_t count_of(const Array& array) {
  int64_t count = 1;
  for (int i = 0; i < array.rank; ++i) count *= array.shape[i];
  return count;
}

// The scratch of a call. With take_if_half, it has float32 copies of arrays of half types only.
class RnnScratch {
 public:
  RnnScratch(const RnnPlan& plan, void* base) : half_(plan.dims.dtype != DType::kFloat32), scratch_(base) {}
  template <class T>
  T* take(int64_t count) {
    return scratch_.take<T>(count);
  }
  float* take_if_half(int64_t count) { return half_ ? take<float>(count) : nullptr; }
  size_t used() const { return scratch_.used(); }

 private:
  bool half_;
  Scratch scratch_;
};

// Sets *values to an input in float32: the array itself or, for a half type, a copy in scratch. Null if it is absent.
// `copy` is null for float32.
inline Status read_as_float(const Array& array, float* copy, Stream stream, const float** values) {
  *values = copy && array.present ? copy : array.as<const float>();
  return copy && array.present ? convert_to_float(array.data, array.dtype, count_of(array), copy, stream) : Status();
}

// Where a result is written in float32: the array itself or, for a half type, the copy, from which finish_write
// converts it to the array.
inline float* write_as_float(const Array& array, float* copy) {
  return !array.present ? nullptr : copy ? copy : array.as<float>();
}
inline Status finish_write(const Array& array, const float* copy, Stream stream) {
  if (!copy || !array.present) return {};
  return convert_from_float(copy, array.dtype, count_of(array), array.data, stream);
}

// The scratch of both directions.
struct SharedScratch {
  SharedScratch(const RnnPlan& plan, bool backward, RnnScratch& scratch)
      : cells(plan.dims.batch * plan.dims.timesteps),
        columns(plan.dims.gates * plan.dims.units),
        states(plan.dims.batch * plan.dims.units) {
    const RnnDims& d = plan.dims;
    products = scratch.take<char>(kProductsWorkspace);
    stepwise = plan.persistent ? nullptr : scratch.take<float>(stepwise_scratch(plan, backward));
    kernel = scratch.take_if_half(d.inputs * columns);
    recurrent_kernel = scratch.take_if_half(d.units * columns);
    dropout_mask = scratch.take_if_half(plan.input_factors * d.batch * d.inputs);
    recurrent_dropout_mask = scratch.take_if_half(plan.recurrent_factors * d.batch * d.units);
  }
  const int64_t cells, columns, states;
  char* products;  // first, for its alignment
  float* stepwise;
  float *kernel, *recurrent_kernel, *dropout_mask, *recurrent_dropout_mask;
};

// The size of a direction's scratch.
template <class CallScratch>
size_t scratch_bytes(const RnnPlan& plan) {
  RnnScratch scratch(plan, nullptr);
  (void)CallScratch(plan, scratch);
  return scratch.used();
}

// The inputs of both directions in float32: those of the products of x here, those of the time loop in LoopArguments.
struct SharedInputs {
  const float* kernel = nullptr;
  const float* dropout_mask = nullptr;
};
inline Status read_shared(const RnnPlan& plan, const RnnInputs& inputs, const SharedScratch& copies, Stream stream,
                          SharedInputs* shared, LoopArguments* loop) {
  loop->activation = plan.options.activation;
  loop->recurrent_activation = plan.options.recurrent_activation;
  loop->go_backwards = plan.options.go_backwards;
  loop->zero_output_for_mask = plan.options.zero_output_for_mask;
  loop->h0_as_first_output = plan.options.h0_as_first_output && !plan.options.zero_output_for_mask;
  loop->mask = inputs.mask.as<const uint8_t>();
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.kernel, copies.kernel, stream, &shared->kernel));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.dropout_mask, copies.dropout_mask, stream, &shared->dropout_mask));
  FASTSEQ_RETURN_IF_ERROR(
      read_as_float(inputs.recurrent_kernel, copies.recurrent_kernel, stream, &loop->recurrent_kernel));
  return read_as_float(inputs.recurrent_dropout_mask, copies.recurrent_dropout_mask, stream, &loop->factors);
}

size_t rnn_forward_scratch_bytes(const RnnPlan& plan);
size_t rnn_backward_scratch_bytes(const RnnPlan& plan);

}  // namespace fastseq::cuda

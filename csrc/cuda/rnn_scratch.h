// What the drivers of the recurrent ops share: float32 copies of arrays of half types, and where scratch has what.
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

// Scratch for a call: pieces for what is not float32 already.
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

// An input as float32: where it is or, of a half type, in its piece of scratch; null when absent.
inline Status read_as_float(const Array& array, float* piece, Stream stream, const float** values) {
  *values = piece && array.present ? piece : array.as<const float>();
  return piece && array.present ? convert_to_float(array.data, array.dtype, count_of(array), piece, stream) : Status();
}

// A result: where float32 values go, and then the way from there to the array.
inline float* write_as_float(const Array& array, float* piece) {
  return !array.present ? nullptr : piece ? piece : array.as<float>();
}
inline Status finish_write(const Array& array, const float* piece, Stream stream) {
  if (!piece || !array.present) return {};
  return convert_from_float(piece, array.dtype, count_of(array), array.data, stream);
}

// What both directions have.
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

// Bytes that the scratch of a direction takes.
template <class CallScratch>
size_t scratch_bytes(const RnnPlan& plan) {
  RnnScratch scratch(plan, nullptr);
  (void)CallScratch(plan, scratch);
  return scratch.used();
}

// The weights of the products of x, and what the time loop has of a call.
struct SharedInputs {
  const float* kernel = nullptr;
  const float* dropout_mask = nullptr;
};
inline Status read_shared(const RnnPlan& plan, const RnnInputs& inputs, const SharedScratch& pieces, Stream stream,
                          SharedInputs* shared, LoopArguments* loop) {
  loop->activation = plan.options.activation;
  loop->recurrent_activation = plan.options.recurrent_activation;
  loop->go_backwards = plan.options.go_backwards;
  loop->zero_output_for_mask = plan.options.zero_output_for_mask;
  loop->h0_as_first_output = plan.options.h0_as_first_output && !plan.options.zero_output_for_mask;
  loop->mask = inputs.mask.as<const uint8_t>();
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.kernel, pieces.kernel, stream, &shared->kernel));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.dropout_mask, pieces.dropout_mask, stream, &shared->dropout_mask));
  FASTSEQ_RETURN_IF_ERROR(
      read_as_float(inputs.recurrent_kernel, pieces.recurrent_kernel, stream, &loop->recurrent_kernel));
  return read_as_float(inputs.recurrent_dropout_mask, pieces.recurrent_dropout_mask, stream, &loop->factors);
}

size_t rnn_forward_scratch_bytes(const RnnPlan& plan);
size_t rnn_backward_scratch_bytes(const RnnPlan& plan);

}  // namespace fastseq::cuda

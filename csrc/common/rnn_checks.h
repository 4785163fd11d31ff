// Checks of the recurrent ops' arrays, for every device.
#pragma once

#include "checks.h"
#include "fastseq/rnn.h"

namespace fastseq {

// Every shape and dtype of the inputs; fills dims.
Status check_rnn_inputs(const RnnInputs& inputs, const RnnOptions& options, Floats floats, RnnDims* dims);

// The dtype and width of a workspace, which differ between devices.
struct Saved {
  DType dtype;
  int64_t width;
};
// The arrays that forward writes; those that backward writes, and those that it reads besides the inputs.
Status check_rnn_outputs(const RnnOutputs& outputs, const RnnOptions& options, const RnnDims& d, const Saved& saved);
Status check_rnn_gradients(const Array& workspace, const RnnOutputGradients& doutputs, const RnnGradients& gradients,
                           const RnnOptions& options, const RnnDims& d, const Saved& saved);

// The first dimension of dropout_mask or recurrent_dropout_mask; 0 where it is absent.
inline int factors_of(const Array& array) { return array.present ? static_cast<int>(array.shape[0]) : 0; }

}  // namespace fastseq

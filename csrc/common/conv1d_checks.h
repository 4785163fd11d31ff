// Checks of the convolution's arrays, for every device.
#pragma once

#include "checks.h"
#include "fastseq/conv1d.h"

namespace fastseq {

// Every option, shape and dtype of the inputs; fills dims.
Status check_conv1d_inputs(const Conv1dInputs& inputs, const Conv1dOptions& options, Floats floats, Conv1dDims* d);

// The arrays that forward writes. With `with_argmax`, argmax is required where the convolution is pooled.
Status check_conv1d_outputs(const Conv1dOutputs& outputs, const Conv1dOptions& options, const Conv1dDims& d,
                            bool with_argmax);
// The arrays that backward reads besides the inputs, and those that it writes.
Status check_conv1d_gradients(const Conv1dOutputs& outputs, const Array& doutputs, const Conv1dGradients& gradients,
                              const Conv1dOptions& options, const Conv1dDims& d);

}  // namespace fastseq

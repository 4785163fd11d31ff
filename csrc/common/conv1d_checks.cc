#include "conv1d_checks.h"

#include <algorithm>
#include <string>

namespace fastseq {
namespace {

// Finds the timesteps of the convolution and the padding. As in Keras, it is an error if "valid" leaves no output.
Status find_extent(const Conv1dOptions& options, Conv1dDims* d) {
  const int64_t reach = options.dilation_rate * (d->width - 1);  // from the first tap to the last
  const auto rounded_up = [&](int64_t steps) { return (steps + options.strides - 1) / options.strides; };
  switch (options.padding) {
    case Padding::kValid:
      if (d->timesteps <= reach)
        return Status::invalid_argument("x must have at least " + std::to_string(reach + 1) +
                                        " timesteps for a kernel of width " + std::to_string(d->width) +
                                        " with dilation_rate " + std::to_string(options.dilation_rate) +
                                        " and padding 'valid', got " + std::to_string(d->timesteps));
      d->convolved = rounded_up(d->timesteps - reach);
      break;
    case Padding::kCausal:
      d->convolved = rounded_up(d->timesteps);
      d->padding_before = reach;
      break;
    case Padding::kSame:
      d->convolved = rounded_up(d->timesteps);
      d->padding_before = std::max<int64_t>((d->convolved - 1) * options.strides + reach + 1 - d->timesteps, 0) / 2;
      break;
  }
  return {};
}

// Finds the timesteps of the outputs, after pooling.
Status find_outputs(const Conv1dOptions& options, Conv1dDims* d) {
  d->outputs = d->convolved;
  if (!options.pooled) return {};
  d->pool.batch = d->batch;
  d->pool.timesteps = d->convolved;
  d->pool.channels = d->filters;
  d->pool.dtype = d->dtype;
  FASTSEQ_RETURN_IF_ERROR(find_windows(options.pool, &d->pool, "pool_"));
  d->outputs = d->pool.pooled;
  return {};
}

}  // namespace

Status check_conv1d_inputs(const Conv1dInputs& inputs, const Conv1dOptions& options, Floats floats, Conv1dDims* d) {
  FASTSEQ_RETURN_IF_ERROR(check_range("strides", options.strides, 1));
  FASTSEQ_RETURN_IF_ERROR(check_range("dilation_rate", options.dilation_rate, 1));
  FASTSEQ_RETURN_IF_ERROR(check_range("groups", options.groups, 1));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", inputs.x, 3, "(batch, timesteps, channels)", floats));
  FASTSEQ_RETURN_IF_ERROR(
      check_float_rank("kernel", inputs.kernel, 3, "(kernel_size, channels / groups, filters)", floats));
  d->dtype = inputs.x.dtype;
  d->batch = inputs.x.shape[0];
  d->timesteps = inputs.x.shape[1];
  d->channels = inputs.x.shape[2];
  d->width = inputs.kernel.shape[0];
  d->filters = inputs.kernel.shape[2];
  if (d->width < 1 || d->width > INT32_MAX || d->filters < 1)
    return wrong_shape("kernel", "(at least 1, channels / groups, at least 1)", inputs.kernel);
  if (d->channels % options.groups != 0 || d->filters % options.groups != 0)
    return Status::invalid_argument("groups must divide the channels of x, " + std::to_string(d->channels) +
                                    ", and the filters of kernel, " + std::to_string(d->filters) + "; got " +
                                    std::to_string(options.groups));
  FASTSEQ_RETURN_IF_ERROR(
      check_array("kernel", inputs.kernel, d->dtype, {d->width, d->channels / options.groups, d->filters}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("bias", inputs.bias, d->dtype, {d->filters}));
  FASTSEQ_RETURN_IF_ERROR(find_extent(options, d));
  FASTSEQ_RETURN_IF_ERROR(check_sizes("outputs", {d->batch, d->convolved, d->filters}));
  return find_outputs(options, d);
}

Status check_conv1d_outputs(const Conv1dOutputs& outputs, const Conv1dOptions& options, const Conv1dDims& d,
                            bool with_argmax) {
  FASTSEQ_RETURN_IF_ERROR(check_array("outputs", outputs.outputs, d.dtype, {d.batch, d.outputs, d.filters}));
  if (!options.pooled || !(with_argmax || outputs.argmax.present)) return {};
  return check_array("argmax", outputs.argmax, max_pool_index_dtype(options.pool.pool_size),
                     {d.batch, d.outputs, d.filters});
}

Status check_conv1d_gradients(const Conv1dOutputs& outputs, const Array& doutputs, const Conv1dGradients& gradients,
                              const Conv1dOptions& options, const Conv1dDims& d) {
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_outputs(outputs, options, d, true));
  FASTSEQ_RETURN_IF_ERROR(check_array("doutputs", doutputs, d.dtype, {d.batch, d.outputs, d.filters}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dx", gradients.dx, d.dtype, {d.batch, d.timesteps, d.channels}));
  FASTSEQ_RETURN_IF_ERROR(
      check_optional("dkernel", gradients.dkernel, d.dtype, {d.width, d.channels / options.groups, d.filters}));
  if (gradients.dbias.present && !gradients.dkernel.present)
    return Status::invalid_argument("dbias is given, but dkernel is not");
  return check_optional("dbias", gradients.dbias, d.dtype, {d.filters});
}

}  // namespace fastseq

#include "pool_checks.h"

namespace fastseq {
namespace {

// `array` is x (batch, timesteps, channels) or doutputs (batch, pooled timesteps, channels).
Status find_dims(const Array& array, int64_t timesteps, const PoolOptions& options, PoolDims* d) {
  d->batch = array.shape[0];
  d->timesteps = timesteps;
  d->channels = array.shape[2];
  d->dtype = array.dtype;
  return find_windows(options, d);
}

}  // namespace

Status check_pool_x(const Array& x, const PoolOptions& options, Floats floats, PoolDims* d) {
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", x, 3, "(batch, timesteps, channels)", floats));
  return find_dims(x, x.shape[1], options, d);
}

Status check_pool_doutputs(const Array& doutputs, int64_t timesteps, const PoolOptions& options, Floats floats,
                           PoolDims* d) {
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("doutputs", doutputs, 3, "(batch, pooled timesteps, channels)", floats));
  FASTSEQ_RETURN_IF_ERROR(find_dims(doutputs, timesteps, options, d));
  FASTSEQ_RETURN_IF_ERROR(check_sizes("dx", {d->batch, d->timesteps, d->channels}));
  return check_array("doutputs", doutputs, d->dtype, {d->batch, d->pooled, d->channels});
}

Status check_pool_forward(const Array& x, const Array& outputs, const PoolDims& d) {
  FASTSEQ_RETURN_IF_ERROR(check_array("x", x, d.dtype, {d.batch, d.timesteps, d.channels}));
  return check_array("outputs", outputs, d.dtype, {d.batch, d.pooled, d.channels});
}

Status check_pool_backward(const Array& doutputs, const Array& dx, const PoolDims& d) {
  FASTSEQ_RETURN_IF_ERROR(check_array("doutputs", doutputs, d.dtype, {d.batch, d.pooled, d.channels}));
  return check_array("dx", dx, d.dtype, {d.batch, d.timesteps, d.channels});
}

Status check_max_pool_forward(const Array& x, const Array& outputs, const Array& argmax, const PoolOptions& options,
                              const PoolDims& d) {
  FASTSEQ_RETURN_IF_ERROR(check_pool_forward(x, outputs, d));
  return check_optional("argmax", argmax, max_pool_index_dtype(options.pool_size), {d.batch, d.pooled, d.channels});
}

Status check_max_pool_backward(const Array& argmax, const Array& doutputs, const Array& dx, const PoolOptions& options,
                               const PoolDims& d) {
  FASTSEQ_RETURN_IF_ERROR(
      check_array("argmax", argmax, max_pool_index_dtype(options.pool_size), {d.batch, d.pooled, d.channels}));
  return check_pool_backward(doutputs, dx, d);
}

}  // namespace fastseq

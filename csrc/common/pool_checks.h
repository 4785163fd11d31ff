// Checks of the pooling ops' arrays, for every device.
#pragma once

#include "checks.h"
#include "fastseq/pool.h"

namespace fastseq {

// The options and x, or doutputs, when a call is planned; fills dims.
Status check_pool_x(const Array& x, const PoolOptions& options, Floats floats, PoolDims* d);
Status check_pool_doutputs(const Array& doutputs, int64_t timesteps, const PoolOptions& options, Floats floats,
                           PoolDims* d);

// The arrays of a call.
Status check_pool_forward(const Array& x, const Array& outputs, const PoolDims& d);
Status check_pool_backward(const Array& doutputs, const Array& dx, const PoolDims& d);
Status check_max_pool_forward(const Array& x, const Array& outputs, const Array& argmax, const PoolOptions& options,
                              const PoolDims& d);
Status check_max_pool_backward(const Array& argmax, const Array& doutputs, const Array& dx, const PoolOptions& options,
                               const PoolDims& d);

}  // namespace fastseq

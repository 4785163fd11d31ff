// Max pooling: plans and launches.
#include "common/pool_checks.h"
#include "float_types.h"
#include "max_pool.cuh"

namespace fastseq::cuda {
namespace {

template <class T>
struct Incoming {
  const T* doutputs;
  __device__ float operator()(int64_t i) const { return to_float(doutputs[i]); }
};

}  // namespace

Status pool_plan_forward(const Array& x, const PoolOptions& options, PoolPlan* plan) {
  *plan = {};
  plan->options = options;
  return check_pool_x(x, options, Floats::kCuda, &plan->dims);
}

Status pool_plan_backward(const Array& doutputs, int64_t timesteps, const PoolOptions& options, PoolPlan* plan) {
  *plan = {};
  plan->options = options;
  return check_pool_doutputs(doutputs, timesteps, options, Floats::kCuda, &plan->dims);
}

Status max_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs, const Array& argmax,
                        Stream stream) {
  const PoolDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(check_max_pool_forward(x, outputs, argmax, plan.options, d));
  const int64_t count = d.batch * d.pooled * d.channels;
  if (count == 0) return {};
  return with_float_type(d.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto kernel = plan.options.propagate_nan ? take_maxima<T, true> : take_maxima<T, false>;
    return launch("max pooling", kernel, one_thread_for_each(count), stream, Windows(d, plan.options), x.as<T>(),
                  outputs.as<T>(), positions_of(argmax, plan.options));
  });
}

Status max_pool_backward(const PoolPlan& plan, const Array& argmax, const Array& doutputs, const Array& dx,
                         Stream stream) {
  FASTSEQ_RETURN_IF_ERROR(check_max_pool_backward(argmax, doutputs, dx, plan.options, plan.dims));
  return with_float_type(plan.dims.dtype, [&](auto zero) {
    using T = decltype(zero);
    return run_give_to_maxima(plan.dims, plan.options, argmax, Incoming<T>{doutputs.as<T>()}, dx.as<T>(), stream);
  });
}

}  // namespace fastseq::cuda

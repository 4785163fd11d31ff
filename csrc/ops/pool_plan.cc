// The windows of a pooling, and the plan of a call.
#include "common/pool_checks.h"
#include "runtime/settings.h"

namespace fastseq {
namespace {

Status check_options(const PoolOptions& options, const std::string& prefix) {
  FASTSEQ_RETURN_IF_ERROR(check_range("pool_size", options.pool_size, 1));
  FASTSEQ_RETURN_IF_ERROR(check_range((prefix + "strides").c_str(), options.strides, 1, INT64_MAX));
  if (options.padding != Padding::kCausal) return {};
  return Status::invalid_argument(prefix + "padding must be 'valid' or 'same', got 'causal'");
}

Status count_windows(const PoolOptions& options, int64_t timesteps, const std::string& prefix, int64_t* pooled) {
  FASTSEQ_RETURN_IF_ERROR(check_options(options, prefix));
  FASTSEQ_RETURN_IF_ERROR(check_range("timesteps", timesteps, 0, INT64_MAX));
  if (options.padding == Padding::kSame) {
    *pooled = timesteps / options.strides + (timesteps % options.strides ? 1 : 0);
    return {};
  }
  const int64_t missing = options.pool_size - timesteps;
  if (missing > options.strides)
    return Status::invalid_argument(
        "timesteps must be at least " + std::to_string(options.pool_size - options.strides) + " for pool_size " +
        std::to_string(options.pool_size) + " with " + prefix + "strides " + std::to_string(options.strides) + " and " +
        prefix + "padding 'valid', got " + std::to_string(timesteps));
  *pooled = missing > 0 ? 0 : -missing / options.strides + 1;
  return {};
}

Status make_plan(const PoolOptions& options, PoolPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  plan->options = options;
  const PoolDims& d = plan->dims;
  const double rows = static_cast<double>(d.batch) * (static_cast<double>(d.timesteps) + static_cast<double>(d.pooled));
  const double elements = rows * static_cast<double>(d.channels);
  plan->threads = threads_for_bytes(elements * static_cast<double>(dtype_bytes(d.dtype)));
  return {};
}

}  // namespace

Status pooled_timesteps(const PoolOptions& options, int64_t timesteps, int64_t* pooled) {
  return count_windows(options, timesteps, "", pooled);
}

Status find_windows(const PoolOptions& options, PoolDims* dims, const std::string& prefix) {
  FASTSEQ_RETURN_IF_ERROR(count_windows(options, dims->timesteps, prefix, &dims->pooled));
  dims->before = 0;
  if (options.padding == Padding::kValid || dims->pooled == 0) return {};
  const int64_t in_last_window =
      dims->timesteps - (dims->pooled - 1) * options.strides;  // timesteps, if all padding were after the sequence
  if (options.pool_size > in_last_window) dims->before = (options.pool_size - in_last_window) / 2;
  return {};
}

DType max_pool_index_dtype(int64_t pool_size) {
  if (pool_size <= int64_t{1} << 8) return DType::kUInt8;
  return pool_size <= int64_t{1} << 16 ? DType::kUInt16 : DType::kInt32;
}

Status pool_plan_forward(const Array& x, const PoolOptions& options, PoolPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_pool_x(x, options, Floats::kCpu, &plan->dims));
  return make_plan(options, plan);
}

Status pool_plan_backward(const Array& doutputs, int64_t timesteps, const PoolOptions& options, PoolPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_pool_doutputs(doutputs, timesteps, options, Floats::kCpu, &plan->dims));
  return make_plan(options, plan);
}

}  // namespace fastseq

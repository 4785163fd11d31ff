// Conv1D forward: patches of x times the kernel, then bias and activation while the sums are in registers. With
// pooling, the convolution is written to scratch and then pooled.
#include "activations.cuh"
#include "common/conv1d_checks.h"
#include "conv1d_patches.cuh"
#include "float_types.h"

namespace fastseq::cuda {
namespace {

// A product for each group: (B T', K C/G) (K C/G, F/G).
template <class T>
struct Convolution {
  static constexpr Depth kDepthOfA = Depth::kColumns;
  static constexpr Depth kDepthOfB = Depth::kRows;

  int64_t products, rows, columns;
  Patches<T> x, kernel;  // those of the first group
  const T* bias;         // may be null
  Activation activation;
  T* out;
  int64_t filters;
  bool out_by_four;

  Convolution(const Conv1dPlan& plan, const Conv1dInputs& in, T* the_out)
      : products(plan.options.groups),
        rows(plan.dims.batch * plan.dims.convolved),
        columns(plan.dims.filters / products),
        x(patches_of_x<T>(plan, in)),
        kernel(Patches<T>::rows_of(in.kernel.as<T>(), x.taps * x.elements, columns, plan.dims.filters)),
        bias(in.bias.as<T>()),
        activation(plan.options.activation),
        out(the_out),
        filters(plan.dims.filters),
        out_by_four(lies_by_four(the_out, columns, filters)) {}

  __device__ Product<T, T> product(int64_t group) const {
    Product<T, T> one{x, kernel, 0, kernel.positions};
    one.a.data += group * x.elements;
    one.b.data += group * columns;
    return one;
  }

  __device__ void store(int64_t group, int64_t row, int64_t column, int64_t count, const float* sums) const {
    const int64_t filter = group * columns + column;
    float values[kThreadColumns] = {};
    for (int64_t i = 0; i < count; ++i)
      values[i] = activate(activation, bias ? sums[i] + to_float(bias[filter + i]) : sums[i]);
    store_four(out + row * filters + filter, count, out_by_four, values);
  }
};

}  // namespace

Status conv1d_plan_forward(const Conv1dInputs& inputs, const Conv1dOptions& options, Precision precision,
                           Conv1dPlan* plan) {
  *plan = {};
  plan->options = options;
  plan->precision = precision;
  Conv1dDims& d = plan->dims;
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_inputs(inputs, options, Floats::kCuda, &d));
  if (options.pooled)
    plan->scratch_bytes = static_cast<size_t>(d.batch * d.convolved * d.filters) * dtype_bytes(d.dtype);
  return {};
}

Status conv1d_forward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs, void* scratch,
                      Stream stream) {
  const Conv1dDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_outputs(outputs, plan.options, d, false));
  Array convolved = outputs.outputs;
  if (plan.options.pooled) {
    convolved.data = scratch;
    convolved.shape[1] = d.convolved;
  }
  FASTSEQ_RETURN_IF_ERROR(with_float_type(d.dtype, [&](auto zero) {
    using T = decltype(zero);
    return run_products("convolution", Convolution<T>(plan, inputs, convolved.as<T>()), stream);
  }));
  if (!plan.options.pooled) return {};
  return max_pool_forward({d.pool, plan.options.pool}, convolved, outputs.outputs, outputs.argmax, stream);
}

}  // namespace fastseq::cuda

// Conv1D backward:
//   dz       doutputs a'(z); with pooling, at the timesteps of the maxima, else zero
//   dx       patches of dz times the reversed kernel
//   dkernel  transposed patches of x times dz
//   dbias    the sum of dz
//
// A sum over all timesteps is long and has few results. So it is split into parts, which different blocks compute, and
// a last kernel adds up the parts in order. The number of parts depends on the call's dimensions only.
#include <algorithm>
#include <numeric>

#include "activations.cuh"
#include "common/conv1d_checks.h"
#include "common/scratch.h"
#include "conv1d_patches.cuh"
#include "float_types.h"
#include "max_pool.cuh"
#include "rows.h"

namespace fastseq::cuda {
namespace {

// The parts of a sum over `depth` for so many tiles of results. There are enough blocks to keep a GPU busy, and enough
// work for each.
struct Parts {
  int64_t count;
  int64_t length;  // length of a part; the last ones may be shorter or empty

  Parts(int64_t depth, int64_t tiles) {
    constexpr int64_t kBlocks = 512;
    constexpr int64_t kLeastLength = 256;
    count = std::max<int64_t>(1, std::min(kBlocks / std::max<int64_t>(1, tiles), depth / kLeastLength));
    length = ((depth + count - 1) / count + kStage - 1) / kStage * kStage;
  }
};

Parts kernel_parts(const Conv1dPlan& plan) {
  const Conv1dDims& d = plan.dims;
  const int64_t groups = plan.options.groups;
  return Parts(d.batch * d.convolved, groups * tiles_of(d.width * d.channels / groups, d.filters / groups));
}

struct BackwardScratch {
  float* dz;           // (B, T', F); unused if doutputs can serve as dz
  float* kernel_sums;  // (parts, K, C/G, F)
  float* bias_parts;   // column_sums_parts(F)
  float* bias_sums;    // (F)

  static bool needs_dz(const Conv1dPlan& plan) {
    return plan.options.pooled || plan.options.activation != Activation::kLinear || plan.dims.dtype != DType::kFloat32;
  }
  BackwardScratch(const Conv1dPlan& plan, Scratch scratch, size_t* used = nullptr) {
    const Conv1dDims& d = plan.dims;
    const int64_t weights = d.width * d.channels / plan.options.groups * d.filters;
    dz = scratch.take<float>(needs_dz(plan) ? d.batch * d.convolved * d.filters : 0);
    kernel_sums = scratch.take<float>(kernel_parts(plan).count * weights);
    bias_parts = scratch.take<float>(column_sums_parts(d.filters));
    bias_sums = scratch.take<float>(d.filters);
    if (used) *used = scratch.used();
  }
};

template <class T>
struct ThroughActivation {
  const T* doutputs;
  const T* outputs;
  Activation activation;

  __device__ float operator()(int64_t i) const {
    return to_float(doutputs[i]) * slope(activation, to_float(outputs[i]));
  }
};

template <class T>
__global__ void find_dz(int64_t count, const ThroughActivation<T> gradient, float* dz) {
  for_each(count, [&](int64_t i) { dz[i] = gradient(i); });
}

// Row t of dx is the sum of dz[(t + p - k d) / s] kernel[k]^T over the taps k for which the index is an integer; these
// are every s / gcd(s, d)-th tap. Rows with the same t mod s have the same taps. So there is a product of (B T/s, taps
// F/G) and (taps F/G, C/G) for each remainder and group. Remainders without taps give zeros.
template <class T>
struct InputGradient {
  static constexpr Depth kDepthOfA = Depth::kColumns;
  static constexpr Depth kDepthOfB = Depth::kColumns;

  int64_t products, rows, columns;
  Patches<float> dz;  // for the first group and all taps
  Patches<T> kernel;  // likewise
  int64_t groups, strides, dilation_rate, padding_before;
  T* dx;
  int64_t timesteps, channels;
  bool dx_by_four;

  InputGradient(const Conv1dPlan& plan, const Conv1dInputs& in, const float* the_dz, T* the_dx)
      : products(0),
        rows(0),
        columns(plan.dims.channels / plan.options.groups),
        dz(the_dz, plan.dims.batch, 0, plan.dims.width, plan.dims.filters / plan.options.groups, plan.dims.convolved,
           plan.dims.filters),
        kernel(in.kernel.as<T>(), 1, columns, plan.dims.width, dz.elements, plan.dims.width * columns,
               plan.dims.filters),
        groups(plan.options.groups),
        strides(plan.options.strides),
        dilation_rate(plan.options.dilation_rate),
        padding_before(plan.dims.padding_before),
        dx(the_dx),
        timesteps(plan.dims.timesteps),
        channels(plan.dims.channels),
        dx_by_four(lies_by_four(the_dx, columns, channels)) {
    dz.positions = (timesteps + strides - 1) / strides;
    rows = plan.dims.batch * dz.positions;
    products = std::min(strides, timesteps) * groups;
    const int64_t common = std::gcd(strides, dilation_rate);
    dz.tap_step = -dilation_rate / common;
    kernel.tap_step = strides / common * columns;
  }

  __device__ Product<float, T> product(int64_t number) const {
    const int64_t group = number % groups;
    const int64_t padded_step = number / groups + padding_before;  // the first step with this remainder
    const int64_t tap_step = kernel.tap_step / columns;
    const int64_t most = tap_step < kernel.taps ? tap_step : kernel.taps;
    int64_t first_tap = 0;
    for (int64_t left = padded_step % strides; first_tap < most && left != 0; ++first_tap) {
      left -= dilation_rate % strides;
      if (left < 0) left += strides;
    }
    Product<float, T> one{dz, kernel, 0, 0};
    one.a.data += group * dz.elements;
    one.b.data += group * dz.elements;
    one.a.start = (padded_step - first_tap * dilation_rate) / strides;
    one.b.start = first_tap * columns;
    one.a.taps = one.b.taps = first_tap < most ? (kernel.taps - 1 - first_tap) / tap_step + 1 : 0;
    one.end = one.a.taps * dz.elements;
    return one;
  }

  __device__ void store(int64_t number, int64_t row, int64_t column, int64_t count, const float* sums) const {
    const int64_t b = row / dz.positions;
    const int64_t t = number / groups + row % dz.positions * strides;
    if (t >= timesteps) return;
    store_four(dx + (b * timesteps + t) * channels + number % groups * columns + column, count, dx_by_four, sums);
  }
};

// A product for each part of the sum and each group: (K C/G, part of B T') (part of B T', F/G).
template <class T>
struct KernelGradient {
  static constexpr Depth kDepthOfA = Depth::kRows;
  static constexpr Depth kDepthOfB = Depth::kRows;

  int64_t products, rows, columns;
  Patches<T> x;       // for the first group
  Patches<float> dz;  // likewise
  int64_t groups, length;
  float* sums_of_parts;
  int64_t filters;
  bool sums_by_four;

  KernelGradient(const Conv1dPlan& plan, const Conv1dInputs& in, const float* the_dz, const Parts& parts, float* sums)
      : products(plan.options.groups * parts.count),
        rows(plan.dims.width * plan.dims.channels / plan.options.groups),
        columns(plan.dims.filters / plan.options.groups),
        x(patches_of_x<T>(plan, in)),
        dz(Patches<float>::rows_of(the_dz, plan.dims.batch * plan.dims.convolved, columns, plan.dims.filters)),
        groups(plan.options.groups),
        length(parts.length),
        sums_of_parts(sums),
        filters(plan.dims.filters),
        sums_by_four(lies_by_four(sums, columns, filters)) {}

  __device__ Product<T, float> product(int64_t number) const {
    const int64_t group = number % groups;
    const int64_t begin = number / groups * length;
    Product<T, float> one{x, dz, begin, begin + length < dz.positions ? begin + length : dz.positions};
    one.a.data += group * x.elements;
    one.b.data += group * columns;
    return one;
  }

  __device__ void store(int64_t number, int64_t row, int64_t column, int64_t count, const float* sums) const {
    const int64_t part = number / groups;
    store_four(sums_of_parts + (part * rows + row) * filters + number % groups * columns + column, count, sums_by_four,
               sums);
  }
};

// Adds up sums (parts, count) to `to` (count).
template <class T>
__global__ void add_parts(int64_t parts, int64_t count, const float* sums, T* to) {
  for_each(count, [&](int64_t i) {
    float sum = 0.0F;
    for (int64_t part = 0; part < parts; ++part) sum += sums[part * count + i];
    round_to(sum, &to[i]);
  });
}

template <class T>
class Backward {
 public:
  Backward(const Conv1dPlan& plan, const Conv1dInputs& in, const Conv1dOutputs& out, const Array& doutputs,
           void* scratch, Stream stream)
      : plan_(plan), in_(in), out_(out), doutputs_(doutputs), scratch_(plan, Scratch(scratch)), stream_(stream) {}

  Status run(const Conv1dGradients& gradients) const {
    const float* dz = nullptr;
    FASTSEQ_RETURN_IF_ERROR(prepare_dz(&dz));
    if (gradients.dx.present)
      FASTSEQ_RETURN_IF_ERROR(run_products("convolution's input gradient",
                                           InputGradient<T>(plan_, in_, dz, gradients.dx.as<T>()), stream_));
    if (gradients.dkernel.present) FASTSEQ_RETURN_IF_ERROR(find_dkernel(dz, gradients.dkernel.as<T>()));
    return gradients.dbias.present ? find_dbias(dz, gradients.dbias) : Status();
  }

 private:
  Status prepare_dz(const float** dz) const {
    const Conv1dDims& d = plan_.dims;
    *dz = doutputs_.as<float>();
    if (!BackwardScratch::needs_dz(plan_)) return {};
    *dz = scratch_.dz;
    const ThroughActivation<T> gradient{doutputs_.as<T>(), out_.outputs.as<T>(), plan_.options.activation};
    if (plan_.options.pooled)
      return run_give_to_maxima(d.pool, plan_.options.pool, out_.argmax, gradient, scratch_.dz, stream_);
    const int64_t count = d.batch * d.convolved * d.filters;
    if (count == 0) return {};
    return launch("convolution's dz", find_dz<T>, one_thread_for_each(count), stream_, count, gradient, scratch_.dz);
  }

  Status find_dkernel(const float* dz, T* dkernel) const {
    const Conv1dDims& d = plan_.dims;
    const Parts parts = kernel_parts(plan_);
    FASTSEQ_RETURN_IF_ERROR(run_products("convolution's kernel gradient",
                                         KernelGradient<T>(plan_, in_, dz, parts, scratch_.kernel_sums), stream_));
    const int64_t count = d.width * d.channels / plan_.options.groups * d.filters;
    if (count == 0) return {};
    return launch("convolution's kernel gradient", add_parts<T>, one_thread_for_each(count), stream_, parts.count,
                  count, scratch_.kernel_sums, dkernel);
  }

  Status find_dbias(const float* dz, const Array& dbias) const {
    const Conv1dDims& d = plan_.dims;
    FASTSEQ_RETURN_IF_ERROR(
        column_sums(d.batch * d.convolved, d.filters, dz, scratch_.bias_parts, scratch_.bias_sums, stream_));
    return convert_from_float(scratch_.bias_sums, d.dtype, d.filters, dbias.data, stream_);
  }

  const Conv1dPlan& plan_;
  const Conv1dInputs& in_;
  const Conv1dOutputs& out_;
  const Array& doutputs_;
  const BackwardScratch scratch_;
  const Stream stream_;
};

}  // namespace

Status conv1d_plan_backward(const Conv1dInputs& inputs, const Conv1dOptions& options, Precision precision,
                            Conv1dPlan* plan) {
  *plan = {};
  plan->options = options;
  plan->precision = precision;
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_inputs(inputs, options, Floats::kCuda, &plan->dims));
  (void)BackwardScratch(*plan, Scratch(nullptr), &plan->scratch_bytes);
  return {};
}

Status conv1d_backward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs,
                       const Array& doutputs, const Conv1dGradients& gradients, void* scratch, Stream stream) {
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_gradients(outputs, doutputs, gradients, plan.options, plan.dims));
  return with_float_type(plan.dims.dtype, [&](auto zero) {
    return Backward<decltype(zero)>(plan, inputs, outputs, doutputs, scratch, stream).run(gradients);
  });
}

}  // namespace fastseq::cuda

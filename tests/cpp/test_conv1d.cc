// The convolution beside simple loops, in float64; with pooling, beside the two ops one after the other.
#include "fastseq/conv1d.h"

#include <algorithm>

#include "check.h"

namespace fastseq::test {
namespace {

struct Problem {
  int64_t batch, timesteps, channels, filters, width;
  Conv1dOptions options;
};

template <class T>
struct Results {
  Arrays arrays;
  Conv1dDims dims;
  Conv1dOutputs out;
  Conv1dGradients gradients;
};

struct Operands {
  Conv1dInputs in;
  Array doutputs;
};

template <class T>
Operands make_operands(Arrays& arrays, const Problem& problem) {
  const int64_t group_channels = problem.channels / problem.options.groups;
  Random random(9);
  Operands operands;
  operands.in.x = random_numbers<T>(arrays, random, "x", {problem.batch, problem.timesteps, problem.channels});
  operands.in.kernel = random_numbers<T>(arrays, random, "kernel", {problem.width, group_channels, problem.filters});
  operands.in.bias = random_numbers<T>(arrays, random, "bias", {problem.filters});
  Conv1dPlan plan;
  require(conv1d_plan_forward(operands.in, problem.options, &plan));
  operands.doutputs =
      random_numbers<T>(arrays, random, "doutputs", {problem.batch, plan.dims.outputs, problem.filters});
  arrays.make_read_only();
  return operands;
}

template <class T>
Results<T> run(const Problem& problem, const Operands& operands) {
  Results<T> results;
  const Conv1dInputs& in = operands.in;
  Conv1dPlan plan;
  require(conv1d_plan_forward(in, problem.options, &plan));
  const Conv1dDims& d = results.dims = plan.dims;
  const auto make = [&](const char* name, const std::vector<int64_t>& shape) {
    return results.arrays.make(name, kDType<T>, shape);
  };
  results.out.outputs = make("outputs", {d.batch, d.outputs, d.filters});
  if (problem.options.pooled)
    results.out.argmax = results.arrays.make("argmax", max_pool_index_dtype(problem.options.pool.pool_size),
                                             {d.batch, d.outputs, d.filters});
  const GuardedMemory forward_scratch(plan.scratch_bytes);
  require(conv1d_forward(plan, in, results.out, forward_scratch.data()));
  require(conv1d_plan_backward(in, problem.options, &plan));
  results.gradients.dx = make("dx", {d.batch, d.timesteps, d.channels});
  results.gradients.dkernel = make("dkernel", {d.width, d.channels / problem.options.groups, d.filters});
  results.gradients.dbias = make("dbias", {d.filters});
  const GuardedMemory scratch(plan.scratch_bytes);
  const auto backward = [&](const Conv1dGradients& gradients) {
    require(conv1d_backward(plan, in, results.out, operands.doutputs, gradients, scratch.data()));
  };
  backward(results.gradients);
  using Some = Conv1dGradients;
  check_alone(results.arrays, results.gradients, {&Some::dx}, backward);
  check_alone(results.arrays, results.gradients, {&Some::dkernel, &Some::dbias}, backward);
  return results;
}

// With tanh, whose derivative follows from its value.
template <class T>
void check_conv1d(const Problem& problem) {
  Arrays arrays;
  const Operands operands = make_operands<T>(arrays, problem);
  const Results<T> results = run<T>(problem, operands);
  const Conv1dOptions& o = problem.options;
  const Conv1dDims& d = results.dims;
  const int64_t group_channels = problem.channels / o.groups;
  const int64_t group_filters = problem.filters / o.groups;
  const auto at = [](const Array& array, int64_t i) { return static_cast<double>(array.as<T>()[i]); };
  std::vector<double> dx(static_cast<size_t>(d.batch * d.timesteps * d.channels));
  std::vector<double> dkernel(static_cast<size_t>(d.width * group_channels * d.filters));
  std::vector<double> dbias(static_cast<size_t>(d.filters));
  const double tolerance = sizeof(T) == 8 ? 1e-11 : 1e-4;
  for (int64_t b = 0; b < d.batch; ++b)
    for (int64_t t = 0; t < d.outputs; ++t)
      for (int64_t f = 0; f < d.filters; ++f) {
        const int64_t out = (b * d.outputs + t) * d.filters + f;
        const auto for_taps = [&](const auto& body) {
          for (int64_t k = 0; k < d.width; ++k) {
            const int64_t step = t * o.strides + k * o.dilation_rate - d.padding_before;
            if (step < 0 || step >= d.timesteps) continue;
            for (int64_t c = 0; c < group_channels; ++c)
              body((b * d.timesteps + step) * d.channels + f / group_filters * group_channels + c,
                   (k * group_channels + c) * d.filters + f);
          }
        };
        double z = at(operands.in.bias, f);
        for_taps([&](int64_t x, int64_t w) { z += at(operands.in.x, x) * at(operands.in.kernel, w); });
        const double y = std::tanh(z);
        CHECK_NEAR(results.out.outputs.template as<T>(), out, y, tolerance);
        const double dz = at(operands.doutputs, out) * (1.0 - y * y);
        dbias[static_cast<size_t>(f)] += dz;
        for_taps([&](int64_t x, int64_t w) {
          dx[static_cast<size_t>(x)] += dz * at(operands.in.kernel, w);
          dkernel[static_cast<size_t>(w)] += dz * at(operands.in.x, x);
        });
      }
  for (size_t i = 0; i < dx.size(); ++i)
    CHECK_NEAR(results.gradients.dx.template as<T>(), static_cast<int64_t>(i), dx[i], tolerance);
  for (size_t i = 0; i < dkernel.size(); ++i)
    CHECK_NEAR(results.gradients.dkernel.template as<T>(), static_cast<int64_t>(i), dkernel[i], tolerance);
  for (size_t i = 0; i < dbias.size(); ++i)
    CHECK_NEAR(results.gradients.dbias.template as<T>(), static_cast<int64_t>(i), dbias[i], tolerance);
}

Problem problem_of(int64_t batch, int64_t timesteps, int64_t channels, int64_t filters, int64_t width,
                   Padding padding) {
  Problem problem{batch, timesteps, channels, filters, width, {}};
  problem.options.activation = Activation::kTanh;
  problem.options.padding = padding;
  return problem;
}

TEST(convolution_is_its_definition) {
  on_every_isa([] {
    for (const Padding padding : {Padding::kValid, Padding::kSame, Padding::kCausal})
      for (const int64_t strides : {1, 2})
        for (const int64_t dilation : {1, 3})
          for (const int64_t groups : {1, 2}) {
            Problem problem = problem_of(2, 11, 6, 10, 3, padding);
            problem.options.strides = strides;
            problem.options.dilation_rate = dilation;
            problem.options.groups = groups;
            check_conv1d<float>(problem);
            check_conv1d<double>(problem);
          }
    check_conv1d<float>(problem_of(1, 1, 1, 1, 1, Padding::kValid));
    check_conv1d<float>(problem_of(0, 5, 2, 3, 2, Padding::kValid));
    check_conv1d<float>(problem_of(2, 0, 2, 3, 2, Padding::kSame));
    check_conv1d<float>(problem_of(2, 3, 0, 3, 2, Padding::kSame));
    check_conv1d<float>(problem_of(3, 130, 20, 33, 5, Padding::kSame));
    check_conv1d<float>(problem_of(45, 7, 12, 33, 5, Padding::kSame));  // several sequences at once, in two parts
    // Few filters for the channels, whose vectors reach over the end of x; few channels for the taps; few rows for the
    // kernel, whose filters leave a tail or none.
    check_conv1d<float>(problem_of(3, 9, 37, 3, 2, Padding::kSame));
    check_conv1d<double>(problem_of(3, 9, 37, 3, 2, Padding::kSame));
    check_conv1d<float>(problem_of(3, 140, 37, 3, 2, Padding::kValid));
    check_conv1d<float>(problem_of(3, 70, 3, 7, 5, Padding::kSame));
    check_conv1d<float>(problem_of(2, 5, 200, 113, 3, Padding::kCausal));
    check_conv1d<float>(problem_of(2, 12, 130, 272, 2, Padding::kSame));
    for (const int64_t strides : {2, 3, 7}) {
      for (Problem problem :
           {problem_of(2, 40, 4, 9, 5, Padding::kSame), problem_of(3, 11, 130, 272, 2, Padding::kSame),
            problem_of(2, 30, 33, 2, 3, Padding::kSame)}) {
        problem.options.strides = strides;
        check_conv1d<float>(problem);
      }
    }
    // A kernel wider than the sequence, taps far beyond it and strides past its end.
    check_conv1d<float>(problem_of(1, 3, 2, 5, 9, Padding::kCausal));
    Problem far = problem_of(1, 4, 2, 5, 3, Padding::kSame);
    far.options.dilation_rate = INT32_MAX;
    check_conv1d<float>(far);
    far.options.strides = INT32_MAX;
    check_conv1d<float>(far);
  });
}

TEST(pooled_in_one_pass_is_pooled_afterwards) {
  on_every_isa([] {
    for (const PoolOptions& pool :
         {PoolOptions{2, 2, Padding::kValid}, PoolOptions{5, 3, Padding::kSame},
          PoolOptions{3, 2, Padding::kSame, true}, PoolOptions{INT32_MAX, INT64_MAX, Padding::kSame}}) {
      Problem problem = problem_of(2, 23, 5, 9, 3, Padding::kSame);
      const Problem plain = problem;
      problem.options.pooled = true;
      problem.options.pool = pool;
      Arrays arrays;
      const Operands operands = make_operands<float>(arrays, problem);
      const Results<float> pooled = run<float>(problem, operands);

      Arrays between;
      Conv1dPlan plan;
      require(conv1d_plan_forward(operands.in, plain.options, &plan));
      Conv1dOutputs out;
      out.outputs = between.make("outputs", DType::kFloat32, {2, plan.dims.outputs, 9});
      const GuardedMemory scratch(plan.scratch_bytes);
      require(conv1d_forward(plan, operands.in, out, scratch.data()));
      PoolPlan pool_plan;
      require(pool_plan_forward(out.outputs, pool, &pool_plan));
      const Array maxima = between.make("maxima", DType::kFloat32, {2, pool_plan.dims.pooled, 9});
      require(max_pool_forward(pool_plan, out.outputs, maxima, {}));
      for (int64_t i = 0; i < 2 * pool_plan.dims.pooled * 9; ++i)
        CHECK_EQUAL(pooled.out.outputs.as<float>()[i], maxima.as<float>()[i]);
    }
  });
}

TEST(argmax_of_anything_stays_within_its_arrays) {
  Problem problem = problem_of(2, 40, 40, 9, 3, Padding::kValid);
  problem.options.pooled = true;
  problem.options.pool = {4, 4, Padding::kValid};
  on_every_isa([&] {
    Arrays arrays;
    const Operands operands = make_operands<float>(arrays, problem);
    Results<float> results = run<float>(problem, operands);
    Conv1dPlan plan;
    require(conv1d_plan_backward(operands.in, problem.options, &plan));
    std::memset(results.out.argmax.data, 0xFF, results.arrays.all()[1].size);
    const GuardedMemory scratch(plan.scratch_bytes);
    require(conv1d_backward(plan, operands.in, results.out, operands.doutputs, results.gradients, scratch.data()));
    for (int64_t i = 0; i < 9; ++i) CHECK_EQUAL(results.gradients.dbias.as<float>()[i], 0.0F);
  });
}

TEST(nothing_takes_no_time) {
  // A batch of more empty sequences than can be counted.
  Conv1dInputs in;
  Arrays arrays;
  in.x = shaped(DType::kFloat32, {int64_t{1} << 42, 0, 3});
  in.kernel = arrays.make("kernel", DType::kFloat32, {2, 3, 4});
  Conv1dOptions options;
  options.padding = Padding::kSame;
  Conv1dPlan plan;
  require(conv1d_plan_backward(in, options, &plan));
  Conv1dOutputs out;
  out.outputs = shaped(DType::kFloat32, {int64_t{1} << 42, 0, 4});
  Conv1dGradients gradients;
  gradients.dkernel = arrays.make("dkernel", DType::kFloat32, {2, 3, 4});
  const GuardedMemory scratch(plan.scratch_bytes);
  require(conv1d_backward(plan, in, out, out.outputs, gradients, scratch.data()));
  for (int i = 0; i < 24; ++i) CHECK_EQUAL(gradients.dkernel.as<float>()[i], 0.0F);
}

TEST(arrays_that_do_not_fit_are_named) {
  Conv1dInputs in;
  in.x = shaped(DType::kFloat32, {2, 5, 6});
  in.kernel = shaped(DType::kFloat32, {3, 6, 4});
  Conv1dPlan plan;
  Conv1dOptions options;
  options.groups = 4;
  CHECK_INVALID(conv1d_plan_forward(in, options, &plan),
                "groups must divide the channels of x, 6, and the filters of kernel, 4; got 4");
  options.groups = 2;
  CHECK_INVALID(conv1d_plan_forward(in, options, &plan), "kernel must have shape (3, 3, 4), got (3, 6, 4)");
  options.groups = 1;
  options.dilation_rate = 3;
  CHECK_INVALID(
      conv1d_plan_forward(in, options, &plan),
      "x must have at least 7 timesteps for a kernel of width 3 with dilation_rate 3 and padding 'valid', got 5");
  options = {};
  in.bias = shaped(DType::kFloat64, {4});
  CHECK_DTYPE(conv1d_plan_forward(in, options, &plan), "bias must have dtype float32, got float64");
  in.bias = {};
  require(conv1d_plan_forward(in, options, &plan));
  Conv1dOutputs out;
  CHECK_INVALID(conv1d_forward(plan, in, out, nullptr), "outputs is required, got None");
  out.outputs = shaped(DType::kFloat32, {2, 5, 4});
  CHECK_INVALID(conv1d_forward(plan, in, out, nullptr), "outputs must have shape (2, 3, 4), got (2, 5, 4)");
}

}  // namespace
}  // namespace fastseq::test

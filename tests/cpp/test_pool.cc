// Pooling beside simple loops over windows.
#include "fastseq/pool.h"

#include <limits>

#include "check.h"

namespace fastseq::test {
namespace {

int64_t position_in(const Array& argmax, int64_t at) {
  switch (argmax.dtype) {
    case DType::kUInt8:
      return argmax.as<uint8_t>()[at];
    case DType::kUInt16:
      return argmax.as<uint16_t>()[at];
    default:
      return argmax.as<int32_t>()[at];
  }
}

template <class T>
void check_pool(int64_t timesteps, int64_t channels, const PoolOptions& options) {
  constexpr int64_t kBatch = 2;
  Arrays arrays;
  Arrays results;
  Random random(7);
  const Array x = random_numbers<T>(arrays, random, "x", {kBatch, timesteps, channels});
  PoolPlan plan;
  require(pool_plan_forward(x, options, &plan));
  plan.threads = num_threads();
  const int64_t pooled = plan.dims.pooled;
  const int64_t before = plan.dims.before;
  const Array doutputs = random_numbers<T>(arrays, random, "doutputs", {kBatch, pooled, channels});
  arrays.make_read_only();
  const auto result = [&](const char* name, int64_t steps) {
    return results.make(name, kDType<T>, {kBatch, steps, channels});
  };
  const Array maxima = result("maxima", pooled), means = result("means", pooled);
  const Array dmax = result("dmax", timesteps), dmean = result("dmean", timesteps);
  const Array argmax = results.make("argmax", max_pool_index_dtype(options.pool_size), {kBatch, pooled, channels});
  require(max_pool_forward(plan, x, maxima, argmax));
  require(average_pool_forward(plan, x, means));
  require(pool_plan_backward(doutputs, timesteps, options, &plan));
  plan.threads = num_threads();
  require(max_pool_backward(plan, argmax, doutputs, dmax));
  require(average_pool_backward(plan, doutputs, dmean));

  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t c = 0; c < channels; ++c) {
      std::vector<double> expected_dmax(static_cast<size_t>(timesteps));
      std::vector<double> expected_dmean(static_cast<size_t>(timesteps));
      for (int64_t p = 0; p < pooled; ++p) {
        const int64_t at = (b * pooled + p) * channels + c;
        const int64_t begin = p * options.strides - before;
        double sum = 0.0;
        int64_t count = 0;
        int64_t best = -1;
        const auto value = [&](int64_t t) { return x.as<T>()[(b * timesteps + t) * channels + c]; };
        for (int64_t t = std::max<int64_t>(0, begin); t < std::min(timesteps, begin + options.pool_size); ++t) {
          sum += static_cast<double>(value(t));
          ++count;
          if (best < 0 || value(t) > value(best)) best = t;
        }
        CHECK_EQUAL(maxima.as<T>()[at], value(best));
        CHECK_EQUAL(position_in(argmax, at), best - begin);
        CHECK_NEAR(means.as<T>(), at, sum / static_cast<double>(count), 1e-6);
        const auto gradient = static_cast<double>(doutputs.as<T>()[at]);
        expected_dmax[static_cast<size_t>(best)] += gradient;
        for (int64_t t = std::max<int64_t>(0, begin); t < std::min(timesteps, begin + options.pool_size); ++t)
          expected_dmean[static_cast<size_t>(t)] += gradient / static_cast<double>(count);
      }
      for (int64_t t = 0; t < timesteps; ++t) {
        const int64_t at = (b * timesteps + t) * channels + c;
        CHECK_NEAR(dmax.as<T>(), at, expected_dmax[static_cast<size_t>(t)], 1e-5);
        CHECK_NEAR(dmean.as<T>(), at, expected_dmean[static_cast<size_t>(t)], 1e-5);
      }
    }
}

TEST(pooling_is_its_definition) {
  on_every_isa([] {
    for (const Padding padding : {Padding::kValid, Padding::kSame})
      for (const int64_t timesteps : {5, 12})
        for (const int64_t size : {1, 2, 5})
          for (const int64_t strides : {1, 2, 7}) {
            check_pool<float>(timesteps, 19, {size, strides, padding});
            check_pool<double>(timesteps, 3, {size, strides, padding});
          }
    check_pool<float>(0, 3, {2, 2, Padding::kSame});
    check_pool<float>(3, 0, {2, 2, Padding::kSame});
    check_pool<float>(3, 5, {INT32_MAX, INT64_MAX, Padding::kSame});
    check_pool<float>(3, 5, {300, 1, Padding::kSame});
  });
}

// Pools windows of two with NaN and -inf.
void check_pool_of_nan(bool propagate_nan, const float (&expected)[4], const int (&positions)[4]) {
  on_every_isa([&] {
    Arrays arrays;
    const float nan = std::nanf("");
    const Array x = arrays.make("x", DType::kFloat32, {1, 8, 1});
    const float values[] = {nan, -1.0F, nan, nan, -HUGE_VALF, -HUGE_VALF, HUGE_VALF, nan};
    std::memcpy(x.data, values, sizeof(values));
    const Array y = arrays.make("y", DType::kFloat32, {1, 4, 1});
    const Array argmax = arrays.make("argmax", DType::kUInt8, {1, 4, 1});
    PoolPlan plan;
    require(pool_plan_forward(x, {2, 2, Padding::kValid, propagate_nan}, &plan));
    require(max_pool_forward(plan, x, y, argmax));
    for (int i = 0; i < 4; ++i) {
      if (std::isnan(expected[i]))
        CHECK(std::isnan(y.as<float>()[i]));
      else
        CHECK_EQUAL(y.as<float>()[i], expected[i]);
      CHECK_EQUAL(static_cast<int>(argmax.as<uint8_t>()[i]), positions[i]);
    }
  });
}

TEST(nan_is_never_the_maximum) {
  const float lowest = std::numeric_limits<float>::lowest();
  check_pool_of_nan(false, {-1.0F, lowest, lowest, HUGE_VALF}, {1, 0, 0, 0});
}

TEST(nan_is_the_maximum_where_it_propagates) {
  const float nan = std::nanf("");
  check_pool_of_nan(true, {nan, nan, -HUGE_VALF, nan}, {0, 1, 0, 1});
}

TEST(a_position_out_of_its_window_goes_nowhere) {
  on_every_isa([] {
    Arrays arrays;
    const Array doutputs = arrays.make("doutputs", DType::kFloat32, {1, 2, 1});
    const Array argmax = arrays.make("argmax", DType::kUInt8, {1, 2, 1});
    const Array dx = arrays.make("dx", DType::kFloat32, {1, 4, 1});
    doutputs.as<float>()[0] = doutputs.as<float>()[1] = 1.0F;
    argmax.as<uint8_t>()[0] = 2;
    argmax.as<uint8_t>()[1] = 255;
    PoolPlan plan;
    require(pool_plan_backward(doutputs, 4, {2, 2, Padding::kValid}, &plan));
    require(max_pool_backward(plan, argmax, doutputs, dx));
    for (int t = 0; t < 4; ++t) CHECK_EQUAL(dx.as<float>()[t], 0.0F);
  });
}

TEST(arrays_that_do_not_fit_are_named) {
  PoolPlan plan;
  const Array x = shaped(DType::kFloat32, {2, 6, 3});
  CHECK_INVALID(pool_plan_forward(x, {2, 2, Padding::kCausal}, &plan),
                "padding must be 'valid' or 'same', got 'causal'");
  CHECK_INVALID(pool_plan_forward(x, {9, 2, Padding::kValid}, &plan),
                "timesteps must be at least 7 for pool_size 9 with strides 2 and padding 'valid', got 6");
  CHECK_INVALID(pool_plan_forward(shaped(DType::kFloat32, {2, 6}), {}, &plan),
                "x must have shape (batch, timesteps, channels), got (2, 6)");
  CHECK_INVALID(pool_plan_backward(x, 6, {}, &plan), "doutputs must have shape (2, 3, 3), got (2, 6, 3)");
  CHECK_INVALID(pool_plan_backward(x, -1, {}, &plan), "timesteps must be at least 0, got -1");
  require(pool_plan_forward(x, {}, &plan));
  const Array y = shaped(DType::kFloat32, {2, 3, 3});
  CHECK_DTYPE(max_pool_forward(plan, x, y, shaped(DType::kInt32, {2, 3, 3})),
              "argmax must have dtype uint8, got int32");
  CHECK_INVALID(average_pool_forward(plan, x, x), "outputs must have shape (2, 3, 3), got (2, 6, 3)");
}

}  // namespace
}  // namespace fastseq::test

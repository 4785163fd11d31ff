// The plans of all ops for sizes of 0 and 1, sizes near the largest int32, and sizes whose products are above 2^31. The
// arrays have shapes only, and no memory.
#include "check.h"
#include "fastseq/adam.h"
#include "fastseq/conv1d.h"
#include "fastseq/dropout.h"
#include "fastseq/embedding.h"
#include "fastseq/pool.h"
#include "fastseq/rnn.h"

namespace fastseq::test {
namespace {

constexpr int64_t kInt32Max = INT32_MAX;
constexpr int64_t kBeyond = int64_t{1} << 31;
constexpr DType kF32 = DType::kFloat32;
constexpr DType kF64 = DType::kFloat64;

// Scratch that cannot be what an overflow left.
void check_bytes(const std::string& where, size_t got, int64_t least, int64_t most) {
  if (got < static_cast<size_t>(least) || got > static_cast<size_t>(most))
    fail(where + "scratch of " + std::to_string(got) + " bytes, expected " + std::to_string(least) + " to " +
         std::to_string(most));
}
#define CHECK_SCRATCH(least, most) check_bytes(place(__FILE__, __LINE__), plan.scratch_bytes, least, most)

RnnInputs rnn_inputs(Cell cell, DType dtype, int64_t batch, int64_t timesteps, int64_t inputs, int64_t units) {
  const int64_t gates = cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1;
  RnnInputs in;
  in.x = shaped(dtype, {batch, timesteps, inputs});
  in.kernel = shaped(dtype, {inputs, gates * units});
  in.recurrent_kernel = shaped(dtype, {units, gates * units});
  return in;
}

TEST(rnn_plans) {
  for (const Cell cell : {Cell::kLstm, Cell::kGru, Cell::kSimpleRnn})
    for (const DType dtype : {kF32, kF64})
      for (const int64_t batch : {0, 1, 3})
        for (const int64_t timesteps : {0, 1, 5})
          for (const int64_t inputs : {0, 1, 4})
            for (const int64_t units : {1, 17}) {
              RnnInputs in = rnn_inputs(cell, dtype, batch, timesteps, inputs, units);
              in.mask = shaped(DType::kBool, {batch, timesteps});
              RnnOptions options;
              options.cell = cell;
              RnnPlan plan;
              require(rnn_plan_forward(in, options, &plan));
              CHECK_EQUAL(plan.dims.units, units);
              CHECK(plan.masked);
              CHECK_SCRATCH(units, 1 << 20);
              require(rnn_plan_backward(in, options, &plan));
              CHECK_SCRATCH(units, 1 << 20);
            }
}

TEST(rnn_plans_of_large_sizes) {
  for (const int threads : {1, 64}) {
    require(set_num_threads(threads));
    for (const int64_t batch : {kInt32Max, kBeyond}) {
      RnnPlan plan;
      require(rnn_plan_forward(rnn_inputs(Cell::kLstm, kF32, batch, 3, 5, 8), {}, &plan));
      // Two buffers of h, in float32.
      CHECK_SCRATCH(batch * 8 * 2 * 4, batch * 2000);
      require(rnn_plan_backward(rnn_inputs(Cell::kLstm, kF32, batch, 3, 5, 8), {}, &plan));
      // dh of a shard, which is a 64th of the batch.
      CHECK_SCRATCH(batch / 64 * 8 * 4, batch * 2000);
      // A long sequence costs no scratch but for a mask's list.
      RnnInputs in = rnn_inputs(Cell::kGru, kF64, 2, batch, 5, 8);
      RnnOptions gru;
      gru.cell = Cell::kGru;
      require(rnn_plan_forward(in, gru, &plan));
      CHECK_SCRATCH(1, int64_t{1} << 24);
      in.mask = shaped(DType::kBool, {2, batch});
      require(rnn_plan_forward(in, gru, &plan));
      CHECK_SCRATCH(16 * batch, 16 * batch + (int64_t{1} << 24));
    }
    // 2^32 weights.
    RnnPlan plan;
    require(rnn_plan_forward(rnn_inputs(Cell::kLstm, kF32, 4, 4, 3, 1 << 15), {}, &plan));
    CHECK_SCRATCH(int64_t{1} << 34, int64_t{1} << 36);
    require(rnn_plan_backward(rnn_inputs(Cell::kLstm, kF32, 4, 4, 3, 1 << 15), {}, &plan));
    CHECK_SCRATCH(int64_t{1} << 34, int64_t{1} << 36);
  }
  require(set_num_threads(0));
}

TEST(rnn_sizes_that_no_memory_holds) {
  RnnPlan plan;
  // No element, but a number for every step.
  const std::string most =
      " must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, got shape ";
  const RnnInputs in = rnn_inputs(Cell::kLstm, kF32, int64_t{1} << 40, int64_t{1} << 7, 0, 8);
  CHECK_INVALID(rnn_plan_forward(in, {}, &plan), "workspace" + most + "(1099511627776, 128, 48)");
  CHECK_INVALID(rnn_plan_backward(in, {}, &plan), "workspace" + most + "(1099511627776, 128, 48)");
  CHECK_INVALID(rnn_plan_forward(rnn_inputs(Cell::kSimpleRnn, kF32, int64_t{1} << 62, 4, 0, 8), {}, &plan),
                "x" + most + "(4611686018427387904, 4, 0)");
}

Conv1dInputs conv1d_inputs(DType dtype, const std::vector<int64_t>& x, const std::vector<int64_t>& kernel) {
  Conv1dInputs in;
  in.x = shaped(dtype, x);
  in.kernel = shaped(dtype, kernel);
  return in;
}

// How many steps a kernel may begin at, counted one by one.
int64_t convolved(int64_t timesteps, int64_t width, const Conv1dOptions& options) {
  const int64_t reach = options.dilation_rate * (width - 1);
  int64_t count = 0;
  for (int64_t t = 0; t < timesteps; t += options.strides)
    if (options.padding != Padding::kValid || t + reach < timesteps) ++count;
  return count;
}

TEST(conv1d_plans) {
  for (const Padding padding : {Padding::kValid, Padding::kSame, Padding::kCausal})
    for (int64_t timesteps = 0; timesteps < 12; ++timesteps)
      for (int64_t width = 1; width < 5; ++width)
        for (const int64_t strides : {int64_t{1}, int64_t{3}, kInt32Max})
          for (const int64_t dilation : {int64_t{1}, int64_t{2}, kInt32Max}) {
            Conv1dOptions options;
            options.padding = padding;
            options.strides = strides;
            options.dilation_rate = dilation;
            const Conv1dInputs in = conv1d_inputs(kF32, {2, timesteps, 3}, {width, 3, 4});
            Conv1dPlan plan;
            const Status status = conv1d_plan_forward(in, options, &plan);
            if (padding == Padding::kValid && timesteps <= dilation * (width - 1)) {
              CHECK(status.code() == StatusCode::kInvalidArgument);
              continue;
            }
            require(status);
            CHECK_EQUAL(plan.dims.outputs, convolved(timesteps, width, options));
            CHECK_SCRATCH(1, 1 << 20);
            require(conv1d_plan_backward(in, options, &plan));
            CHECK_SCRATCH(1, 1 << 20);
          }
}

TEST(conv1d_plans_of_large_sizes) {
  require(set_num_threads(1));
  Conv1dPlan plan;
  for (const int64_t size : {kInt32Max, kBeyond}) {
    // Gathered patches are a block of them, whatever the sequence is.
    require(conv1d_plan_forward(conv1d_inputs(kF32, {size, 7, 3}, {5, 3, 4}), {}, &plan));
    CHECK_SCRATCH(1, int64_t{1} << 24);
    require(conv1d_plan_forward(conv1d_inputs(kF32, {2, size, 3}, {5, 3, 4}), {}, &plan));
    CHECK_EQUAL(plan.dims.outputs, size - 4);
    CHECK_SCRATCH(1, int64_t{1} << 24);
    Conv1dOptions pooled;
    pooled.padding = Padding::kSame;
    pooled.pooled = true;
    pooled.pool = {kInt32Max, INT64_MAX, Padding::kSame};
    require(conv1d_plan_forward(conv1d_inputs(kF32, {1, size, 3}, {5, 3, 4}), pooled, &plan));
    CHECK_EQUAL(plan.dims.outputs, 1);
    CHECK_SCRATCH(kInt32Max * 16, kInt32Max * 17);
    require(conv1d_plan_backward(conv1d_inputs(kF32, {1, size, 3}, {5, 3, 4}), pooled, &plan));
    CHECK_SCRATCH(1, int64_t{1} << 40);
  }
  CHECK_INVALID(conv1d_plan_forward(conv1d_inputs(kF32, {1, 5, 1}, {kBeyond, 1, 1}), {}, &plan),
                "kernel must have shape (at least 1, channels / groups, at least 1), got (2147483648, 1, 1)");
  Conv1dOptions strided;
  strided.strides = kBeyond;
  CHECK_INVALID(conv1d_plan_forward(conv1d_inputs(kF32, {1, 5, 1}, {1, 1, 1}), strided, &plan),
                "strides must be at most 2147483647, got 2147483648");
  // x has no element; its outputs would have too many.
  CHECK_INVALID(conv1d_plan_forward(conv1d_inputs(kF32, {int64_t{1} << 40, 128, 0}, {1, 0, 8}), {}, &plan),
                "outputs must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, "
                "got shape (1099511627776, 128, 8)");
}

TEST(pool_plans) {
  PoolPlan plan;
  for (int64_t timesteps = 0; timesteps < 12; ++timesteps)
    for (const int64_t size : {int64_t{1}, int64_t{2}, int64_t{5}, kInt32Max})
      for (const int64_t strides : {int64_t{1}, int64_t{3}, kInt32Max, INT64_MAX})
        for (const Padding padding : {Padding::kValid, Padding::kSame}) {
          const PoolOptions options{size, strides, padding};
          int64_t windows = 0;
          for (int64_t begin = 0; begin < timesteps; begin += strides) {
            if (padding == Padding::kSame || begin + size <= timesteps) ++windows;
            if (strides > timesteps) break;
          }
          int64_t pooled = -1;
          const Status status = pooled_timesteps(options, timesteps, &pooled);
          if (!status.ok()) {
            CHECK(padding == Padding::kValid && size - timesteps > strides);
            continue;
          }
          CHECK_EQUAL(pooled, windows);
          require(pool_plan_forward(shaped(kF32, {2, timesteps, 3}), options, &plan));
          require(pool_plan_backward(shaped(kF32, {2, pooled, 3}), timesteps, options, &plan));
        }
}

TEST(pool_plans_of_large_sizes) {
  PoolPlan plan;
  require(pool_plan_forward(shaped(kF64, {kInt32Max, 9, 5}), {4, 3, Padding::kSame}, &plan));
  require(pool_plan_forward(shaped(kF32, {3, kBeyond, 5}), {kInt32Max, 1, Padding::kValid}, &plan));
  CHECK_EQUAL(plan.dims.pooled, 2);
  require(pool_plan_backward(shaped(kF32, {3, 2, 5}), kBeyond, {kInt32Max, 1, Padding::kValid}, &plan));
  CHECK_INVALID(pool_plan_forward(shaped(kF32, {1, 1, 1}), {kBeyond, 1, Padding::kSame}, &plan),
                "pool_size must be at most 2147483647, got 2147483648");
  CHECK_INVALID(pool_plan_backward(shaped(kF32, {int64_t{1} << 40, 1, 1}), int64_t{1} << 40,
                                   {2, INT64_MAX, Padding::kSame}, &plan),
                "dx must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, got shape "
                "(1099511627776, 1099511627776, 1)");
  CHECK_EQUAL(static_cast<int>(max_pool_index_dtype(256)), static_cast<int>(DType::kUInt8));
  CHECK_EQUAL(static_cast<int>(max_pool_index_dtype(257)), static_cast<int>(DType::kUInt16));
  CHECK_EQUAL(static_cast<int>(max_pool_index_dtype(65536)), static_cast<int>(DType::kUInt16));
  CHECK_EQUAL(static_cast<int>(max_pool_index_dtype(65537)), static_cast<int>(DType::kInt32));
}

TEST(embedding_plans) {
  Arrays arrays;
  const Array ids = arrays.make("ids", DType::kInt64, {2, 1});
  ids.as<int64_t>()[0] = kBeyond;
  ids.as<int64_t>()[1] = 0;
  EmbeddingPlan plan;
  require(embedding_plan_forward(ids, shaped(kF32, {kBeyond + 1, 3}), &plan));
  CHECK_EQUAL(plan.positions, 2);
  CHECK_INVALID(embedding_plan_forward(ids, shaped(kF32, {kBeyond, 3}), &plan),
                "ids must be in [0, 2147483648), got 2147483648 at (0, 0)");
  require(set_num_threads(2));
  require(embedding_plan_backward(ids, shaped(kF32, {2, 1, 3}), kBeyond + 1, &plan));
  CHECK_SCRATCH((kBeyond + 2) * 8, (kBeyond + 2) * 9);
  require(set_num_threads(0));
  CHECK_INVALID(embedding_plan_backward(shaped(DType::kInt32, {0}), shaped(kF32, {0, 3}), INT64_MAX, &plan),
                "dembeddings must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, "
                "got shape (9223372036854775807, 3)");
  CHECK_INVALID(embedding_plan_backward(shaped(DType::kInt32, {0}), shaped(kF32, {0, 3}), -1, &plan),
                "input_dim must be 0 or more, got -1");
  require(embedding_plan_forward(shaped(DType::kInt32, {0, 4}), shaped(kF64, {0, 0}), &plan));
  CHECK_EQUAL(plan.positions, 0);
}

TEST(adam_plans) {
  const auto plan_of = [](const std::vector<int64_t>& shape, AdamPlan* plan) {
    const Array variable = shaped(kF32, shape);
    return adam_plan({variable, variable, variable, {}}, {variable, {}}, {}, plan);
  };
  AdamPlan plan;
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{}, {0}, {1}, {3, 0, 5}, {kInt32Max}, {kBeyond, 3}, {2, 2, 2, 2, 2, 2, 2, 2}})
    require(plan_of(shape, &plan));
  CHECK_EQUAL(plan_of({2, 2, 2, 2, 2, 2, 2, 2, 2}, &plan).ok(), false);
  Arrays arrays;
  const Array indices = arrays.make("indices", DType::kInt64, {1});
  *indices.as<int64_t>() = kBeyond;
  const auto slices_of = [&](const std::vector<int64_t>& shape, const std::vector<int64_t>& values) {
    const Array variable = shaped(kF32, shape);
    return adam_plan({variable, variable, variable, {}}, {shaped(kF32, values), indices}, {}, &plan);
  };
  require(slices_of({kBeyond + 1, 3}, {1, 3}));
  CHECK_SCRATCH((kBeyond + 1) * 16, (kBeyond + 1) * 17);
  CHECK_INVALID(slices_of({kBeyond, 3}, {1, 3}), "indices must be in [0, 2147483648), got 2147483648 at (0,)");
  CHECK_INVALID(slices_of({}, {}), "variable must have shape (rows, ...) where the gradient has indices, got ()");
  // Nothing to update takes no scratch.
  require(slices_of({int64_t{1} << 40, 0}, {1, 0}));
  CHECK_SCRATCH(0, 1024);
}

TEST(dropout_plans) {
  DropoutPlan plan;
  DropoutOptions options;
  options.rate = 0.5;
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{}, {0}, {1}, {3, 0, 5}, {kInt32Max}, {kBeyond, 3}, {2, 2, 2, 2, 2, 2, 2, 2}}) {
    require(dropout_plan(shaped(kF32, shape), options, &plan));
    int64_t elements = 1;
    for (const int64_t size : shape) elements *= size;
    CHECK_EQUAL(plan.count, elements);
    CHECK_EQUAL(dropout_mask_bytes(plan), (elements + 7) / 8);
  }
  options.noise_shape = {-1, 1, 1};
  require(dropout_plan(shaped(kF64, {3, kBeyond, 2}), options, &plan));
  CHECK(plan.count == 3 && plan.repeat == 2 * kBeyond);
  CHECK_INVALID(dropout_plan(shaped(kF64, {3, 2}), options, &plan),
                "noise_shape must be broadcastable to x's shape (3, 2), got (-1, 1, 1)");
  options.noise_shape = std::vector<int64_t>(20, 1);
  CHECK(!dropout_plan(shaped(kF64, {3, 2}), options, &plan).ok());
  options.noise_shape.clear();
  for (const double rate : {-1e-9, 1.0 + 1e-9, std::nan(""), HUGE_VAL}) {
    options.rate = rate;
    CHECK_INVALID(dropout_plan(shaped(kF32, {1}), options, &plan),
                  "rate must be in [0, 1], got " + std::to_string(rate));
  }
  options.rate = 0.5;
  options.cast_from = HalfType::kFloat16;
  CHECK_DTYPE(dropout_plan(shaped(kF64, {1}), options, &plan), "x must have dtype float32, got float64");
}

}  // namespace
}  // namespace fastseq::test

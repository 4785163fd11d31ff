// The elementary operations in arrays that end at a page without access, and in place. tests/test_elementary.py
// compares them with their definition.
#include <cmath>
#include <limits>

#include "check.h"
#include "fastseq/batch_product.h"
#include "fastseq/elementwise.h"
#include "fastseq/layout.h"
#include "fastseq/rowwise.h"

namespace fastseq::test {
namespace {

// Plans and runs an operation with as many threads as there are.
template <class Operation>
Array run(Arrays& results, Operation operation) {
  require(operation.make_plan());
  const Array& like = operation.plan.result;
  operation.outputs = results.make("outputs", like.dtype, std::vector<int64_t>(like.shape, like.shape + like.rank));
  if (operation.plan.scratch_bytes == 0) operation.plan.threads = num_threads();
  const GuardedMemory scratch(operation.plan.scratch_bytes);
  require(operation.run(scratch.data()));
  for (const Arrays::Named& result : results.all()) CHECK(result.memory->clean_before());
  return operation.outputs;
}

// The same with x as its own result, which gives the same bits.
template <class Operation>
void check_in_place(Operation operation) {
  Arrays arrays;
  const Array expected = run(arrays, operation);
  const Array x = make_like(arrays, "x", operation.x);
  std::copy_n(operation.x.template as<const char>(), array_bytes(x.dtype, x.shape, x.rank), x.as<char>());
  operation.x = x;
  require(operation.make_plan());
  operation.plan.threads = num_threads();
  operation.outputs = x;
  require(operation.run(nullptr));
  CHECK(same_bytes(x, expected));
}

Array random_bools(Arrays& arrays, Random& random, const char* name, const std::vector<int64_t>& shape) {
  const Array array = arrays.make(name, DType::kBool, shape);
  const size_t count = arrays.all().back().size;
  for (size_t i = 0; i < count; ++i) array.as<bool>()[i] = random.coin();
  return array;
}

constexpr int64_t kSizes[] = {0, 1, 2, 15, 16, 17, 33};

template <class T>
void check_arrays(int64_t batch, int64_t timesteps, int64_t channels) {
  Arrays arrays;
  Random random(5);
  const Array x = random_numbers<T>(arrays, random, "x", {batch, timesteps, channels}, 4);
  const Array row = random_numbers<T>(arrays, random, "row", {channels});
  const Array column = random_numbers<T>(arrays, random, "column", {timesteps, 1});
  const Array other = random_numbers<T>(arrays, random, "other", {batch, channels, timesteps});
  const Array steps = random_bools(arrays, random, "steps", {batch, timesteps});
  const Array mask = random_bools(arrays, random, "mask", {batch, timesteps, channels});
  arrays.make_read_only();
  Arrays results;

  for (int function = 0; function <= static_cast<int>(Pointwise::kRectifier); ++function) {
    Activate activate;
    activate.x = x;
    activate.function = static_cast<Pointwise>(function);
    activate.alpha = 0.25;
    run(results, activate);
    check_in_place(activate);
  }
  for (const Array& b : {row, column, x}) {
    Combine combine;
    combine.a = x;
    combine.b = b;
    run(results, combine);
  }
  CombineMasks masks;
  masks.a = masks.b = mask;
  CHECK(same_bytes(run(results, masks), mask));
  for (const bool any_last : {false, true}) {
    Unequal unequal;
    unequal.x = x;
    unequal.any_last = any_last;
    run(results, unequal);
  }
  Keep keep;
  keep.x = x;
  keep.mask = steps;
  run(results, keep);
  check_in_place(keep);
  for (const bool log : {false, true}) {
    Softmax softmax;
    softmax.x = x;
    softmax.log = log;
    run(results, softmax);
    check_in_place(softmax);
    softmax.mask = mask;
    run(results, softmax);
    check_in_place(softmax);
  }
  LayerNormalization normalization;
  normalization.x = x;
  normalization.gamma = normalization.beta = row;
  run(results, normalization);
  check_in_place(normalization);
  for (const int64_t axis : {1, 2})
    for (const Reduction how : {Reduction::kMax, Reduction::kMean, Reduction::kSum}) {
      Reduce reduce;
      reduce.x = x;
      reduce.axis = axis;
      reduce.how = how;
      run(results, reduce);
      if (how != Reduction::kMean) continue;
      reduce.mask = axis == 1 ? steps : mask;
      run(results, reduce);
    }
  LastStep last;
  last.x = x;
  run(results, last);
  last.mask = steps;
  run(results, last);

  for (const Array& any : {x, mask}) {
    Transpose transpose;
    transpose.x = any;
    for (const std::vector<int64_t>& there : {std::vector<int64_t>{0, 2, 1}, {2, 1, 0}, {1, 0, 2}}) {
      transpose.permutation = there;  // each is its own inverse
      Transpose back = transpose;
      back.x = run(results, transpose);
      CHECK(same_bytes(run(results, back), any));
    }
    for (const int64_t axis : {0, 1, 2}) {
      Repeat repeat;
      repeat.x = any;
      repeat.axis = axis;
      repeat.count = 3;
      run(results, repeat);
      Slice flip;
      flip.x = any;
      flip.axis = axis;
      flip.flip = true;
      Slice back = flip;
      back.x = run(results, flip);
      CHECK(same_bytes(run(results, back), any));
      Pad pad;
      pad.x = any;
      pad.axis = axis;
      pad.before = 2;
      pad.after = 3;
      Slice inside;
      inside.x = run(results, pad);
      inside.axis = axis;
      inside.begin = 2;
      inside.end = -3;
      CHECK(same_bytes(run(results, inside), any));
      Concatenate both;
      both.a = both.b = any;
      both.axis = axis;
      Slice second;
      second.x = run(results, both);
      second.axis = axis;
      second.begin = any.shape[axis];
      CHECK(same_bytes(run(results, second), any));
    }
    Reshape reshape;
    reshape.x = any;
    reshape.shape = {-1};
    CHECK_EQUAL(run(results, reshape).shape[1], timesteps * channels);
  }
  BatchProduct product;
  product.a = x;
  product.b = other;
  run(results, product);
  product.b = x;
  product.transpose_b = true;
  run(results, product);
}

TEST(operations_stay_in_their_arrays) {
  on_every_isa([] {
    for (const int64_t timesteps : kSizes)
      for (const int64_t channels : kSizes) {
        check_arrays<float>(2, timesteps, channels);
        check_arrays<double>(timesteps % 3, timesteps, channels);
      }
  });
}

TEST(plans_of_large_arrays) {
  constexpr int64_t kLarge = int64_t{1} << 31;
  Transpose transpose;
  transpose.x = shaped(DType::kFloat32, {3, kLarge, 5});
  transpose.permutation = {0, 2, 1};
  require(transpose.make_plan());
  CHECK_EQUAL(transpose.plan.result.shape[2], kLarge);
  Repeat repeat;
  repeat.x = transpose.x;
  repeat.count = INT32_MAX;
  CHECK_INVALID(repeat.make_plan(),
                "outputs must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, got shape "
                "(6442450941, 2147483648, 5)");
  Combine combine;
  combine.a = shaped(DType::kFloat32, {kLarge, 1});
  combine.b = shaped(DType::kFloat32, {kLarge});
  CHECK(!combine.make_plan().ok());
  BatchProduct product;
  product.a = product.b = shaped(DType::kFloat64, {kLarge, 100, 7});
  product.transpose_b = true;
  require(product.make_plan());
  CHECK_EQUAL(product.plan.result.shape[2], 100);
  Slice slice;
  slice.x = transpose.x;
  slice.axis = 1;
  slice.begin = std::numeric_limits<int64_t>::min();
  slice.end = -1;
  require(slice.make_plan());
  CHECK_EQUAL(slice.plan.result.shape[1], kLarge - 1);
}

TEST(a_result_of_another_shape_is_an_error) {
  Activate activate;
  activate.x = shaped(DType::kFloat32, {2, 3});
  require(activate.make_plan());
  activate.outputs = shaped(DType::kFloat32, {3, 2});
  CHECK_INVALID(activate.run(nullptr), "outputs must have shape (2, 3), got (3, 2)");
  activate.outputs = shaped(DType::kFloat64, {2, 3});
  CHECK_DTYPE(activate.run(nullptr), "outputs must have dtype float32, got float64");
}

}  // namespace
}  // namespace fastseq::test

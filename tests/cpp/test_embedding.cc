// Embedding beside simple loops.
#include "fastseq/embedding.h"

#include "check.h"

namespace fastseq::test {
namespace {

template <class T, class Id>
void check_embedding(int64_t input_dim, int64_t output_dim, bool squared) {
  Arrays arrays;
  Random random(5);
  constexpr int64_t kBatch = 3, kSteps = 7;
  const DType ids_dtype = sizeof(Id) == 4 ? DType::kInt32 : DType::kInt64;
  const Array ids = arrays.make("ids", ids_dtype, {kBatch, kSteps});
  // Half of them padding.
  for (int64_t p = 0; p < kBatch * kSteps; ++p)
    ids.as<Id>()[p] = static_cast<Id>(random.coin() ? 0 : random.below(input_dim));
  const Array table = random_numbers<T>(arrays, random, "embeddings", {input_dim, output_dim});
  const Array doutputs = random_numbers<T>(arrays, random, "doutputs", {kBatch, kSteps, output_dim});
  arrays.make_read_only();
  Arrays results;
  const Array outputs = results.make("outputs", kDType<T>, {kBatch, kSteps, output_dim});
  const Array dtable = results.make("dembeddings", kDType<T>, {input_dim, output_dim});

  EmbeddingPlan plan;
  require(embedding_plan_forward(ids, table, &plan));
  plan.threads = num_threads();
  require(embedding_forward(plan, ids, table, outputs));
  require(embedding_plan_backward(ids, doutputs, input_dim, &plan));
  plan.threads = num_threads();
  const GuardedMemory scratch((static_cast<size_t>(input_dim + 1) * sizeof(int64_t) + 63) / 64 * 64);
  require(embedding_backward(plan, ids, doutputs, squared, dtable, scratch.data()));

  std::vector<T> sums(static_cast<size_t>(input_dim * output_dim), T{0});
  for (int64_t p = 0; p < kBatch * kSteps; ++p)
    for (int64_t d = 0; d < output_dim; ++d) {
      const auto row = static_cast<int64_t>(ids.as<Id>()[p]);
      CHECK_EQUAL(outputs.as<T>()[p * output_dim + d], table.as<T>()[row * output_dim + d]);
      const T gradient = doutputs.as<T>()[p * output_dim + d];
      sums[static_cast<size_t>(row * output_dim + d)] += squared ? gradient * gradient : gradient;
    }
  for (size_t i = 0; i < sums.size(); ++i) CHECK_EQUAL(dtable.as<T>()[i], sums[i]);
}

TEST(embedding_is_its_definition) {
  for (const int threads : {1, 2, 5}) {
    require(set_num_threads(threads));
    for (const int64_t input_dim : {1, 2, 40})
      for (const int64_t output_dim : {0, 1, 17, 64})
        for (const bool squared : {false, true}) {
          check_embedding<float, int32_t>(input_dim, output_dim, squared);
          check_embedding<double, int64_t>(input_dim, output_dim, squared);
        }
  }
}

TEST(no_ids_leave_a_gradient_of_zeros) {
  Arrays arrays;
  const Array ids = arrays.make("ids", DType::kInt32, {0, 4});
  const Array doutputs = arrays.make("doutputs", DType::kFloat32, {0, 4, 3});
  const Array dtable = arrays.make("dembeddings", DType::kFloat32, {5, 3});
  EmbeddingPlan plan;
  require(embedding_plan_backward(ids, doutputs, 5, &plan));
  const GuardedMemory scratch(plan.scratch_bytes);
  require(embedding_backward(plan, ids, doutputs, false, dtable, scratch.data()));
  for (int i = 0; i < 15; ++i) CHECK_EQUAL(dtable.as<float>()[i], 0.0F);
}

TEST(arrays_that_do_not_fit_are_named) {
  Arrays arrays;
  const Array ids = arrays.make("ids", DType::kInt32, {2});
  ids.as<int32_t>()[0] = ids.as<int32_t>()[1] = 1;
  EmbeddingPlan plan;
  CHECK_INVALID(embedding_plan_forward(ids, shaped(DType::kFloat32, {1, 3}), &plan),
                "ids must be in [0, 1), got 1 at (0,)");
  CHECK_INVALID(embedding_plan_forward(ids, shaped(DType::kFloat32, {3}), &plan),
                "embeddings must have shape (input_dim, output_dim), got (3,)");
  CHECK_INVALID(embedding_plan_backward(ids, shaped(DType::kFloat32, {3, 4}), 5, &plan),
                "doutputs must have shape (2, 4), got (3, 4)");
  CHECK_DTYPE(embedding_plan_forward(shaped(DType::kFloat32, {2}), shaped(DType::kFloat32, {3, 4}), &plan),
              "ids must have dtype int32 or int64, got float32");
  const Array deep = shaped(DType::kInt32, {1, 1, 1, 1, 1, 1, 1, 1});
  CHECK_INVALID(embedding_plan_forward(deep, shaped(DType::kFloat32, {3, 4}), &plan),
                "ids must have at most 7 dimensions, got shape (1, 1, 1, 1, 1, 1, 1, 1)");
}

}  // namespace
}  // namespace fastseq::test

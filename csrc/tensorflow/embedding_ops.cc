// The TensorFlow ops FastseqEmbeddingForward and FastseqEmbeddingBackward: shapes, allocation, call.
#include "fastseq/embedding.h"

#include <algorithm>

#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

// ids (...), embeddings (V, D) -> outputs (..., D)
struct EmbeddingForward {
  explicit EmbeddingForward(Attributes&) {}

  static void infer_shapes(Shapes& shapes) {
    shapes.set_output(0, {shapes.input(0), shapes.dim(shapes.input(1, 2), 1)});
  }

  void compute(Context& context) const {
    const Array ids = context.next_input();
    const Array embeddings = context.next_input();
    EmbeddingPlan plan;
    if (context.ok()) context.check(embedding_plan_forward(ids, embeddings, &plan));
    if (!context.ok()) return;
    int64_t shape[Array::kMaxRank];
    *std::copy(ids.shape, ids.shape + ids.rank, shape) = plan.output_dim;
    const Array outputs = context.next_output(plan.dtype, shape, ids.rank + 1);
    if (context.ok()) context.check(embedding_forward(plan, ids, embeddings, outputs));
  }
};

// ids (N), doutputs (N, D) -> dembeddings (V, D)
class EmbeddingBackward {
 public:
  explicit EmbeddingBackward(Attributes& attributes)
      : input_dim_(attributes.integer("input_dim")), squared_(attributes.boolean("squared")) {}

  static void infer_shapes(Shapes& shapes) {
    // input_dim is an attribute.
    shapes.set_output(0, {shapes.unknown_dim(), shapes.dim(shapes.input(1, 2), 1)});
  }

  void compute(Context& context) const {
    const Array ids = context.next_input();
    const Array doutputs = context.next_input();
    EmbeddingPlan plan;
    if (context.ok()) context.check(embedding_plan_backward(ids, doutputs, input_dim_, &plan));
    const Array dembeddings = context.next_output(plan.dtype, {plan.input_dim, plan.output_dim});
    void* scratch = context.scratch(plan.scratch_bytes);
    if (context.ok()) context.check(embedding_backward(plan, ids, doutputs, squared_, dembeddings, scratch));
  }

 private:
  int64_t input_dim_;
  bool squared_;
};

const bool kRegistered = register_op<EmbeddingForward>({
                             "FastseqEmbeddingForward",
                             {"ids: Tids", "embeddings: T"},
                             {"outputs: T"},
                             // What the gradient is to be: for the function that is registered for it in Python.
                             {"Tids: {int32, int64}", "dense_gradient: bool"},
                         }) &&
                         register_op<EmbeddingBackward>({
                             "FastseqEmbeddingBackward",
                             {"ids: Tids", "doutputs: T"},
                             {"dembeddings: T"},
                             {"Tids: {int32, int64}", "input_dim: int >= 0", "squared: bool"},
                         });

}  // namespace
}  // namespace fastseq::tensorflow

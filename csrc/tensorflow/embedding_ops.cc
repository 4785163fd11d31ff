// The TensorFlow ops FastseqEmbeddingForward and FastseqEmbeddingBackward: shapes, allocation, call.
#include "fastseq/embedding.h"

#include <algorithm>

#include "op_support.h"
#include "stated_op.h"

namespace fastseq::tensorflow {
namespace {

// The ids for the core, as the next output. In Keras on TensorFlow, negative ids count from the table's end; the core
// takes no negative ids. If there are none, the output is the input.
template <class Id>
Array next_rows(Context& context, const Array& ids, int64_t input_dim) {
  const Id* begin = ids.as<Id>();
  int64_t count = 1;
  for (int i = 0; i < ids.rank; ++i) count *= ids.shape[i];
  Id least = 0;
  for (int64_t i = 0; i < count; ++i) least = std::min(least, begin[i]);
  if (least == 0) {
    context.pass_on(0);
    return ids;
  }
  const Array rows = context.next_output(ids.dtype, ids.shape, ids.rank);
  if (context.ok())
    std::transform(begin, begin + count, rows.as<Id>(), [&](Id id) {
      // An id below -input_dim is not changed, and the plan refuses it.
      return id < 0 && id >= -input_dim ? static_cast<Id>(id + input_dim) : id;
    });
  return rows;
}

// ids (...), embeddings (V, D) -> rows (...), the ids with the negative ones replaced, and outputs (..., D)
struct EmbeddingForwardOp {
  explicit EmbeddingForwardOp(Attributes&) {}

  static void infer_shapes(Shapes& shapes) {
    TF_ShapeHandle* ids = shapes.input(0);
    shapes.set_output_like(0, ids);
    shapes.set_output(1, {ids, shapes.dim(shapes.input(1, 2), 1)});
  }

  void compute(Context& context) const {
    const Array ids = context.next_input();
    const Array embeddings = context.next_input();
    if (!context.ok()) return;
    Array rows = ids;
    // If a shape is wrong, the plan has the error.
    if (embeddings.rank == 2 && ids.rank < Array::kMaxRank)
      rows = ids.dtype == DType::kInt32 ? next_rows<int32_t>(context, ids, embeddings.shape[0])
                                        : next_rows<int64_t>(context, ids, embeddings.shape[0]);
    EmbeddingPlan plan;
    if (context.ok()) context.check(embedding_plan_forward(rows, embeddings, &plan));
    if (!context.ok()) return;
    int64_t shape[Array::kMaxRank];
    *std::copy(ids.shape, ids.shape + ids.rank, shape) = plan.output_dim;
    const Array outputs = context.next_output(plan.dtype, shape, ids.rank + 1);
    if (context.ok()) context.check(embedding_forward(plan, rows, embeddings, outputs));
  }
};

const bool kRegistered =
    register_op<EmbeddingForwardOp>({
        "FastseqEmbeddingForward",
        {"ids: Tids", "embeddings: T"},
        {"rows: Tids", "outputs: T"},
        // The kind of the gradient, which the gradient function that is registered in Python reads.
        {"Tids: {int32, int64}", "dense_gradient: bool"},
    }) &&
    register_stated<EmbeddingBackward>();

}  // namespace
}  // namespace fastseq::tensorflow

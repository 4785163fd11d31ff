// Embedding: a lookup of rows in a table, and the gradient by the table: the contract.
//
// V input_dim, D output_dim; ids of any shape (...) of at most 7 dimensions, int32 or int64, each in [0, V):
//
//   outputs[..., :]   = embeddings[ids[...], :]
//   dembeddings[v, :] = sum of doutputs[..., :], or of their squares, over the positions where ids[...] is v
//
// A sum starts from zero and goes in the order of positions, so that it has the same bits for any number of threads.
//
// Forward is parallel over positions, backward over the rows of dembeddings. Half of all positions may have the same
// id, such as the padding's. So the work on one row may be divided between threads, by columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/array.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct EmbeddingPlan {
  DType dtype = DType::kOther;  // dtype of the float arrays
  DType ids_dtype = DType::kOther;
  int64_t positions = 0;  // how many ids there are
  int64_t input_dim = 0;
  int64_t output_dim = 0;
  int threads = 1;
  size_t scratch_bytes = 0;  // size of the scratch that the caller provides, aligned to kMemoryAlignment
};

// ids (...), embeddings (V, D). Checks shapes, dtypes and every id; the error names the first id out of range.
Status embedding_plan_forward(const Array& ids, const Array& embeddings, EmbeddingPlan* plan);
// outputs (..., D).
Status embedding_forward(const EmbeddingPlan& plan, const Array& ids, const Array& embeddings, const Array& outputs);

// ids (...), doutputs (..., D), input_dim V; the same checks.
Status embedding_plan_backward(const Array& ids, const Array& doutputs, int64_t input_dim, EmbeddingPlan* plan);
// dembeddings (V, D). With `squared`, the sum of the squares of doutputs: the sum that an optimizer computes which
// squares a gradient of slices (tf.IndexedSlices).
Status embedding_backward(const EmbeddingPlan& plan, const Array& ids, const Array& doutputs, bool squared,
                          const Array& dembeddings, void* scratch);

// --- the statement (statement.h) -------------------------------------------------------------------------------------

struct EmbeddingOperation : Planned<NoOptions, EmbeddingPlan> {
  Array ids;

  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("ids", Input::kAnyRank, Holds::kIntegers), ids);
  }
};

struct EmbeddingForward : EmbeddingOperation {
  static constexpr bool kPlanReadsData = true;  // the ids
  Array embeddings;
  Array outputs;

  static const char* name() { return "embedding_forward"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    EmbeddingOperation::for_each_input(visit);
    visit(Input::required("embeddings", 2), embeddings);
  }
  Status make_plan() { return embedding_plan_forward(ids, embeddings, &plan); }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    Array like = ids.of_dtype(embeddings.dtype);
    like.shape[like.rank++] = embeddings.shape[1];
    visit(Output::always("outputs"), outputs, like);
  }
  Status run(void*) const { return embedding_forward(plan, ids, embeddings, outputs); }
};

struct EmbeddingBackward : EmbeddingOperation {
  Array doutputs;
  int64_t input_dim = 0;
  bool squared = false;
  Array dembeddings;

  static const char* name() { return "embedding_backward"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    EmbeddingOperation::for_each_input(visit);
    visit(Input::required("doutputs"), doutputs);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("input_dim", input_dim);
    visit("squared", squared);
  }
  Status make_plan() { return embedding_plan_backward(ids, doutputs, input_dim, &plan); }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("dembeddings"), dembeddings, Array::like(doutputs.dtype, {input_dim, plan.output_dim}));
  }
  Status run(void* scratch) const { return embedding_backward(plan, ids, doutputs, squared, dembeddings, scratch); }
};

}  // namespace fastseq

// Embedding, rows of a table by their numbers, and the gradient by the table: the contract.
//
// V input_dim, D output_dim; ids of any shape (...) of at most 3 dimensions, int32 or int64, each in [0, V):
//
//   outputs[..., :]   = embeddings[ids[...], :]
//   dembeddings[v, :] = sum of doutputs[..., :], or of their squares, where ids[...] is v: zero where it never is
//
// A sum starts from zero and goes in the order of positions, so that it has the same bits for any number of threads.
//
// Forward is parallel over positions, backward over the rows of dembeddings. One id may stand at half of all positions,
// as padding does; so two threads' shares may meet within a row, where they divide its columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq {

struct EmbeddingPlan {
  DType dtype = DType::kOther;  // of the float arrays
  DType ids_dtype = DType::kOther;
  int64_t positions = 0;  // how many ids there are
  int64_t input_dim = 0;
  int64_t output_dim = 0;
  int threads = 1;
  size_t scratch_bytes = 0;  // that the caller must hand over, aligned to kMemoryAlignment
};

// ids (...), embeddings (V, D). Checks shapes, dtypes and every id: the error names the first one out of range.
Status embedding_plan_forward(const Array& ids, const Array& embeddings, EmbeddingPlan* plan);
// outputs (..., D).
Status embedding_forward(const EmbeddingPlan& plan, const Array& ids, const Array& embeddings, const Array& outputs);

// ids (...), doutputs (..., D), input_dim V; checks likewise.
Status embedding_plan_backward(const Array& ids, const Array& doutputs, int64_t input_dim, EmbeddingPlan* plan);
// dembeddings (V, D). With `squared`, the sum of doutputs' squares: what an optimizer that squares a gradient of slices
// (tf.IndexedSlices) gets to see.
Status embedding_backward(const EmbeddingPlan& plan, const Array& ids, const Array& doutputs, bool squared,
                          const Array& dembeddings, void* scratch);

}  // namespace fastseq

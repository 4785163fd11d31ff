// The elementary operations, of which programs consist beside the layers (elementwise.h, rowwise.h, layout.h,
// batch_product.h): what all of them share.
//
// An operation is a struct with its arrays and options, which is also its statement (statement.h). make_plan() checks
// the arrays and options, and sets the shape of the result; an error names the argument, what was expected and what
// came. Arrays have at most Array::kMaxRank dimensions. B is the batch, T the timesteps. "Floats" are float32 or
// float64, "bools" are bool, "integers" are int32 or int64.
//
// run(scratch) needs `outputs`, an array like plan.result, and allocates nothing. The result has the same bits for any
// number of threads.
#pragma once

#include <cstddef>

#include "fastseq/array.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct ElementaryPlan {
  Array result;  // the dtype and shape of `outputs`
  const struct Isa* isa = nullptr;
  int threads = 1;
  size_t scratch_bytes = 0;
};

// The base of all elementary operations.
struct Elementary {
  Array outputs;
  ElementaryPlan plan;

  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("outputs", Holds::kAny), outputs, plan.result);
  }
};

}  // namespace fastseq

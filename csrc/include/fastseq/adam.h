// The contract of an update of Adam (Kingma and Ba 2015) or its variant AMSGrad (Reddi et al. 2018), as Keras has them.
//
//   momentum     += (g - momentum) (1 - beta_1)
//   velocity     += (g² - velocity) (1 - beta_2)
//   velocity_hat  = max(velocity_hat, velocity)                        with AMSGrad, and it stands for velocity below
//   variable     -= momentum alpha / (sqrt(velocity) + epsilon)
//
// alpha is the learning rate times the correction of both biases. Every operation above is rounded to the arrays'
// dtype, as if each were an operation of a framework. 1 - beta_1 and 1 - beta_2 are computed in float64 and rounded
// once.
//
// The gradient is dense or sparse. A sparse one has N slices: `gradient` (N, D) and `indices` (N), for a variable
// (V, D), or (V, ...) with D elements in a row. Then g of a row is the sum of its slices, and g² the sum of their
// squares, each from zero in the order of positions. A row without slices has g = g² = 0. Keras's Adam computes the
// same from tf.IndexedSlices.
//
// The update is one pass over memory. It is parallel over elements; with a sparse gradient over rows and, where many
// slices have the same index, over the columns of a row. The result has the same bits for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct AdamOptions {
  double alpha = 0.0;
  double beta_1 = 0.0;
  double beta_2 = 0.0;
  double epsilon = 0.0;
};

// The caller owns all arrays, which have one dtype and one shape.
struct AdamState {
  Array variable;
  Array momentum;
  Array velocity;
  Array velocity_hat;  // absent: no AMSGrad
};

struct AdamGradient {
  Array values;   // like the variable; where sparse, (N, ...) with the variable's dimensions from the second on
  Array indices;  // (N), int32 or int64, each in [0, V); absent where the gradient is dense
};

// A prepared call.
struct AdamPlan {
  DType dtype = DType::kFloat32;
  const struct Isa* isa = nullptr;
  AdamOptions options;
  int64_t rows = 0;       // V; 1 where the gradient is dense
  int64_t columns = 0;    // D; all elements where it is dense
  int64_t positions = 0;  // N
  int threads = 1;
  size_t scratch_bytes = 0;  // size of the scratch that the caller provides, aligned to kMemoryAlignment
};

// Checks shapes, dtypes and every index; the error names the argument, what was expected and what came.
Status adam_plan(const AdamState& state, const AdamGradient& gradient, const AdamOptions& options, AdamPlan* plan);
// `state` and `gradient` are those of the plan. Each array of `updated` has the dtype and shape of the one in `state`;
// it is the same array, or overlaps none.
Status adam(const AdamPlan& plan, const AdamState& state, const AdamGradient& gradient, const AdamState& updated,
            void* scratch);

// A prepared update: what adam takes, without scratch.
struct AdamUpdate {
  AdamPlan plan;
  AdamState state;
  AdamGradient gradient;
  AdamState updated;
};
// Several updates by dense gradients, in one team of threads. The arrays of one update do not overlap those of another.
Status adam(const std::vector<AdamUpdate>& updates);

// --- the statement (statement.h) -------------------------------------------------------------------------------------

struct Adam : Planned<NoOptions, AdamPlan> {
  AdamState state;
  AdamGradient gradient;
  AdamOptions numbers;
  AdamState updated;

  static const char* name() { return "adam"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("variable"), state.variable);
    visit(Input::required("momentum"), state.momentum);
    visit(Input::required("velocity"), state.velocity);
    visit(Input::optional("velocity_hat"), state.velocity_hat);
    visit(Input::required("gradient"), gradient.values);
    visit(Input::optional("indices", Holds::kIntegers), gradient.indices);
    visit(Input::number("alpha"), numbers.alpha);
    visit(Input::number("beta_1"), numbers.beta_1);
    visit(Input::number("beta_2"), numbers.beta_2);
    visit(Input::number("epsilon"), numbers.epsilon);
  }
  Status make_plan() { return adam_plan(state, gradient, numbers, &plan); }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("variable"), updated.variable, state.variable);
    visit(Output::always("momentum"), updated.momentum, state.momentum);
    visit(Output::always("velocity"), updated.velocity, state.velocity);
    visit(Output::when(state.velocity_hat.present, "velocity_hat"), updated.velocity_hat, state.velocity_hat);
  }
  Status run(void* scratch) const { return adam(plan, state, gradient, updated, scratch); }
};

}  // namespace fastseq

// The TensorFlow op FastseqAdam: shapes, allocation, call.
//
// It takes the values of the variables and returns their new values, since the C API of older TensorFlows has no access
// to variables. Assigning an output to a variable copies nothing, and the variable's old memory is used by the next
// update.
#include "fastseq/adam.h"

#include <initializer_list>

#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

class AdamKernel {
 public:
  explicit AdamKernel(Attributes& attributes) {
    const int64_t states = attributes.integer("states");
    const int64_t index_arrays = attributes.integer("index_arrays");
    if (states > 4) attributes.fail(TF_INVALID_ARGUMENT, "states must be 3, or 4 for AMSGrad");
    if (index_arrays > 1) attributes.fail(TF_INVALID_ARGUMENT, "index_arrays must be 0 or 1");
    amsgrad_ = states == 4;
    slices_ = index_arrays == 1;
  }

  static void infer_shapes(Shapes& shapes) {
    // There are three outputs or, for AMSGrad, four.
    for (int i = 0; i < 3; ++i) shapes.set_output_like(i, shapes.input(i));
  }

  void compute(Context& context) const {
    AdamState state;
    state.variable = context.next_input();
    state.momentum = context.next_input();
    state.velocity = context.next_input();
    if (amsgrad_) state.velocity_hat = context.next_input();
    AdamGradient gradient;
    gradient.values = context.next_input();
    if (slices_) gradient.indices = context.next_input();
    AdamOptions options;
    for (double* option : {&options.alpha, &options.beta_1, &options.beta_2, &options.epsilon}) {
      const Array scalar = context.next_input();
      if (context.ok() && scalar.rank != 0)
        context.fail(TF_INVALID_ARGUMENT, "alpha, beta_1, beta_2 and epsilon must have shape ()");
      if (context.ok()) *option = *scalar.as<const double>();
    }
    AdamPlan plan;
    if (context.ok()) context.check(adam_plan(state, gradient, options, &plan));
    const auto next_like = [&](const Array& array) {
      return context.next_output(array.dtype, array.shape, array.rank);
    };
    if (!context.ok()) return;
    AdamState updated;
    updated.variable = next_like(state.variable);
    updated.momentum = next_like(state.momentum);
    updated.velocity = next_like(state.velocity);
    if (amsgrad_) updated.velocity_hat = next_like(state.velocity_hat);
    void* scratch = context.scratch(plan.scratch_bytes);
    if (context.ok()) context.check(adam(plan, state, gradient, updated, scratch));
  }

 private:
  bool amsgrad_;
  bool slices_;
};

const bool kRegistered = register_op<AdamKernel>({
    "FastseqAdam",
    // variable, momentum, velocity and, for AMSGrad, velocity_hat; no indices if the gradient is dense.
    {"state: states * T", "gradient: T", "indices: index_arrays * Tids", "alpha: double", "beta_1: double",
     "beta_2: double", "epsilon: double"},
    {"updated: states * T"},
    {"states: int >= 3", "Tids: {int32, int64} = DT_INT32", "index_arrays: int >= 0"},
});

}  // namespace
}  // namespace fastseq::tensorflow

// The TensorFlow op FastseqAdam: allocation, call. It updates several variables by dense gradients, or one by slices.
//
// It takes the values of the variables and returns their new values, since the C API of older TensorFlows has no access
// to variables. Assigning an output to a variable copies nothing, and the variable's old memory is used by the next
// update.
#include "fastseq/adam.h"

#include <initializer_list>
#include <vector>

#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

// A list of tensors for each array of AdamState; no velocity_hats without AMSGrad.
class AdamKernel {
 public:
  explicit AdamKernel(Attributes& attributes)
      : variables_(static_cast<size_t>(attributes.integer("variables"))), slices_(attributes.integer("slices") > 0) {
    const auto hats = static_cast<size_t>(attributes.integer("hats"));
    amsgrad_ = hats > 0;
    if (amsgrad_ && hats != variables_)
      attributes.fail(TF_INVALID_ARGUMENT, "there must be one velocity_hat for each variable, or none");
    if (slices_ && (variables_ > 1 || attributes.integer("slices") > 1))
      attributes.fail(TF_INVALID_ARGUMENT, "indices must be absent, or one array for one variable");
  }

  // The number of variables is an attribute, so Python sets the shapes.
  static void infer_shapes(Shapes&) {}

  void compute(Context& context) const {
    std::vector<AdamUpdate> updates(variables_);
    for_each_array([&](Array AdamState::* array) {
      for (AdamUpdate& one : updates) one.state.*array = context.next_input();
    });
    for (AdamUpdate& one : updates) one.gradient.values = context.next_input();
    if (slices_) updates[0].gradient.indices = context.next_input();
    AdamOptions options;
    for (double* option : {&options.alpha, &options.beta_1, &options.beta_2, &options.epsilon}) {
      const Array scalar = context.next_input();
      if (context.ok() && scalar.rank != 0)
        context.fail(TF_INVALID_ARGUMENT, "alpha, beta_1, beta_2 and epsilon must have shape ()");
      if (context.ok()) *option = *scalar.as<const double>();
    }
    for (AdamUpdate& one : updates)
      if (context.ok()) context.check(adam_plan(one.state, one.gradient, options, &one.plan));
    for_each_array([&](Array AdamState::* array) {
      for (AdamUpdate& one : updates) {
        const Array& like = one.state.*array;
        if (context.ok()) one.updated.*array = context.next_output(like.dtype, like.shape, like.rank);
      }
    });
    if (!context.ok()) return;
    if (variables_ > 1) return context.check(adam(updates));
    const AdamUpdate& only = updates[0];
    void* scratch = context.scratch(only.plan.scratch_bytes);
    if (context.ok()) context.check(adam(only.plan, only.state, only.gradient, only.updated, scratch));
  }

 private:
  template <class Body>
  void for_each_array(const Body& body) const {
    for (Array AdamState::* array : {&AdamState::variable, &AdamState::momentum, &AdamState::velocity}) body(array);
    if (amsgrad_) body(&AdamState::velocity_hat);
  }

  size_t variables_;
  bool slices_;
  bool amsgrad_ = false;
};

const bool kRegistered = register_op<AdamKernel>({
    "FastseqAdam",
    {"variable: variables * T", "momentum: variables * T", "velocity: variables * T", "velocity_hat: hats * T",
     "gradient: variables * T", "indices: slices * Tids", "alpha: double", "beta_1: double", "beta_2: double",
     "epsilon: double"},
    {"new_variable: variables * T", "new_momentum: variables * T", "new_velocity: variables * T",
     "new_velocity_hat: hats * T"},
    {"variables: int >= 1", "hats: int >= 0", "Tids: {int32, int64} = DT_INT32", "slices: int >= 0"},
});

}  // namespace
}  // namespace fastseq::tensorflow

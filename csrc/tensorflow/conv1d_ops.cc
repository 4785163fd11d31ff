// The TensorFlow ops FastseqConv1d{Forward,Backward}: shapes, allocation, call.
//
// pool_size 0 is no pooling. Backward's tokens (liveness_ops.cc) are none, or one for dx and one for the weight
// gradients.
#include "fastseq/conv1d.h"

#include "argmax.h"
#include "fastseq/names.h"
#include "liveness.h"
#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

constexpr int kX = 0;
constexpr int kKernel = 1;

Conv1dInputs read_inputs(Context& context) {
  Conv1dInputs inputs;
  inputs.x = context.next_input();
  inputs.kernel = context.next_input();
  inputs.bias = context.next_optional_input();
  return inputs;
}

Conv1dOptions read_options(Attributes& attributes) {
  Conv1dOptions options;
  attributes.check(parse_activation("activation", attributes.string("activation"), &options.activation));
  attributes.check(parse_padding("padding", attributes.string("padding"), &options.padding));
  options.strides = attributes.integer("strides");
  options.dilation_rate = attributes.integer("dilation_rate");
  options.groups = attributes.integer("groups");
  const int64_t pool_size = attributes.integer("pool_size");
  options.pooled = pool_size > 0;
  if (!options.pooled) return options;
  options.pool.pool_size = pool_size;
  options.pool.strides = attributes.integer("pool_strides");
  attributes.check(parse_padding("pool_padding", attributes.string("pool_padding"), &options.pool.padding));
  return options;
}

class Conv1dForward {
 public:
  explicit Conv1dForward(Attributes& attributes)
      : options_(read_options(attributes)), save_argmax_(options_.pooled && attributes.boolean("save_argmax")) {}

  static void infer_shapes(Shapes& shapes) {
    TF_ShapeHandle* batch = shapes.dim(shapes.input(kX, 3), 0);
    TF_ShapeHandle* filters = shapes.dim(shapes.input(kKernel, 3), 2);
    // How many steps there are depends on attributes.
    shapes.set_output(0, {batch, shapes.unknown_dim(), filters});
    shapes.set_output_unknown(1, 3);
  }

  void compute(Context& context) const {
    const Conv1dInputs inputs = read_inputs(context);
    Conv1dPlan plan;
    if (context.ok()) context.check(conv1d_plan_forward(inputs, options_, &plan));
    const Conv1dDims& d = plan.dims;
    Conv1dOutputs outputs;
    outputs.outputs = context.next_output(d.dtype, {d.batch, d.outputs, d.filters});
    outputs.argmax = next_positions(context, save_argmax_, plan.options.pool.pool_size, d.batch, d.outputs, d.filters);
    void* scratch = context.scratch(plan.scratch_bytes);
    if (context.ok()) context.check(conv1d_forward(plan, inputs, outputs, scratch));
  }

 private:
  Conv1dOptions options_;
  bool save_argmax_;
};

// computed (for each token), dx, dkernel, dbias
class Conv1dBackward {
 public:
  explicit Conv1dBackward(Attributes& attributes) : options_(read_options(attributes)), wanted_(attributes) {}

  // They are there or have no elements, by attributes and tokens, and how many tokens there are is one, too.
  static void infer_shapes(Shapes&) {}

  void compute(Context& context) const {
    const Conv1dInputs inputs = read_inputs(context);
    Conv1dOutputs outputs;
    outputs.outputs = context.next_input();
    const Array argmax = context.next_input();
    const Array doutputs = context.next_input();
    Conv1dPlan plan;
    if (context.ok()) context.check(conv1d_plan_backward(inputs, options_, &plan));
    const Conv1dDims& d = plan.dims;
    if (plan.options.pooled) outputs.argmax = positions(argmax, plan.options.pool.pool_size, d.filters);
    Conv1dGradients gradients;
    const bool with_dx = wanted_.dx(context);
    const bool with_weights = wanted_.weights(context);
    gradients.dx = context.next_optional_output(with_dx, d.dtype, {d.batch, d.timesteps, d.channels});
    gradients.dkernel =
        context.next_optional_output(with_weights, d.dtype, {d.width, d.channels / plan.options.groups, d.filters});
    gradients.dbias = context.next_optional_output(with_weights && inputs.bias.present, d.dtype, {d.filters});
    void* scratch = context.scratch(plan.scratch_bytes);
    if (context.ok()) context.check(conv1d_backward(plan, inputs, outputs, doutputs, gradients, scratch));
  }

 private:
  Conv1dOptions options_;
  WantedGradients wanted_;
};

bool register_ops() {
  const Names inputs = {"x: T", "kernel: T", "bias: T"};
  const Names attrs = {"activation: {'tanh', 'sigmoid', 'hard_sigmoid', 'relu', 'linear'}",
                       "padding: {'valid', 'same', 'causal'}",
                       "strides: int >= 1",
                       "dilation_rate: int >= 1",
                       "groups: int >= 1",
                       "pool_size: int >= 0 = 0",
                       "pool_strides: int >= 1 = 1",
                       "pool_padding: {'valid', 'same'} = 'valid'"};
  return register_op<Conv1dForward>({"FastseqConv1dForward",
                                     inputs,
                                     {"outputs: T", "argmax: uint8"},
                                     attrs + Names{"save_argmax: bool = false"}}) &&
         register_op<Conv1dBackward>(
             {"FastseqConv1dBackward",
              inputs + Names{"outputs: T", "argmax: uint8", "doutputs: T", "token: tokens * uint8"},
              {"computed: tokens * uint8", "dx: T", "dkernel: T", "dbias: T"},
              attrs + WantedGradients::attrs()});
}

const bool kRegistered = register_ops();

}  // namespace
}  // namespace fastseq::tensorflow

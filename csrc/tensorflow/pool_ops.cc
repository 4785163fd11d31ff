// The TensorFlow ops Fastseq{Max,Average}Pool{Forward,Backward}: shapes, allocation, call.
//
// Backward does not take x but its number of timesteps, so that x need not be kept.
#include "fastseq/pool.h"

#include "argmax.h"
#include "fastseq/names.h"
#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

PoolOptions read_options(Attributes& attributes) {
  PoolOptions options;
  options.pool_size = attributes.integer("pool_size");
  options.strides = attributes.integer("strides");
  attributes.check(parse_padding("padding", attributes.string("padding"), &options.padding));
  return options;
}

// outputs (, argmax)
template <bool kMax>
class PoolForward {
 public:
  explicit PoolForward(Attributes& attributes)
      : options_(read_options(attributes)), save_argmax_(kMax && attributes.boolean("save_argmax")) {}

  static void infer_shapes(Shapes& shapes) {
    // How many timesteps are left depends on attributes.
    TF_ShapeHandle* x = shapes.input(0, 3);
    shapes.set_output(0, {shapes.dim(x, 0), shapes.unknown_dim(), shapes.dim(x, 2)});
    if (kMax) shapes.set_output_unknown(1, 3);
  }

  void compute(Context& context) const {
    const Array x = context.next_input();
    PoolPlan plan;
    if (context.ok()) context.check(pool_plan_forward(x, options_, &plan));
    const PoolDims& d = plan.dims;
    const Array outputs = context.next_output(d.dtype, {d.batch, d.pooled, d.channels});
    if (!kMax) {
      if (context.ok()) context.check(average_pool_forward(plan, x, outputs));
      return;
    }
    const Array argmax = next_positions(context, save_argmax_, plan.options.pool_size, d.batch, d.pooled, d.channels);
    if (context.ok()) context.check(max_pool_forward(plan, x, outputs, argmax));
  }

 private:
  PoolOptions options_;
  bool save_argmax_;
};

// doutputs, timesteps (, argmax) -> dx
template <bool kMax>
class PoolBackward {
 public:
  explicit PoolBackward(Attributes& attributes) : options_(read_options(attributes)) {}

  static void infer_shapes(Shapes& shapes) {
    TF_ShapeHandle* doutputs = shapes.input(0, 3);
    shapes.set_output(0, {shapes.dim(doutputs, 0), shapes.unknown_dim(), shapes.dim(doutputs, 2)});
  }

  void compute(Context& context) const {
    const Array doutputs = context.next_input();
    const Array timesteps = context.next_input();
    if (context.ok() && timesteps.rank != 0) context.fail(TF_INVALID_ARGUMENT, "timesteps must be a scalar");
    PoolPlan plan;
    if (context.ok()) context.check(pool_plan_backward(doutputs, *timesteps.as<int64_t>(), options_, &plan));
    const PoolDims& d = plan.dims;
    Array argmax;
    if (kMax) argmax = positions(context.next_input(), plan.options.pool_size, d.channels);
    const Array dx = context.next_output(d.dtype, {d.batch, d.timesteps, d.channels});
    if (!context.ok()) return;
    context.check(kMax ? max_pool_backward(plan, argmax, doutputs, dx) : average_pool_backward(plan, doutputs, dx));
  }

 private:
  PoolOptions options_;
};

const Names kAttrs = {"pool_size: int", "strides: int", "padding: {'valid', 'same'}"};
const bool kRegistered =
    register_op<PoolForward<true>>(
        {"FastseqMaxPoolForward", {"x: T"}, {"outputs: T", "argmax: uint8"}, kAttrs + Names{"save_argmax: bool"}}) &&
    register_op<PoolBackward<true>>(
        {"FastseqMaxPoolBackward", {"doutputs: T", "timesteps: int64", "argmax: uint8"}, {"dx: T"}, kAttrs}) &&
    register_op<PoolForward<false>>({"FastseqAveragePoolForward", {"x: T"}, {"outputs: T"}, kAttrs}) &&
    register_op<PoolBackward<false>>(
        {"FastseqAveragePoolBackward", {"doutputs: T", "timesteps: int64"}, {"dx: T"}, kAttrs});

}  // namespace
}  // namespace fastseq::tensorflow

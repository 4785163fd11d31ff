// The TensorFlow ops FastseqDropout and FastseqDropoutGradient: shapes, allocation, calls. The gradient of
// FastseqDropout is FastseqDropoutGradient where it has saved a mask, else FastseqDropout with the same seed. The
// gradient of FastseqDropoutGradient is FastseqDropoutGradient.
//
// They write their result to the memory of their first input if nothing else uses it. At (40, 500, 100), between two
// products, forward and backward took 2.0 ms instead of 2.5 ms (both without a mask).
#include "fastseq/dropout.h"

#include <algorithm>

#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

HalfType half_type(Attributes& attributes) {
  HalfType type = HalfType::kNone;
  attributes.check(parse_half_type("cast_from", attributes.string("cast_from"), &type));
  return type;
}

// Makes the plan for x. Returns whether it succeeded.
bool make_plan(Context& context, const Array& x, const Array& rate, DropoutOptions options, DropoutPlan* plan) {
  options.rate = *rate.as<const double>();
  context.check(dropout_plan(x, options, plan));
  return context.ok();
}

class Dropout {
 public:
  explicit Dropout(Attributes& attributes) : save_mask_(attributes.boolean("save_mask")) {
    options_.cast_from = half_type(attributes);
    options_.noise_shape = attributes.integers("noise_shape");
  }

  static void infer_shapes(Shapes& shapes) {
    shapes.set_output_like(0, shapes.input(0));
    shapes.set_output(1, {shapes.unknown_dim()});
    shapes.input(1, 0);
    shapes.input(2, 1);
  }

  void compute(Context& context) const {
    auto [x, rate, seed] = context.next_inputs<3>();
    if (context.ok() && (rate.rank != 0 || seed.rank != 1 || seed.shape[0] != 2))
      context.fail(TF_INVALID_ARGUMENT, "rate must have shape (), and seed (2,)");
    if (!context.ok()) return;
    DropoutOptions options = options_;
    std::copy_n(seed.as<const int64_t>(), 2, options.seed);
    DropoutPlan plan;
    if (!make_plan(context, x, rate, options, &plan)) return;
    const Array y = context.next_output_over(0, &x);
    const Array mask = context.next_optional_output(save_mask_, DType::kUInt8, {dropout_mask_bytes(plan)});
    if (context.ok()) context.check(dropout(plan, x, y, mask));
  }

 private:
  DropoutOptions options_;
  bool save_mask_;
};

class DropoutGradient {
 public:
  explicit DropoutGradient(Attributes& attributes) { options_.cast_from = half_type(attributes); }

  static void infer_shapes(Shapes& shapes) {
    shapes.set_output_like(0, shapes.input(0));
    shapes.input(1, 1);
    shapes.input(2, 0);
  }

  void compute(Context& context) const {
    auto [dy, mask, rate] = context.next_inputs<3>();
    if (context.ok() && rate.rank != 0) context.fail(TF_INVALID_ARGUMENT, "rate must have shape ()");
    DropoutPlan plan;
    if (!context.ok() || !make_plan(context, dy, rate, options_, &plan)) return;
    const Array dx = context.next_output_over(0, &dy);
    if (context.ok()) context.check(dropout_gradient(plan, mask, dy, dx));
  }

 private:
  DropoutOptions options_;
};

const bool kRegistered = register_op<Dropout>({
    "FastseqDropout",
    {"x: T", "rate: double", "seed: int64"},
    {"y: T", "mask: uint8"},
    {"cast_from: {'none', 'float16', 'bfloat16'}", "noise_shape: list(int)", "save_mask: bool"},
});
const bool kGradientRegistered = register_op<DropoutGradient>({
    "FastseqDropoutGradient",
    {"dy: T", "mask: uint8", "rate: double"},
    {"dx: T"},
    {"cast_from: {'none', 'float16', 'bfloat16'}"},
});

}  // namespace
}  // namespace fastseq::tensorflow

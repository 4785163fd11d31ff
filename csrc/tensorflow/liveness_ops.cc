// The TensorFlow ops FastseqTokens and FastseqLive, by which an op learns which of its outputs somebody needs.
//
// TensorFlow prunes a node that nobody needs, but it does not tell a node that one of its outputs is not needed, and
// our backward ops have dx and the weight gradients as outputs of one node, since both are made of dz while that is in
// the cache. Where a layer is frozen, or what is before it, one of the two is computed for nobody.
//
// So such outputs have a node behind them, FastseqLive, which hands them on, and which is pruned where nobody needs
// them. It takes a token, and so does the backward op, which comes before it. When the backward op runs, the token is
// held by itself alone if the other node was pruned, and else also by that node, which has yet to run. TensorFlow tells
// the two apart by what it does with memory: it gives an input's to an output only where nobody else holds the input
// (Context::next_live). A token that is held by anybody else besides, such as a debugger, costs time, and no result.
#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

// after -> tokens: one for each group of outputs. `after` is any tensor that is no constant: tokens must not become
// constants, which nobody but TensorFlow holds.
struct Tokens {
  explicit Tokens(Attributes& attributes) : count(attributes.integer("count")) {}

  static void infer_shapes(Shapes&) {}

  void compute(Context& context) const {
    for (int64_t i = 0; i < count; ++i) context.next_output(DType::kUInt8, {1});
  }

  int64_t count;
};

// token, computed, values -> the values: `computed` is what the op with these outputs says of the token.
struct Live {
  explicit Live(Attributes& attributes) : count(attributes.integer("count")) {}

  static constexpr int kFirstValue = 2;

  static void infer_shapes(Shapes& shapes) {
    for (int i = kFirstValue; i < shapes.inputs(); ++i) shapes.set_output_like(i - kFirstValue, shapes.input(i));
  }

  void compute(Context& context) const {
    context.next_input();
    const Array computed = context.next_input();
    if (context.ok() && *computed.as<const uint8_t>() == 0)
      context.fail(TF_INTERNAL, "fastseq: a gradient that is needed was taken for one that is not");
    for (int64_t i = 0; i < count; ++i) context.next_input();
    for (int i = 0; i < count; ++i) context.pass_on(kFirstValue + i);
  }

  int64_t count;
};

const bool kRegistered =
    register_op<Tokens>({"FastseqTokens", {"after: T"}, {"tokens: count * uint8"}, {"count: int >= 1"}}) &&
    register_op<Live>({"FastseqLive",
                       {"token: uint8", "computed: uint8", "values: count * T"},
                       {"live: count * T"},
                       {"count: int >= 1"}});

}  // namespace
}  // namespace fastseq::tensorflow

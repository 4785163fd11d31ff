// The TensorFlow ops FastseqTokens and FastseqLive. By them an op learns which of its outputs are needed.
//
// TensorFlow prunes a node if none of its outputs is needed. But it does not tell a node that one of its outputs is not
// needed. A backward op of fastseq has dx and the weight gradients as outputs of one node, since both are computed from
// dz while it is in the cache. If the layer is frozen, or all layers before it are, one of the two is not needed.
//
// So a node FastseqLive follows on these outputs. It passes them on, and TensorFlow prunes it if they are not needed.
// The backward op and FastseqLive have a common input, the token. If FastseqLive has been pruned, only the backward op
// holds the token when it runs. Otherwise FastseqLive holds it, too, since it has yet to run. The backward op finds out
// by a rule of TensorFlow: it reuses an input's memory for an output only if no other node holds the input
// (Context::next_live). If something else holds the token, such as a debugger, the gradients are computed although they
// are not needed, which costs time but changes no result.
#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

// Inputs: after. Outputs: tokens, one for each group of outputs. `after` may be any tensor that is not a constant:
// otherwise TensorFlow would fold the tokens into constants, and hold them itself.
struct Tokens {
  explicit Tokens(Attributes& attributes) : count(attributes.integer("count")) {}

  static void infer_shapes(Shapes&) {}

  void compute(Context& context) const {
    for (int64_t i = 0; i < count; ++i) context.next_output(DType::kUInt8, {1});
  }

  int64_t count;
};

// Inputs: token, computed, values. Outputs: the values. `computed` is the output of the backward op that tells whether
// the values were computed.
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

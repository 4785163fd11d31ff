// Which gradients a backward op is to compute, and how it learns that: see liveness_ops.cc.
#pragma once

#include "op_support.h"

namespace fastseq::tensorflow {

// What is known when the graph is made is in attributes. What is known when it runs is in tokens: there are none, or
// one for dx and one for the weight gradients.
class WantedGradients {
 public:
  static Names attrs() { return {"with_dx: bool = true", "with_weights: bool = true", "tokens: int >= 0 = 0"}; }

  explicit WantedGradients(Attributes& attributes)
      : dx_(attributes.boolean("with_dx")), weights_(attributes.boolean("with_weights")) {
    const int64_t tokens = attributes.integer("tokens");
    if (tokens != 0 && tokens != 2) attributes.fail(TF_INVALID_ARGUMENT, "tokens must be 0 or 2");
    tokens_ = tokens == 2;
  }

  // In this order: the next input is the token of each, the next output says whether it was computed.
  bool dx(Context& context) const { return live(context) && dx_; }
  bool weights(Context& context) const { return live(context) && weights_; }

 private:
  bool live(Context& context) const { return !tokens_ || context.next_live(); }

  bool dx_, weights_, tokens_;
};

}  // namespace fastseq::tensorflow

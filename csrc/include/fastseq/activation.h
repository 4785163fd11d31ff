// The activations that ops know.
#pragma once

namespace fastseq {

// hard_sigmoid(x) = min(max(x + 3, 0), 6) / 6, as in Keras 3. Every derivative can be computed from the activated
// value.
enum class Activation { kTanh, kSigmoid, kHardSigmoid, kRelu, kLinear };

}  // namespace fastseq

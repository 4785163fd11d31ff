// The activations of all ops, as every room names them.
#pragma once

namespace fastseq {

// hard_sigmoid(x) = min(max(x + 3, 0), 6) / 6, as in Keras 3. All derivatives follow from the activated value.
enum class Activation { kTanh, kSigmoid, kHardSigmoid, kRelu, kLinear };

}  // namespace fastseq

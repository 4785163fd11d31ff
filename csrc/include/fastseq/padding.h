// The padding of a sequence for convolution and pooling, as in Keras.
#pragma once

namespace fastseq {

// For T timesteps and T' outputs. kValid: no padding; every window lies within the sequence. kSame: T' = T / strides,
// rounded up; half of the padding comes before the sequence, and a step more after it where its length is odd. kCausal:
// the same T', with all padding before the sequence.
enum class Padding { kValid, kSame, kCausal };

}  // namespace fastseq

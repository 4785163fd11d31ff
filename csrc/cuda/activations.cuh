// The activations and their derivatives, for all ops.
#pragma once

#include "device.cuh"
#include "fastseq/activation.h"

namespace fastseq::cuda {

// tanh and sigmoid share an exponential and a division, so that lanes of a warp that compute different ones of them do
// not diverge. With E = exp(-y), y >= 0,
//   tanh(y / 2) = (1 - E) / (1 + E),  sigmoid(y) = 1 / (1 + E),  sigmoid(-y) = E / (1 + E).
__device__ inline float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kTanh:
    case Activation::kSigmoid: {
      const bool is_tanh = activation == Activation::kTanh;
      const float y = is_tanh ? 2.0F * fabsf(x) : fabsf(x);
      const float e = expf(-y);
      const float numerator = is_tanh ? -expm1f(-y) : x < 0.0F ? e : 1.0F;
      const float result = numerator / (1.0F + e);
      return is_tanh ? copysignf(result, x) : result;
    }
    case Activation::kHardSigmoid:
      return x != x ? x : fminf(fmaxf(x + 3.0F, 0.0F), 6.0F) / 6.0F;
    case Activation::kRelu:
      return x != x ? x : fmaxf(x, 0.0F);
    case Activation::kLinear:
      break;
  }
  return x;
}

// The derivative, computed from the activated value.
__device__ inline float slope(Activation activation, float y) {
  switch (activation) {
    case Activation::kTanh:
      return 1.0F - y * y;
    case Activation::kSigmoid:
      return y * (1.0F - y);
    case Activation::kHardSigmoid:
      return y > 0.0F && y < 1.0F ? 1.0F / 6.0F : 0.0F;
    case Activation::kRelu:
      return y > 0.0F ? 1.0F : 0.0F;
    case Activation::kLinear:
      break;
  }
  return 1.0F;
}

}  // namespace fastseq::cuda

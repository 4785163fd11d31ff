// The elementwise part of a step of each cell, for one unit of one row (rnn.h has the formulas). After Hochreiter and
// Schmidhuber 1997 with forget gate (Gers et al. 2000), Cho et al. 2014 (arXiv 1406.1078) with the blend and gate order
// of Keras, and Elman 1990.
#pragma once

#include "activations.cuh"
#include "fastseq/rnn.h"

namespace fastseq::cuda {

// The options of a call that its kernels need.
struct CellOptions {
  Activation activation;
  Activation recurrent_activation;
};

struct LstmState {
  float h, c;
};

// Computes the states after a step from the activated gates.
__device__ inline LstmState lstm_step(const CellOptions& options, float i, float f, float g, float o, float c_prev) {
  const float c = fmaf(f, c_prev, i * g);
  return {o * activate(options.activation, c), c};
}

struct LstmGradients {
  float dz[4];  // by the pre-activations of i, f, c, o
  float dc_prev;
};

// Computes the gradients of a step from the activated gates and the gradients by the states after the step.
__device__ inline LstmGradients lstm_step_back(const CellOptions& options, float i, float f, float g, float o,
                                               float c_prev, float dh, float dc_next) {
  const float activated_c = activate(options.activation, fmaf(f, c_prev, i * g));
  const float dc = fmaf(dh * o, slope(options.activation, activated_c), dc_next);
  return {{dc * g * slope(options.recurrent_activation, i), dc * c_prev * slope(options.recurrent_activation, f),
           dc * i * slope(options.activation, g), dh * activated_c * slope(options.recurrent_activation, o)},
          dc * f};
}

__device__ inline float gru_blend(float z, float candidate, float h_prev) {
  return fmaf(z, h_prev, (1.0F - z) * candidate);
}

struct GruUpdateGradients {
  float dz, dcandidate;  // by the pre-activations
  float dh_prev;         // the part through the blend
};

__device__ inline GruUpdateGradients gru_update_back(const CellOptions& options, float z, float candidate, float h_prev,
                                                     float dh) {
  return {dh * (h_prev - candidate) * slope(options.recurrent_activation, z),
          dh * (1.0F - z) * slope(options.activation, candidate), dh * z};
}

// The gradient by the pre-activation of r. `scaled` is the factor that r multiplies, `gradient` that by their product.
__device__ inline float gru_reset_back(const CellOptions& options, float r, float scaled, float gradient) {
  return gradient * scaled * slope(options.recurrent_activation, r);
}

}  // namespace fastseq::cuda

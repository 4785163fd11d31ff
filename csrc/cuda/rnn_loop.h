// The time loops of the recurrent ops: what a driver hands to them. Everything is float32 and in device memory; B rows,
// T timesteps, U units, G gates.
#pragma once

#include <cstdint>

#include "fastseq/cuda.h"

namespace fastseq::cuda {

// How a persistent loop is divided, see rnn_persistent.cuh.
struct LoopShape {
  int batch, timesteps, units;
  int rows;     // of the batch, of a cluster
  int blocks;   // of a cluster
  int lanes;    // threads that share an output of the product: 4, 8, 16 or 32
  int groups;   // of so many lanes, in a block
  int chunks;   // of four operands, of a thread
  int threads;  // of a block
  size_t shared_bytes;
};

// The persistent kernels are compiled for these numbers of chunks.
constexpr int kChunkSizes[] = {2, 4, 7, 8};

// What both directions have.
struct LoopArguments {
  Activation activation, recurrent_activation;
  bool go_backwards, zero_output_for_mask;
  const float* recurrent_kernel;  // (U, GU)
  const bool* mask;               // (B, T), or null
  const float* factors;           // (B, U) of h in the products, or null
};

struct ForwardLoop : LoopArguments {
  const float* z;     // products of x: row (b, t) at (b T + t) z_stride; may lie in the workspace, where gates replace it
  int64_t z_stride;
  const float* bias;  // (GU), of GRU with reset_after (2, 3U), or null
  const float *h0, *c0;                     // (B, U), or null
  float *outputs, *last_output, *h_n, *c_n;  // outputs may be null
  float* workspace;                         // row (b, t) at (b T + t) rnn_workspace_width, or null
};

struct BackwardLoop : LoopArguments {
  const float* workspace;
  const float *doutputs, *dlast_output, *dh_n, *dc_n;  // or null
  float* dz;  // (B, T, rnn_dz_gates U): by z and, of GRU, by the recurrent part of the candidate; zero at masked steps
  float *dh0, *dc0;
};

// Gates of a row of dz, and where the workspace has the states before a step, in units.
inline int rnn_dz_gates(const RnnOptions& options) {
  return options.cell == Cell::kLstm ? 4 : options.cell == Cell::kSimpleRnn ? 1 : options.reset_after ? 4 : 3;
}
inline int rnn_gates(const RnnOptions& options) {
  return options.cell == Cell::kLstm ? 4 : options.cell == Cell::kGru ? 3 : 1;
}

// Finds a shape; false where the recurrent kernel is too large to stay in registers, or the call has what the
// persistent kernels lack: GRU without reset_after, which has two products a step, and recurrent dropout factors for each gate.
bool find_loop_shape(const RnnPlan& plan, bool backward, int device, LoopShape* shape);

Status persistent_forward(const LoopShape& shape, Cell cell, const ForwardLoop& loop, Stream stream);
Status persistent_backward(const LoopShape& shape, Cell cell, const BackwardLoop& loop, Stream stream);

}  // namespace fastseq::cuda

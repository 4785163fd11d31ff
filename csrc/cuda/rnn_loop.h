// The time loops of the recurrent ops, and their arguments. All arrays are float32 in device memory; B rows, T
// timesteps, U units, G gates.
#pragma once

#include <cstdint>

#include "fastseq/cuda.h"
#include "products.h"

namespace fastseq::cuda {

// The persistent kernels are compiled for these numbers of chunks.
constexpr int kChunkSizes[] = {2, 4, 6, 8};

// The largest number of threads in a block so that each can have enough registers: for `outputs` times `chunks` chunks
// of weights, and for the rest of the loop. A multiprocessor has four parts, each with 16384 registers for a quarter of
// the warps.
constexpr int most_threads(int outputs, int chunks) {
  constexpr int kOthers = 46;  // registers for the rest of the loop
  const int registers = (outputs * chunks * 4 + kOthers + 7) / 8 * 8;
  const int warps = 4 * (16384 / 32 / registers);
  return warps < 32 ? warps * 32 : 1024;
}

// The arguments of both directions.
struct LoopArguments {
  Activation activation, recurrent_activation;
  bool go_backwards, zero_output_for_mask;
  bool h0_as_first_output;        // with a mask that repeats outputs
  const float* recurrent_kernel;  // (U, GU)
  const uint8_t* mask;            // (B, T), or null
  const float* factors;           // (B, U): factors of h in the products, or null
};

struct ForwardLoop : LoopArguments {
  static constexpr const char* kName = "the recurrent kernel, forward";
  const float* z;                            // (B, T, GU): the products of x
  const float* bias;                         // (GU), for GRU with reset_after (2, 3U), or null
  const float *h0, *c0;                      // (B, U), or null
  float *outputs, *last_output, *h_n, *c_n;  // outputs may be null
  float* workspace;                          // (B, T, rnn_workspace_width), or null
};

struct BackwardLoop : LoopArguments {
  static constexpr const char* kName = "the recurrent kernel, backward";
  const float* workspace;
  const float *doutputs, *dlast_output, *dh_n, *dc_n;  // or null
  // (B, T, CellShape's dz U): the gradients by z and, for GRU with reset_after, by the recurrent part of the candidate;
  // zero at masked steps.
  float* dz;
  float *dh0, *dc0;
};

// The properties of a cell in one direction that find_loop_shape needs.
struct LoopCell {
  int outputs;           // outputs that a group computes
  int units;             // units to which these belong
  int slots;             // slots of a thread for each row
  int operands_of_unit;  // elements of a unit in the operand
};

// The persistent loops of one direction.
template <class Loop>
struct PersistentLoops {
  LoopCell (*cell)(Cell cell);
  Status (*run)(const RnnLoopShape& shape, Cell cell, const Loop& loop, Stream stream);
};
extern const PersistentLoops<ForwardLoop> kPersistentForward;
extern const PersistentLoops<BackwardLoop> kPersistentBackward;

// Finds a shape for the persistent loop. Returns false if the recurrent kernel does not fit the registers, if the
// stepwise loop is estimated to be faster, or if the persistent loop does not support the call. It does not support GRU
// without reset_after, which has two products in a step, and recurrent dropout factors that differ between gates.
bool find_loop_shape(const RnnPlan& plan, bool backward, RnnLoopShape* shape);

// The stepwise time loop, for all cells and options. Here `factors` are (F, B, U), and `scratch` has stepwise_scratch
// floats.
int64_t stepwise_scratch(const RnnPlan& plan, bool backward);
Status stepwise_forward(const RnnPlan& plan, const ForwardLoop& loop, Products& products, float* scratch,
                        Stream stream);
Status stepwise_backward(const RnnPlan& plan, const BackwardLoop& loop, Products& products, float* scratch,
                         Stream stream);

}  // namespace fastseq::cuda

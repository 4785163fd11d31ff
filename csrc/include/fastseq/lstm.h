// LSTM over a whole sequence, forward and backward: the contract.
//
// B batch, T timesteps, D inputs, U units. Gate order i, f, c, o. All float arrays of one call have one dtype, float32
// or float64. Arrays do not overlap unless it is said that they may. Absent arrays are marked "optional".
//
//   z_t = x_t kernel + h_{t-1} recurrent_kernel + bias
//   i, f, o = sigmoid(z_i, z_f, z_o),  g = tanh(z_c)
//   c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
//
// A step whose mask is false leaves h and c of that row as they were, and its inputs are never used, not even a NaN. Its
// output repeats the row's previous output (zero before the first unmasked step, as in Keras, not h0) or is zero
// with zero_output_for_mask.
//
// Parallel over batch rows; weight gradients over parts of their matrices. The same bits for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq {

struct LstmInputs {
  Array x;                       // (B, T, D)
  Array kernel;                  // (D, 4U)
  Array recurrent_kernel;        // (U, 4U)
  Array bias;                    // (4U), optional: zero
  Array h0;                      // (B, U), optional: zero
  Array c0;                      // (B, U), optional: zero
  Array mask;                    // (B, T) bool, optional: all true
  Array dropout_mask;            // (1 or 4, B, D), optional: factors of x for all gates, or for i, f, c, o
  Array recurrent_dropout_mask;  // (1 or 4, B, U), optional: factors of h_{t-1} likewise
};

struct LstmOptions {
  bool go_backwards = false;  // steps are taken from T-1 to 0; outputs are in the order the steps are taken in
  bool zero_output_for_mask = false;
};

struct LstmOutputs {
  Array outputs;      // (B, T, U), optional
  Array last_output;  // (B, U): the output of the last step taken; zero when T is 0
  Array h_n;          // (B, U): the state after the last step; h0 when no step is unmasked
  Array c_n;          // (B, U)
  // The workspace for backward, indexed by time (not by the order of steps), undefined at masked steps. Both or none.
  Array gates;  // (B, T, 4U), optional: activations
  Array cells;  // (B, T, U), optional
};

// Gradients of a scalar loss by the outputs, all optional: zero.
struct LstmOutputGradients {
  Array doutputs;      // (B, T, U)
  Array dlast_output;  // (B, U)
  Array dh_n;          // (B, U)
  Array dc_n;          // (B, U)
};

struct LstmGradients {
  Array dx;                 // (B, T, D), zero at masked steps
  Array dkernel;            // (D, 4U)
  Array drecurrent_kernel;  // (U, 4U)
  Array dbias;              // (4U), optional
  Array dh0;                // (B, U)
  Array dc0;                // (B, U)
};

struct LstmDims {
  int64_t batch = 0;
  int64_t timesteps = 0;
  int64_t inputs = 0;
  int64_t units = 0;
  DType dtype = DType::kFloat32;
};

// Checks every shape and dtype of the inputs; the error names the array, what was expected and what came.
Status lstm_check(const LstmInputs& inputs, LstmDims* dims);

// A call prepared: which kernels, how many threads, how much scratch. Made once, so that a change of the settings
// between the two halves of a call cannot matter.
struct LstmPlan {
  LstmDims dims;
  LstmOptions options;
  const struct Isa* isa = nullptr;
  int threads = 1;
  int input_groups = 0;           // dropout_mask's first dimension, 0 without
  int recurrent_groups = 0;       // recurrent_dropout_mask's
  bool save_workspace = false;    // forward only
  int64_t chunk = 1;              // timesteps whose input projection is computed at once
  size_t scratch_bytes = 0;       // of memory to hand over, aligned to kScratchAlignment, content undefined
};
constexpr size_t kScratchAlignment = 64;

Status lstm_plan_forward(const LstmInputs& inputs, const LstmOptions& options, bool save_workspace, LstmPlan* plan);
Status lstm_forward(const LstmPlan& plan, const LstmInputs& inputs, const LstmOutputs& outputs, void* scratch);

// gates and cells are those of forward's outputs.
struct LstmWorkspace {
  Array gates;
  Array cells;
};
Status lstm_plan_backward(const LstmInputs& inputs, const LstmOptions& options, LstmPlan* plan);
Status lstm_backward(const LstmPlan& plan, const LstmInputs& inputs, const LstmWorkspace& workspace,
                     const LstmOutputGradients& doutputs, const LstmGradients& gradients, void* scratch);

}  // namespace fastseq

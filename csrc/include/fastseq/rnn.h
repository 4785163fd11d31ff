// LSTM, GRU and SimpleRNN over a whole sequence, forward and backward: the contract.
//
// B batch, T timesteps, D inputs, U units, G gates: 4, 3 and 1. The gate order is i, f, c, o for LSTM and z, r, h for
// GRU. All float arrays of one call have one dtype, float32 or float64. Arrays do not overlap. Arrays that may be
// absent are marked "optional". In the formulas, a is activation, s is recurrent_activation, and [.] are the columns of
// a gate:
//
//   LSTM       [i f c o] = x_t kernel + h_{t-1} recurrent_kernel + bias
//              c_t = s(f) c_{t-1} + s(i) a(c),  h_t = s(o) a(c_t)
//   GRU        z, r = s(x_t kernel[z r] + h_{t-1} recurrent_kernel[z r] + bias[z r])
//              h_t = z h_{t-1} + (1 - z) a(x_t kernel[h] + bias[h] + n)
//              n = r (h_{t-1} recurrent_kernel[h] + recurrent bias[h])   with reset_after, else
//              n = (r h_{t-1}) recurrent_kernel[h]
//   SimpleRNN  h_t = a(x_t kernel + h_{t-1} recurrent_kernel + bias)
//
// A step whose mask is false does not change the states of that row. Its inputs are never used, so they can be NaN. Its
// output repeats the row's previous output or, with zero_output_for_mask, is zero. Before the first unmasked step the
// previous output is zero, as in Keras on TensorFlow. With h0_as_first_output it is h0, as in Keras on JAX.
//
// The ops are parallel over batch rows and, if that pays, over units. Weight gradients are parallel over parts of the
// batch and over the rows of their matrices. The results are bitwise equal for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/activation.h"
#include "fastseq/array.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

enum class Cell { kLstm, kGru, kSimpleRnn };

struct RnnOptions {
  Cell cell = Cell::kLstm;
  Activation activation = Activation::kTanh;
  Activation recurrent_activation = Activation::kSigmoid;  // SimpleRNN ignores it
  bool reset_after = true;                                 // GRU only
  bool go_backwards = false;  // compute the steps from T-1 to 0; outputs are in the order of computation
  bool zero_output_for_mask = false;
  bool h0_as_first_output = false;
};

struct RnnInputs {
  Array x;                       // (B, T, D)
  Array kernel;                  // (D, GU)
  Array recurrent_kernel;        // (U, GU)
  Array bias;                    // (GU), for GRU with reset_after (2, 3U): for inputs, for h; optional: zero
  Array h0;                      // (B, U), optional: zero
  Array c0;                      // (B, U), LSTM only, optional: zero
  Array mask;                    // (B, T) bool, optional: all true
  Array dropout_mask;            // (1 or G, B, D), optional: factors of x, shared by all gates or one for each
  Array recurrent_dropout_mask;  // (1 or G, B, U), optional: factors of h_{t-1} in the products, likewise
};

struct RnnOutputs {
  Array outputs;      // (B, T, U), optional
  Array last_output;  // (B, U): the output of the last step; with T = 0, the output before the first step
  Array h_n;          // (B, U): the state after the last step; h0 when no step is unmasked
  Array c_n;          // (B, U), LSTM only
  Array workspace;    // (B, T, rnn_workspace_width), optional: for backward, by time, undefined at masked steps
};

// Gradients of a scalar loss with respect to the outputs, all optional: zero.
struct RnnOutputGradients {
  Array doutputs;      // (B, T, U)
  Array dlast_output;  // (B, U)
  Array dh_n;          // (B, U)
  Array dc_n;          // (B, U), LSTM only
};

struct RnnGradients {
  Array dx;                 // (B, T, D), zero at masked steps; optional
  Array dkernel;            // (D, GU), optional, together with the next two
  Array drecurrent_kernel;  // (U, GU), optional
  Array dbias;              // same shape as bias, optional
  Array dh0;                // (B, U)
  Array dc0;                // (B, U), LSTM only
};

// What prediction computes once, for many calls with the same weights.
struct RnnPrepared {
  const void* weights = nullptr;  // of rnn_prepare; null: every call packs the weights
  int unit_groups = 1;            // of the plan that the weights were packed for
  Array projections;  // (V, GU), optional: x kernel + bias for every row that x can have. Then ids tell which row of
  Array ids;          // (B, T) int32 or int64, each step of x is, and x and kernel have the sizes (B, T, 0) and (0, GU)
};

struct RnnDims : SequenceDims {
  int64_t inputs = 0;
  int64_t units = 0;
  int64_t gates = 0;  // G
};

// The number of elements that forward saves for backward for each step and row. LSTM saves h, c and the activated
// gates, 6U. GRU saves h and the activated gates, 4U, and with reset_after also h recurrent_kernel[h] + recurrent
// bias[h], 5U. SimpleRNN saves h, U.
int64_t rnn_workspace_width(const RnnOptions& options, int64_t units);

// A plan is made once for a call, so that a change of the settings during the call has no effect.
struct RnnPlan : PlanOf<RnnDims, RnnOptions> {
  int row_groups = 1;         // threads = row_groups * unit_groups: batch rows are divided among groups of threads,
  int unit_groups = 1;        // and units among the threads of a group
  int shards = 1;             // backward: parts of the batch that have separate sums of the weight gradients,
  int subteams = 1;           // and parts of the team that compute different shards
  int input_factors = 0;      // dropout_mask's first dimension; 0 without dropout_mask
  int recurrent_factors = 0;  // recurrent_dropout_mask's first dimension, likewise
  bool masked = false;
  int64_t chunk = 1;          // timesteps whose input projection is computed at once
  size_t prepared_bytes = 0;  // size of the memory for rnn_prepare, aligned like scratch; set by rnn_plan_forward
};

// rnn_plan_forward and rnn_plan_backward check every shape and dtype of the inputs. The error names the array, the
// expected value and the actual one.
Status rnn_plan_forward(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan);
Status rnn_forward(const RnnPlan& plan, const RnnInputs& inputs, const RnnOutputs& outputs, void* scratch,
                   const RnnPrepared& prepared = {});

// Packs the weights for calls whose plans have the same instruction set and the same unit_groups.
void rnn_prepare(const RnnPlan& plan, const RnnInputs& inputs, void* prepared);

// `workspace` is the one in forward's outputs.
Status rnn_plan_backward(const RnnInputs& inputs, const RnnOptions& options, RnnPlan* plan);
Status rnn_backward(const RnnPlan& plan, const RnnInputs& inputs, const Array& workspace,
                    const RnnOutputGradients& doutputs, const RnnGradients& gradients, void* scratch);

// The ids and the table of RnnLookup: ids of rank 2, each a row of the table; a table of floats with the recurrent
// kernel's number of columns.
Status check_lookup(const Array& ids, const Array& projections, const Array& recurrent_kernel);

inline Array rnn_workspace(const RnnPlan& plan) {
  const RnnDims& d = plan.dims;
  return Array::like(d.dtype, {d.batch, d.timesteps, rnn_workspace_width(plan.options, d.units)});
}

// --- the statement (statement.h). With the plan of cuda.h it also describes the operations on a GPU ------------------

template <class Visit>
void state_options(RnnOptions& options, const Visit& visit) {
  visit("activation", options.activation);
  if (options.cell != Cell::kSimpleRnn) visit("recurrent_activation", options.recurrent_activation);
  if (options.cell == Cell::kGru) visit("reset_after", options.reset_after);
  visit("go_backwards", options.go_backwards);
  visit("zero_output_for_mask", options.zero_output_for_mask);
  visit("h0_as_first_output", options.h0_as_first_output);
}

// Base class of RnnForward and RnnBackward.
template <Cell kCell, bool kForward, class Plan>
struct RnnOperation : Planned<RnnOptions, Plan> {
  RnnInputs inputs;
  bool return_sequences = true;

  RnnOperation() { this->options.cell = kCell; }
  static const char* name() {
    if (kCell == Cell::kLstm) return kForward ? "lstm_forward" : "lstm_backward";
    if (kCell == Cell::kGru) return kForward ? "gru_forward" : "gru_backward";
    return kForward ? "simple_rnn_forward" : "simple_rnn_backward";
  }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", 3), inputs.x);
    visit(Input::required("kernel"), inputs.kernel);
    visit(Input::required("recurrent_kernel", 2), inputs.recurrent_kernel);
    visit(Input::optional("bias"), inputs.bias);
    visit(Input::optional("h0"), inputs.h0);
    if (kCell == Cell::kLstm) visit(Input::optional("c0"), inputs.c0);
    visit(Input::optional("mask", Holds::kBools), inputs.mask);
    visit(Input::optional("dropout_mask"), inputs.dropout_mask);
    visit(Input::optional("recurrent_dropout_mask"), inputs.recurrent_dropout_mask);
  }
  template <class... How>
  Status make_plan(How... how) {
    return kForward ? rnn_plan_forward(inputs, this->options, how..., &this->plan)
                    : rnn_plan_backward(inputs, this->options, how..., &this->plan);
  }
  Array state() const { return Array::like(inputs.x.dtype, {inputs.x.shape[0], inputs.recurrent_kernel.shape[0]}); }
};

template <Cell kCell, class Plan = RnnPlan>
struct RnnForward : RnnOperation<kCell, true, Plan> {
  using Base = RnnOperation<kCell, true, Plan>;
  using Base::inputs, Base::return_sequences, Base::plan;
  bool save_workspace = true;
  RnnOutputs outputs;

  template <class Visit>
  void for_each_option(const Visit& visit) {
    Base::for_each_option(visit, Flag{"return_sequences", return_sequences}, Flag{"save_workspace", save_workspace});
  }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    const Array& x = inputs.x;
    visit(Output::when(return_sequences, "outputs"), outputs.outputs,
          Array::like(x.dtype, {x.shape[0], x.shape[1], inputs.recurrent_kernel.shape[0]}));
    visit(Output::always("last_output"), outputs.last_output, Base::state());
    visit(Output::always("h_n"), outputs.h_n, Base::state());
    if (kCell == Cell::kLstm) visit(Output::always("c_n"), outputs.c_n, Base::state());
    visit(Output::when(save_workspace, "workspace", Holds::kSaved), outputs.workspace, rnn_workspace(plan));
  }
  template <class... Stream>
  Status run(void* scratch, Stream... stream) const {
    return rnn_forward(plan, inputs, outputs, scratch, stream...);
  }
};

// Forward for prediction, with weights that are packed once.
template <Cell kCell>
struct RnnPredict : RnnForward<kCell>, Preparing {
  using Base = RnnForward<kCell>;
  using Base::inputs, Base::outputs, Base::plan;

  RnnPredict() { this->save_workspace = false; }
  static const char* name() {
    if (kCell == Cell::kLstm) return "lstm_predict";
    return kCell == Cell::kGru ? "gru_predict" : "simple_rnn_predict";
  }
  size_t prepared_bytes() const { return plan.prepared_bytes; }
  int prepared_for() const { return plan.unit_groups; }
  void prepare(void* memory) const { rnn_prepare(plan, inputs, memory); }
  Status run(void* scratch) const {
    return rnn_forward(plan, inputs, outputs, scratch, {prepared, plan.unit_groups, {}, {}});
  }
};

// The same behind an Embedding whose rows have been multiplied by the kernel: x is rows of a table, by their ids.
template <Cell kCell>
struct RnnLookup : RnnPredict<kCell> {
  using Base = RnnPredict<kCell>;
  using Base::inputs, Base::outputs, Base::plan;
  static constexpr bool kPlanReadsData = true;  // the ids
  Array ids;                                    // (B, T)
  Array projections;                            // (V, GU)

  static const char* name() {
    if (kCell == Cell::kLstm) return "lstm_lookup";
    return kCell == Cell::kGru ? "gru_lookup" : "simple_rnn_lookup";
  }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("ids", 2, Holds::kIntegers), ids);
    visit(Input::required("projections", 2), projections);
    visit(Input::required("recurrent_kernel", 2), inputs.recurrent_kernel);
    visit(Input::optional("bias"), inputs.bias);  // only GRU's bias of the recurrent product is used
    visit(Input::optional("h0"), inputs.h0);
    if (kCell == Cell::kLstm) visit(Input::optional("c0"), inputs.c0);
    visit(Input::optional("mask", Holds::kBools), inputs.mask);
  }
  Status make_plan() {
    FASTSEQ_RETURN_IF_ERROR(check_lookup(ids, projections, inputs.recurrent_kernel));
    inputs.x = Array::like(projections.dtype, {ids.shape[0], ids.shape[1], 0});
    inputs.kernel = Array::like(projections.dtype, {0, projections.shape[1]});
    return Base::make_plan();
  }
  Status run(void* scratch) const {
    return rnn_forward(plan, inputs, outputs, scratch, {this->prepared, plan.unit_groups, projections, ids});
  }
};

template <Cell kCell, class Plan = RnnPlan>
struct RnnBackward : RnnOperation<kCell, false, Plan>, Wanted {
  using Base = RnnOperation<kCell, false, Plan>;
  using Base::inputs, Base::plan;
  using Base::return_sequences;  // forward's option; if it is false, doutputs.doutputs is ignored
  Array workspace;
  RnnOutputGradients doutputs;
  RnnGradients gradients;

  template <class Visit>
  void for_each_input(const Visit& visit) {
    Base::for_each_input(visit);
    visit(Input::saved("workspace", inputs.x.dtype), workspace);
    visit(Input::optional("doutputs"), doutputs.doutputs);
    visit(Input::optional("dlast_output"), doutputs.dlast_output);
    visit(Input::optional("dh_n"), doutputs.dh_n);
    if (kCell == Cell::kLstm) visit(Input::optional("dc_n"), doutputs.dc_n);
    if (!return_sequences) doutputs.doutputs = {};
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    Base::for_each_option(visit, Flag{"return_sequences", return_sequences}, Flag{"with_dx", with_dx},
                          Flag{"with_weights", with_weights});
  }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::when(with_dx, "dx"), gradients.dx, inputs.x);
    visit(Output::when(with_weights, "dkernel"), gradients.dkernel, inputs.kernel);
    visit(Output::when(with_weights, "drecurrent_kernel"), gradients.drecurrent_kernel, inputs.recurrent_kernel);
    visit(Output::when(with_weights && inputs.bias.present, "dbias"), gradients.dbias,
          inputs.bias.of_dtype(inputs.x.dtype));
    visit(Output::always("dh0"), gradients.dh0, Base::state());
    if (kCell == Cell::kLstm) visit(Output::always("dc0"), gradients.dc0, Base::state());
  }
  template <class... Stream>
  Status run(void* scratch, Stream... stream) const {
    return rnn_backward(plan, inputs, workspace, doutputs, gradients, scratch, stream...);
  }
};

}  // namespace fastseq

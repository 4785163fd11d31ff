// The TensorFlow ops Fastseq{Lstm,Gru,SimpleRnn}{Forward,Backward}: shapes, allocation, call.
//
// Inputs of all: x, kernel, recurrent_kernel, bias, h0, (LSTM: c0,) mask, dropout_mask, recurrent_dropout_mask;
// backward has workspace, doutputs, dlast_output, dh_n (, dc_n) after them, and then tokens (liveness_ops.cc): none, or
// one for dx and one for the weight gradients.
#include "fastseq/rnn.h"

#include <string>

#include "fastseq/names.h"
#include "liveness.h"
#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

template <Cell kCell>
constexpr bool kHasC = kCell == Cell::kLstm;

template <Cell kCell>
Names only_lstm(const char* spec) {
  return kHasC<kCell> ? Names{spec} : Names{};
}

template <Cell kCell>
Names input_specs() {
  return Names{"x: T", "kernel: T", "recurrent_kernel: T", "bias: T", "h0: T"} + only_lstm<kCell>("c0: T") +
         Names{"mask: bool", "dropout_mask: T", "recurrent_dropout_mask: T"};
}

template <Cell kCell>
Names attr_specs() {
  Names attrs = {"activation: {'tanh', 'sigmoid', 'hard_sigmoid', 'relu', 'linear'}", "go_backwards: bool",
                 "zero_output_for_mask: bool", "return_sequences: bool"};
  if (kCell != Cell::kSimpleRnn)
    attrs.push_back("recurrent_activation: {'tanh', 'sigmoid', 'hard_sigmoid', 'relu', 'linear'}");
  if (kCell == Cell::kGru) attrs.push_back("reset_after: bool");
  return attrs;
}

template <Cell kCell>
RnnInputs read_inputs(Context& context) {
  RnnInputs inputs;
  inputs.x = context.next_input();
  inputs.kernel = context.next_input();
  inputs.recurrent_kernel = context.next_input();
  inputs.bias = context.next_optional_input();
  inputs.h0 = context.next_optional_input();
  if (kHasC<kCell>) inputs.c0 = context.next_optional_input();
  inputs.mask = context.next_optional_input();
  inputs.dropout_mask = context.next_optional_input();
  inputs.recurrent_dropout_mask = context.next_optional_input();
  return inputs;
}

// What both ops are told.
template <Cell kCell>
struct CallOptions {
  explicit CallOptions(Attributes& attributes) {
    const auto activation = [&](const char* name) {
      Activation parsed = Activation::kTanh;
      attributes.check(parse_activation(name, attributes.string(name), &parsed));
      return parsed;
    };
    rnn.cell = kCell;
    rnn.activation = activation("activation");
    if (kCell != Cell::kSimpleRnn) rnn.recurrent_activation = activation("recurrent_activation");
    if (kCell == Cell::kGru) rnn.reset_after = attributes.boolean("reset_after");
    rnn.go_backwards = attributes.boolean("go_backwards");
    rnn.zero_output_for_mask = attributes.boolean("zero_output_for_mask");
    return_sequences = attributes.boolean("return_sequences");
  }

  RnnOptions rnn;
  bool return_sequences;
};

constexpr int kX = 0;
constexpr int kRecurrentKernel = 2;

// The workspace as a tensor of raw bytes, and the other way: what masked steps have of it is undefined, and whoever
// checks the numbers of all float tensors must not meet that.
Array workspace_of(const Array& bytes, const RnnDims& dims) {
  Array array = bytes;
  array.dtype = dims.dtype;
  const int64_t element = static_cast<int64_t>(dtype_bytes(dims.dtype));
  if (array.rank == 3 && array.shape[2] % element == 0) array.shape[2] /= element;
  return array;
}

// outputs, last_output, h_n (, c_n), workspace
template <Cell kCell>
class RnnForward {
 public:
  explicit RnnForward(Attributes& attributes)
      : options_(attributes), save_workspace_(attributes.boolean("save_workspace")) {}

  static void infer_shapes(Shapes& shapes) {
    TF_ShapeHandle* x = shapes.input(kX, 3);
    TF_ShapeHandle* batch = shapes.dim(x, 0);
    TF_ShapeHandle* units = shapes.dim(shapes.input(kRecurrentKernel, 2), 0);
    // Whether outputs and workspace have timesteps or 0, each for itself, and how much is saved, depends on attributes.
    int output = 0;
    shapes.set_output(output++, {batch, shapes.unknown_dim(), units});
    for (int state = 0; state < (kHasC<kCell> ? 3 : 2); ++state) shapes.set_output(output++, {batch, units});
    shapes.set_output(output, {batch, shapes.unknown_dim(), shapes.unknown_dim()});
  }

  void compute(Context& context) const {
    const RnnInputs inputs = read_inputs<kCell>(context);
    RnnPlan plan;
    if (context.ok()) context.check(rnn_plan_forward(inputs, options_.rnn, &plan));
    const RnnDims& d = plan.dims;
    const int64_t sequence = options_.return_sequences ? d.timesteps : 0;
    const int64_t saved = save_workspace_ ? d.timesteps : 0;
    RnnOutputs outputs;
    outputs.outputs = context.next_output(d.dtype, {d.batch, sequence, d.units});
    outputs.last_output = context.next_output(d.dtype, {d.batch, d.units});
    outputs.h_n = context.next_output(d.dtype, {d.batch, d.units});
    if (kHasC<kCell>) outputs.c_n = context.next_output(d.dtype, {d.batch, d.units});
    const int64_t width = rnn_workspace_width(options_.rnn, d.units) * static_cast<int64_t>(dtype_bytes(d.dtype));
    outputs.workspace = workspace_of(context.next_output(DType::kUInt8, {d.batch, saved, width}), d);
    if (!options_.return_sequences) outputs.outputs = {};
    if (!save_workspace_) outputs.workspace = {};
    void* scratch = context.scratch(plan.scratch_bytes);
    if (context.ok()) context.check(rnn_forward(plan, inputs, outputs, scratch));
  }

 private:
  CallOptions<kCell> options_;
  bool save_workspace_;
};

// dh0 (, dc0), computed (for each token), dx, dkernel, drecurrent_kernel, dbias
template <Cell kCell>
class RnnBackward {
 public:
  explicit RnnBackward(Attributes& attributes) : options_(attributes), wanted_(attributes) {}

  static void infer_shapes(Shapes& shapes) {
    TF_ShapeHandle* batch = shapes.dim(shapes.input(kX, 3), 0);
    TF_ShapeHandle* units = shapes.dim(shapes.input(kRecurrentKernel, 2), 0);
    for (int state = 0; state < (kHasC<kCell> ? 2 : 1); ++state) shapes.set_output(state, {batch, units});
    // The others are there or have no elements, by attributes and tokens, and how many tokens there are is one, too.
  }

  void compute(Context& context) const {
    const RnnInputs inputs = read_inputs<kCell>(context);
    const Array workspace = context.next_input();
    RnnOutputGradients doutputs;
    doutputs.doutputs = context.next_input();
    if (!options_.return_sequences) doutputs.doutputs = {};
    doutputs.dlast_output = context.next_input();
    doutputs.dh_n = context.next_input();
    if (kHasC<kCell>) doutputs.dc_n = context.next_input();
    RnnPlan plan;
    if (context.ok()) context.check(rnn_plan_backward(inputs, options_.rnn, &plan));
    const RnnDims& d = plan.dims;
    const int64_t columns = d.gates * d.units;
    RnnGradients gradients;
    gradients.dh0 = context.next_output(d.dtype, {d.batch, d.units});
    if (kHasC<kCell>) gradients.dc0 = context.next_output(d.dtype, {d.batch, d.units});
    const bool with_dx = wanted_.dx(context);
    const bool with_weights = wanted_.weights(context);
    const bool with_bias = with_weights && inputs.bias.present;
    gradients.dx = context.next_optional_output(with_dx, d.dtype, {d.batch, d.timesteps, d.inputs});
    gradients.dkernel = context.next_optional_output(with_weights, d.dtype, {d.inputs, columns});
    gradients.drecurrent_kernel = context.next_optional_output(with_weights, d.dtype, {d.units, columns});
    gradients.dbias = inputs.bias.rank == 2
                          ? context.next_optional_output(with_bias, d.dtype, {inputs.bias.shape[0], columns})
                          : context.next_optional_output(with_bias, d.dtype, {columns});
    void* scratch = context.scratch(plan.scratch_bytes);
    if (context.ok())
      context.check(rnn_backward(plan, inputs, workspace_of(workspace, d), doutputs, gradients, scratch));
  }

 private:
  CallOptions<kCell> options_;
  WantedGradients wanted_;
};

template <Cell kCell>
bool register_cell(const std::string& name) {
  return register_op<RnnForward<kCell>>({
             name + "Forward",
             input_specs<kCell>(),
             Names{"outputs: T", "last_output: T", "h_n: T"} + only_lstm<kCell>("c_n: T") + Names{"workspace: uint8"},
             attr_specs<kCell>() + Names{"save_workspace: bool"},
         }) &&
         register_op<RnnBackward<kCell>>({
             name + "Backward",
             input_specs<kCell>() + Names{"workspace: uint8", "doutputs: T", "dlast_output: T", "dh_n: T"} +
                 only_lstm<kCell>("dc_n: T") + Names{"token: tokens * uint8"},
             Names{"dh0: T"} + only_lstm<kCell>("dc0: T") +
                 Names{"computed: tokens * uint8", "dx: T", "dkernel: T", "drecurrent_kernel: T", "dbias: T"},
             attr_specs<kCell>() + WantedGradients::attrs(),
         });
}

const bool kRegistered = register_cell<Cell::kLstm>("FastseqLstm") && register_cell<Cell::kGru>("FastseqGru") &&
                         register_cell<Cell::kSimpleRnn>("FastseqSimpleRnn");

}  // namespace
}  // namespace fastseq::tensorflow

// The TensorFlow ops FastseqLstmForward and FastseqLstmBackward: shapes, allocation, call.
#include "fastseq/lstm.h"

#include "op_support.h"

namespace fastseq::tensorflow {
namespace {

enum Input { kX, kKernel, kRecurrentKernel, kBias, kH0, kC0, kMask, kDropoutMask, kRecurrentDropoutMask, kInputs };

const std::vector<const char*> kInputSpecs = {
    "x: T", "kernel: T", "recurrent_kernel: T", "bias: T",         "h0: T",
    "c0: T", "mask: bool", "dropout_mask: T",   "recurrent_dropout_mask: T"};

LstmInputs read_inputs(Context& context) {
  LstmInputs inputs;
  inputs.x = context.input(kX);
  inputs.kernel = context.input(kKernel);
  inputs.recurrent_kernel = context.input(kRecurrentKernel);
  inputs.bias = context.optional_input(kBias);
  inputs.h0 = context.optional_input(kH0);
  inputs.c0 = context.optional_input(kC0);
  inputs.mask = context.optional_input(kMask);
  inputs.dropout_mask = context.optional_input(kDropoutMask);
  inputs.recurrent_dropout_mask = context.optional_input(kRecurrentDropoutMask);
  return inputs;
}

struct Attributes {
  LstmOptions options;
  bool return_sequences = false;
  bool save_workspace = false;
};

// Those that both ops have.
Attributes* read_attributes(TF_OpKernelConstruction* construction) {
  auto* attributes = new Attributes;
  attributes->options.go_backwards = bool_attr(construction, "go_backwards");
  attributes->options.zero_output_for_mask = bool_attr(construction, "zero_output_for_mask");
  attributes->return_sequences = bool_attr(construction, "return_sequences");
  return attributes;
}

void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// --- forward ----------------------------------------------------------------------------------------------------------

void* create_forward(TF_OpKernelConstruction* construction) {
  Attributes* attributes = read_attributes(construction);
  attributes->save_workspace = bool_attr(construction, "save_workspace");
  return attributes;
}

void infer_forward(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shapes shapes(context, status);
  TF_ShapeHandle* x = shapes.input(kX, 3);
  TF_ShapeHandle* recurrent_kernel = shapes.input(kRecurrentKernel, 2);
  TF_ShapeHandle* batch = shapes.dim(x, 0);
  TF_ShapeHandle* units = shapes.dim(recurrent_kernel, 0);
  // Whether these have timesteps or 0 depends on attributes, which the C API does not show here.
  TF_ShapeHandle* timesteps = shapes.unknown_dim();
  shapes.set_output(0, {batch, timesteps, units});
  for (const int index : {1, 2, 3}) shapes.set_output(index, {batch, units});
  shapes.set_output(4, {batch, timesteps, shapes.dim(recurrent_kernel, 1)});
  shapes.set_output(5, {batch, timesteps, units});
}

void compute_forward(void* opaque, TF_OpKernelContext* raw) {
  const auto& attributes = *static_cast<const Attributes*>(opaque);
  run_kernel(raw, [&](Context& context) {
    const LstmInputs inputs = read_inputs(context);
    LstmPlan plan;
    if (context.ok()) context.check(lstm_plan_forward(inputs, attributes.options, attributes.save_workspace, &plan));
    const LstmDims& d = plan.dims;
    const int64_t sequence = attributes.return_sequences ? d.timesteps : 0;
    const int64_t saved = attributes.save_workspace ? d.timesteps : 0;
    LstmOutputs outputs;
    outputs.outputs = context.output(0, d.dtype, {d.batch, sequence, d.units});
    outputs.last_output = context.output(1, d.dtype, {d.batch, d.units});
    outputs.h_n = context.output(2, d.dtype, {d.batch, d.units});
    outputs.c_n = context.output(3, d.dtype, {d.batch, d.units});
    outputs.gates = context.output(4, d.dtype, {d.batch, saved, 4 * d.units});
    outputs.cells = context.output(5, d.dtype, {d.batch, saved, d.units});
    if (!attributes.return_sequences) outputs.outputs = {};
    if (!attributes.save_workspace) outputs.gates = outputs.cells = {};
    void* scratch = context.scratch(plan.scratch_bytes, kScratchAlignment);
    if (context.ok()) context.check(lstm_forward(plan, inputs, outputs, scratch));
  });
}

// --- backward ---------------------------------------------------------------------------------------------------------

void* create_backward(TF_OpKernelConstruction* construction) { return read_attributes(construction); }

void infer_backward(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shapes shapes(context, status);
  TF_ShapeHandle* x = shapes.input(kX, 3);
  TF_ShapeHandle* recurrent_kernel = shapes.input(kRecurrentKernel, 2);
  shapes.set_output_like(0, x);
  shapes.set_output_like(1, shapes.input(kKernel, 2));
  shapes.set_output_like(2, recurrent_kernel);
  shapes.set_output_like(3, shapes.input(kBias, 1));
  for (const int index : {4, 5}) shapes.set_output(index, {shapes.dim(x, 0), shapes.dim(recurrent_kernel, 0)});
}

void compute_backward(void* opaque, TF_OpKernelContext* raw) {
  const auto& attributes = *static_cast<const Attributes*>(opaque);
  run_kernel(raw, [&](Context& context) {
    const LstmInputs inputs = read_inputs(context);
    const LstmWorkspace workspace{context.input(kInputs), context.input(kInputs + 1)};
    LstmOutputGradients doutputs;
    if (attributes.return_sequences) doutputs.doutputs = context.input(kInputs + 2);
    doutputs.dlast_output = context.input(kInputs + 3);
    doutputs.dh_n = context.input(kInputs + 4);
    doutputs.dc_n = context.input(kInputs + 5);
    LstmPlan plan;
    if (context.ok()) context.check(lstm_plan_backward(inputs, attributes.options, &plan));
    const LstmDims& d = plan.dims;
    LstmGradients gradients;
    gradients.dx = context.output(0, d.dtype, {d.batch, d.timesteps, d.inputs});
    gradients.dkernel = context.output(1, d.dtype, {d.inputs, 4 * d.units});
    gradients.drecurrent_kernel = context.output(2, d.dtype, {d.units, 4 * d.units});
    gradients.dbias = context.output(3, d.dtype, {inputs.bias.present ? 4 * d.units : 0});
    gradients.dh0 = context.output(4, d.dtype, {d.batch, d.units});
    gradients.dc0 = context.output(5, d.dtype, {d.batch, d.units});
    if (!inputs.bias.present) gradients.dbias = {};
    void* scratch = context.scratch(plan.scratch_bytes, kScratchAlignment);
    if (context.ok()) context.check(lstm_backward(plan, inputs, workspace, doutputs, gradients, scratch));
  });
}

std::vector<const char*> operator+(std::vector<const char*> all, const std::vector<const char*>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

const bool kForwardRegistered = register_op({
    "FastseqLstmForward",
    kInputSpecs,
    {"outputs: T", "last_output: T", "h_n: T", "c_n: T", "gates: T", "cells: T"},
    {"go_backwards: bool", "zero_output_for_mask: bool", "return_sequences: bool", "save_workspace: bool"},
    infer_forward,
    create_forward,
    compute_forward,
    destroy,
});

const bool kBackwardRegistered = register_op({
    "FastseqLstmBackward",
    kInputSpecs + std::vector<const char*>{"gates: T", "cells: T", "doutputs: T", "dlast_output: T", "dh_n: T",
                                           "dc_n: T"},
    {"dx: T", "dkernel: T", "drecurrent_kernel: T", "dbias: T", "dh0: T", "dc0: T"},
    {"go_backwards: bool", "zero_output_for_mask: bool", "return_sequences: bool"},
    infer_backward,
    create_backward,
    compute_backward,
    destroy,
});

}  // namespace
}  // namespace fastseq::tensorflow

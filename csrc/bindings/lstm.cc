// lstm_forward and lstm_backward over NumPy arrays: check, allocate, drop the GIL, call.
#include "fastseq/lstm.h"

#include "arrays.h"
#include "module.h"

namespace fastseq::bindings {
namespace {

LstmInputs view_inputs(const py::object& x, const py::object& kernel, const py::object& recurrent_kernel,
                       const py::object& bias, const py::object& h0, const py::object& c0, const py::object& mask,
                       const py::object& dropout_mask, const py::object& recurrent_dropout_mask) {
  LstmInputs inputs;
  inputs.x = view("x", x);
  inputs.kernel = view("kernel", kernel);
  inputs.recurrent_kernel = view("recurrent_kernel", recurrent_kernel);
  inputs.bias = view("bias", bias);
  inputs.h0 = view("h0", h0);
  inputs.c0 = view("c0", c0);
  inputs.mask = view("mask", mask, "bool");
  inputs.dropout_mask = view("dropout_mask", dropout_mask);
  inputs.recurrent_dropout_mask = view("recurrent_dropout_mask", recurrent_dropout_mask);
  return inputs;
}

py::tuple lstm_forward_numpy(const py::object& x, const py::object& kernel, const py::object& recurrent_kernel,
                             const py::object& bias, const py::object& h0, const py::object& c0,
                             const py::object& mask, const py::object& dropout_mask,
                             const py::object& recurrent_dropout_mask, bool go_backwards, bool zero_output_for_mask,
                             bool return_sequences, bool save_workspace) {
  const LstmInputs inputs =
      view_inputs(x, kernel, recurrent_kernel, bias, h0, c0, mask, dropout_mask, recurrent_dropout_mask);
  LstmPlan plan;
  raise_if_error(lstm_plan_forward(inputs, {go_backwards, zero_output_for_mask}, save_workspace, &plan));
  const LstmDims& d = plan.dims;
  LstmOutputs views;
  py::object outputs = py::none();
  py::object gates = py::none();
  py::object cells = py::none();
  if (return_sequences) outputs = make_array(d.dtype, {d.batch, d.timesteps, d.units}, &views.outputs);
  py::array last_output = make_array(d.dtype, {d.batch, d.units}, &views.last_output);
  py::array h_n = make_array(d.dtype, {d.batch, d.units}, &views.h_n);
  py::array c_n = make_array(d.dtype, {d.batch, d.units}, &views.c_n);
  if (save_workspace) {
    gates = make_array(d.dtype, {d.batch, d.timesteps, 4 * d.units}, &views.gates);
    cells = make_array(d.dtype, {d.batch, d.timesteps, d.units}, &views.cells);
  }
  const ScratchMemory scratch(plan.scratch_bytes, kScratchAlignment);
  Status status;
  {
    const py::gil_scoped_release release;
    status = lstm_forward(plan, inputs, views, scratch.get());
  }
  raise_if_error(status);
  return py::make_tuple(outputs, last_output, h_n, c_n, gates, cells);
}

py::tuple lstm_backward_numpy(const py::object& x, const py::object& kernel, const py::object& recurrent_kernel,
                              const py::object& bias, const py::object& h0, const py::object& c0,
                              const py::object& mask, const py::object& dropout_mask,
                              const py::object& recurrent_dropout_mask, bool go_backwards, bool zero_output_for_mask,
                              const py::object& gates, const py::object& cells, const py::object& doutputs,
                              const py::object& dlast_output, const py::object& dh_n, const py::object& dc_n) {
  const LstmInputs inputs =
      view_inputs(x, kernel, recurrent_kernel, bias, h0, c0, mask, dropout_mask, recurrent_dropout_mask);
  LstmPlan plan;
  raise_if_error(lstm_plan_backward(inputs, {go_backwards, zero_output_for_mask}, &plan));
  const LstmDims& d = plan.dims;
  const LstmWorkspace workspace{view("gates", gates), view("cells", cells)};
  const LstmOutputGradients output_gradients{view("doutputs", doutputs), view("dlast_output", dlast_output),
                                             view("dh_n", dh_n), view("dc_n", dc_n)};
  LstmGradients views;
  py::object dbias = py::none();
  py::array dx = make_array(d.dtype, {d.batch, d.timesteps, d.inputs}, &views.dx);
  py::array dkernel = make_array(d.dtype, {d.inputs, 4 * d.units}, &views.dkernel);
  py::array drecurrent_kernel = make_array(d.dtype, {d.units, 4 * d.units}, &views.drecurrent_kernel);
  if (inputs.bias.present) dbias = make_array(d.dtype, {4 * d.units}, &views.dbias);
  py::array dh0 = make_array(d.dtype, {d.batch, d.units}, &views.dh0);
  py::array dc0 = make_array(d.dtype, {d.batch, d.units}, &views.dc0);
  const ScratchMemory scratch(plan.scratch_bytes, kScratchAlignment);
  Status status;
  {
    const py::gil_scoped_release release;
    status = lstm_backward(plan, inputs, workspace, output_gradients, views, scratch.get());
  }
  raise_if_error(status);
  return py::make_tuple(dx, dkernel, drecurrent_kernel, dbias, dh0, dc0);
}

}  // namespace

void bind_lstm(py::module_& module) {
  module.def("lstm_forward", &lstm_forward_numpy, py::arg("x"), py::arg("kernel"), py::arg("recurrent_kernel"),
             py::arg("bias"), py::arg("h0"), py::arg("c0"), py::arg("mask"), py::arg("dropout_mask"),
             py::arg("recurrent_dropout_mask"), py::arg("go_backwards"), py::arg("zero_output_for_mask"),
             py::arg("return_sequences"), py::arg("save_workspace"));
  module.def("lstm_backward", &lstm_backward_numpy, py::arg("x"), py::arg("kernel"), py::arg("recurrent_kernel"),
             py::arg("bias"), py::arg("h0"), py::arg("c0"), py::arg("mask"), py::arg("dropout_mask"),
             py::arg("recurrent_dropout_mask"), py::arg("go_backwards"), py::arg("zero_output_for_mask"),
             py::arg("gates"), py::arg("cells"), py::arg("doutputs"), py::arg("dlast_output"), py::arg("dh_n"),
             py::arg("dc_n"));
}

}  // namespace fastseq::bindings

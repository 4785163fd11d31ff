// The recurrent ops on any device: check, allocate, drop the GIL, call.
#pragma once

#include "fastseq/rnn.h"

#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "fastseq/names.h"

namespace fastseq::bindings {

// The arguments that forward and backward share, in the order in which Python gives them.
struct RnnArguments {
  py::object x, kernel, recurrent_kernel, bias, h0, c0, mask, dropout_mask, recurrent_dropout_mask;
  std::string activation, recurrent_activation;
  bool reset_after, go_backwards, zero_output_for_mask;

  template <class Device>
  RnnInputs inputs(const Device& device) const {
    RnnInputs views;
    views.x = device.floats("x", x);
    views.kernel = device.floats("kernel", kernel);
    views.recurrent_kernel = device.floats("recurrent_kernel", recurrent_kernel);
    views.bias = device.floats("bias", bias);
    views.h0 = device.floats("h0", h0);
    views.c0 = device.floats("c0", c0);
    views.mask = device.mask("mask", mask);
    views.dropout_mask = device.floats("dropout_mask", dropout_mask);
    views.recurrent_dropout_mask = device.floats("recurrent_dropout_mask", recurrent_dropout_mask);
    return views;
  }
  RnnOptions options(Cell cell) const {
    RnnOptions all{cell, {}, {}, reset_after, go_backwards, zero_output_for_mask};
    raise_if_error(parse_activation("activation", activation, &all.activation));
    raise_if_error(parse_activation("recurrent_activation", recurrent_activation, &all.recurrent_activation));
    return all;
  }
};

template <class Device, Cell kCell>
py::tuple run_rnn_forward(const Device& device, const RnnArguments& arguments, bool return_sequences,
                          bool save_workspace) {
  const RnnInputs inputs = arguments.inputs(device);
  typename Device::RnnPlan plan;
  const RnnOptions options = arguments.options(kCell);
  device.plan([&](auto... how) { return rnn_plan_forward(inputs, options, how..., &plan); });
  const RnnDims& d = plan.dims;
  RnnOutputs views;
  py::object outputs = py::none();
  py::object c_n = py::none();
  py::object workspace = py::none();
  if (return_sequences) outputs = device.make(d.dtype, {d.batch, d.timesteps, d.units}, &views.outputs);
  py::object last_output = device.make(d.dtype, {d.batch, d.units}, &views.last_output);
  py::object h_n = device.make(d.dtype, {d.batch, d.units}, &views.h_n);
  if (kCell == Cell::kLstm) c_n = device.make(d.dtype, {d.batch, d.units}, &views.c_n);
  if (save_workspace)
    workspace = device.make(Device::workspace_dtype(d.dtype),
                            {d.batch, d.timesteps, Device::workspace_width(plan.options, d.units)}, &views.workspace);
  device.run(plan.scratch_bytes,
             [&](void* scratch, auto... stream) { return rnn_forward(plan, inputs, views, scratch, stream...); });
  return py::make_tuple(device.result(outputs), device.result(last_output), device.result(h_n), device.result(c_n),
                        device.result(workspace));
}

template <class Device, Cell kCell>
py::tuple run_rnn_backward(const Device& device, const RnnArguments& arguments, const py::object& workspace,
                           const py::object& doutputs, const py::object& dlast_output, const py::object& dh_n,
                           const py::object& dc_n) {
  const RnnInputs inputs = arguments.inputs(device);
  typename Device::RnnPlan plan;
  const RnnOptions options = arguments.options(kCell);
  device.plan([&](auto... how) { return rnn_plan_backward(inputs, options, how..., &plan); });
  const RnnDims& d = plan.dims;
  const Array saved = device.floats("workspace", workspace);
  const RnnOutputGradients output_gradients{device.floats("doutputs", doutputs),
                                            device.floats("dlast_output", dlast_output), device.floats("dh_n", dh_n),
                                            device.floats("dc_n", dc_n)};
  RnnGradients views;
  py::object dbias = py::none();
  py::object dc0 = py::none();
  py::object dx = device.make(d.dtype, {d.batch, d.timesteps, d.inputs}, &views.dx);
  py::object dkernel = device.make(d.dtype, {d.inputs, d.gates * d.units}, &views.dkernel);
  py::object drecurrent_kernel = device.make(d.dtype, {d.units, d.gates * d.units}, &views.drecurrent_kernel);
  if (inputs.bias.present) {
    const std::vector<int64_t> shape(inputs.bias.shape, inputs.bias.shape + inputs.bias.rank);
    dbias = device.make(d.dtype, shape, &views.dbias);
  }
  py::object dh0 = device.make(d.dtype, {d.batch, d.units}, &views.dh0);
  if (kCell == Cell::kLstm) dc0 = device.make(d.dtype, {d.batch, d.units}, &views.dc0);
  device.run(plan.scratch_bytes, [&](void* scratch, auto... stream) {
    return rnn_backward(plan, inputs, saved, output_gradients, views, scratch, stream...);
  });
  return py::make_tuple(device.result(dx), device.result(dkernel), device.result(drecurrent_kernel),
                        device.result(dbias), device.result(dh0), device.result(dc0));
}

template <Cell kCell, class Device>
void bind_cell(py::class_<Device>& device, const std::string& name) {
  device.def((name + "_forward").c_str(), &run_rnn_forward<Device, kCell>, py::arg("arguments"),
             py::arg("return_sequences"), py::arg("save_workspace"));
  device.def((name + "_backward").c_str(), &run_rnn_backward<Device, kCell>, py::arg("arguments"), py::arg("workspace"),
             py::arg("doutputs"), py::arg("dlast_output"), py::arg("dh_n"), py::arg("dc_n"));
}

// As methods of the device's class.
template <class Device>
void bind_rnn(py::class_<Device>& device) {
  py::class_<RnnArguments>(device, "RnnArguments", py::module_local())
      .def(py::init([](py::object x, py::object kernel, py::object recurrent_kernel, py::object bias, py::object h0,
                       py::object c0, py::object mask, py::object dropout_mask, py::object recurrent_dropout_mask,
                       std::string activation, std::string recurrent_activation, bool reset_after, bool go_backwards,
                       bool zero_output_for_mask) {
             return RnnArguments{std::move(x),
                                 std::move(kernel),
                                 std::move(recurrent_kernel),
                                 std::move(bias),
                                 std::move(h0),
                                 std::move(c0),
                                 std::move(mask),
                                 std::move(dropout_mask),
                                 std::move(recurrent_dropout_mask),
                                 std::move(activation),
                                 std::move(recurrent_activation),
                                 reset_after,
                                 go_backwards,
                                 zero_output_for_mask};
           }),
           py::kw_only(), py::arg("x"), py::arg("kernel"), py::arg("recurrent_kernel"), py::arg("bias"), py::arg("h0"),
           py::arg("c0") = py::none(), py::arg("mask"), py::arg("dropout_mask"), py::arg("recurrent_dropout_mask"),
           py::arg("activation"), py::arg("recurrent_activation") = "sigmoid", py::arg("reset_after") = true,
           py::arg("go_backwards"), py::arg("zero_output_for_mask"));
  bind_cell<Cell::kLstm>(device, "lstm");
  bind_cell<Cell::kGru>(device, "gru");
  bind_cell<Cell::kSimpleRnn>(device, "simple_rnn");
}

}  // namespace fastseq::bindings

// The convolution on any device: check, allocate, drop the GIL, call.
#pragma once

#include "fastseq/conv1d.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "fastseq/names.h"

namespace fastseq::bindings {

// The arguments that forward and backward share.
struct Conv1dArguments {
  py::object x, kernel, bias;
  std::string activation, padding;
  int64_t strides, dilation_rate, groups;
  std::optional<int64_t> pool_size;  // without, no pooling
  int64_t pool_strides;
  std::string pool_padding;

  template <class Device>
  Conv1dInputs inputs(const Device& device) const {
    return {device.floats("x", x), device.floats("kernel", kernel), device.floats("bias", bias)};
  }
  Conv1dOptions options() const {
    Conv1dOptions all;
    raise_if_error(parse_activation("activation", activation, &all.activation));
    raise_if_error(parse_padding("padding", padding, &all.padding));
    all.strides = strides;
    all.dilation_rate = dilation_rate;
    all.groups = groups;
    all.pooled = pool_size.has_value();
    all.pool = {pool_size.value_or(1), pool_strides, {}};
    raise_if_error(parse_padding("pool_padding", pool_padding, &all.pool.padding));
    return all;
  }
};

template <class Device>
py::tuple run_conv1d_forward(const Device& device, const Conv1dArguments& arguments, bool save_argmax) {
  const Conv1dInputs inputs = arguments.inputs(device);
  typename Device::Conv1dPlan plan;
  const Conv1dOptions options = arguments.options();
  device.plan([&](auto... how) { return conv1d_plan_forward(inputs, options, how..., &plan); });
  const Conv1dDims& d = plan.dims;
  const std::vector<int64_t> shape = {d.batch, d.outputs, d.filters};
  Conv1dOutputs views;
  const py::object outputs = device.make(d.dtype, shape, &views.outputs);
  py::object argmax = py::none();
  if (plan.options.pooled && save_argmax)
    argmax = device.make(max_pool_index_dtype(plan.options.pool.pool_size), shape, &views.argmax);
  device.run(plan.scratch_bytes,
             [&](void* scratch, auto... stream) { return conv1d_forward(plan, inputs, views, scratch, stream...); });
  return py::make_tuple(device.result(outputs), device.result(argmax));
}

template <class Device>
py::tuple run_conv1d_backward(const Device& device, const Conv1dArguments& arguments, const py::object& outputs,
                              const py::object& argmax, const py::object& doutputs) {
  const Conv1dInputs inputs = arguments.inputs(device);
  typename Device::Conv1dPlan plan;
  const Conv1dOptions options = arguments.options();
  device.plan([&](auto... how) { return conv1d_plan_backward(inputs, options, how..., &plan); });
  const Conv1dDims& d = plan.dims;
  const Conv1dOutputs saved{device.floats("outputs", outputs), device.argmax("argmax", argmax)};
  const Array incoming = device.floats("doutputs", doutputs);
  Conv1dGradients views;
  py::object dx = device.make(d.dtype, {d.batch, d.timesteps, d.channels}, &views.dx);
  py::object dkernel = device.make(d.dtype, {d.width, d.channels / plan.options.groups, d.filters}, &views.dkernel);
  py::object dbias = py::none();
  if (inputs.bias.present) dbias = device.make(d.dtype, {d.filters}, &views.dbias);
  device.run(plan.scratch_bytes, [&](void* scratch, auto... stream) {
    return conv1d_backward(plan, inputs, saved, incoming, views, scratch, stream...);
  });
  return py::make_tuple(device.result(dx), device.result(dkernel), device.result(dbias));
}

// As methods of the device's class.
template <class Device>
void bind_conv1d(py::class_<Device>& device) {
  py::class_<Conv1dArguments>(device, "Conv1dArguments", py::module_local())
      .def(py::init([](py::object x, py::object kernel, py::object bias, std::string activation, std::string padding,
                       int64_t strides, int64_t dilation_rate, int64_t groups, std::optional<int64_t> pool_size,
                       int64_t pool_strides, std::string pool_padding) {
             return Conv1dArguments{
                 std::move(x),       std::move(kernel), std::move(bias),        std::move(activation),
                 std::move(padding), strides,           dilation_rate,          groups,
                 pool_size,          pool_strides,      std::move(pool_padding)};
           }),
           py::kw_only(), py::arg("x"), py::arg("kernel"), py::arg("bias"), py::arg("activation"), py::arg("padding"),
           py::arg("strides"), py::arg("dilation_rate"), py::arg("groups"), py::arg("pool_size") = py::none(),
           py::arg("pool_strides") = 1, py::arg("pool_padding") = "valid");
  device.def("conv1d_forward", &run_conv1d_forward<Device>, py::arg("arguments"), py::arg("save_argmax"));
  device.def("conv1d_backward", &run_conv1d_backward<Device>, py::arg("arguments"), py::arg("outputs"),
             py::arg("argmax"), py::arg("doutputs"));
}

}  // namespace fastseq::bindings

// Max pooling on any device: check, allocate, drop the GIL, call.
#pragma once

#include "fastseq/pool.h"

#include <pybind11/pybind11.h>

#include <string>

#include "errors.h"
#include "fastseq/names.h"

namespace fastseq::bindings {

inline PoolOptions pool_options(int64_t pool_size, int64_t strides, const std::string& padding) {
  PoolOptions options{pool_size, strides, {}};
  raise_if_error(parse_padding("padding", padding, &options.padding));
  return options;
}

template <class Device>
py::tuple run_max_pool_forward(const Device& device, const py::object& x, int64_t pool_size, int64_t strides,
                               const std::string& padding, bool save_argmax) {
  const Array input = device.floats("x", x);
  const PoolOptions options = pool_options(pool_size, strides, padding);
  typename Device::PoolPlan plan;
  raise_if_error(pool_plan_forward(input, options, &plan));
  const PoolDims& d = plan.dims;
  Array outputs_view;
  Array argmax_view;
  const py::object outputs = device.make(d.dtype, {d.batch, d.pooled, d.channels}, &outputs_view);
  py::object argmax = py::none();
  if (save_argmax) argmax = device.make(max_pool_index_dtype(pool_size), {d.batch, d.pooled, d.channels}, &argmax_view);
  device.run(
      0, [&](void*, auto... stream) { return max_pool_forward(plan, input, outputs_view, argmax_view, stream...); });
  return py::make_tuple(device.result(outputs), device.result(argmax));
}

template <class Device>
py::object run_max_pool_backward(const Device& device, const py::object& argmax, const py::object& doutputs,
                                 int64_t timesteps, int64_t pool_size, int64_t strides, const std::string& padding) {
  const Array taken = device.argmax("argmax", argmax);
  const Array gradient = device.floats("doutputs", doutputs);
  const PoolOptions options = pool_options(pool_size, strides, padding);
  typename Device::PoolPlan plan;
  raise_if_error(pool_plan_backward(gradient, timesteps, options, &plan));
  const PoolDims& d = plan.dims;
  Array dx_view;
  const py::object dx = device.make(d.dtype, {d.batch, d.timesteps, d.channels}, &dx_view);
  device.run(0, [&](void*, auto... stream) { return max_pool_backward(plan, taken, gradient, dx_view, stream...); });
  return device.result(dx);
}

// As methods of the device's class.
template <class Device>
void bind_max_pool(py::class_<Device>& device) {
  device.def("max_pool_forward", &run_max_pool_forward<Device>, py::arg("x"), py::arg("pool_size"), py::arg("strides"),
             py::arg("padding"), py::arg("save_argmax"));
  device.def("max_pool_backward", &run_max_pool_backward<Device>, py::arg("argmax"), py::arg("doutputs"),
             py::arg("timesteps"), py::arg("pool_size"), py::arg("strides"), py::arg("padding"));
}

}  // namespace fastseq::bindings

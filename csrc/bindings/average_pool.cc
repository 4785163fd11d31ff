// Average pooling over NumPy arrays: check, allocate, drop the GIL, call.
#include "arrays.h"
#include "module.h"
#include "pool.h"

namespace fastseq::bindings {
namespace {

int64_t pooled_timesteps_python(int64_t timesteps, int64_t pool_size, int64_t strides, const std::string& padding) {
  int64_t pooled = 0;
  raise_if_error(pooled_timesteps(pool_options(pool_size, strides, padding), timesteps, &pooled));
  return pooled;
}

py::array average_pool_forward_numpy(const Cpu&, const py::object& x, int64_t pool_size, int64_t strides,
                                     const std::string& padding) {
  const Array input = view("x", x);
  PoolPlan plan;
  raise_if_error(pool_plan_forward(input, pool_options(pool_size, strides, padding), &plan));
  const PoolDims& d = plan.dims;
  Array outputs_view;
  const py::array outputs = make_array(d.dtype, {d.batch, d.pooled, d.channels}, &outputs_view);
  without_gil([&] { return average_pool_forward(plan, input, outputs_view); });
  return outputs;
}

py::array average_pool_backward_numpy(const Cpu&, const py::object& doutputs, int64_t timesteps, int64_t pool_size,
                                      int64_t strides, const std::string& padding) {
  const Array gradient = view("doutputs", doutputs);
  PoolPlan plan;
  raise_if_error(pool_plan_backward(gradient, timesteps, pool_options(pool_size, strides, padding), &plan));
  const PoolDims& d = plan.dims;
  Array dx_view;
  const py::array dx = make_array(d.dtype, {d.batch, d.timesteps, d.channels}, &dx_view);
  without_gil([&] { return average_pool_backward(plan, gradient, dx_view); });
  return dx;
}

}  // namespace

void bind_average_pool(py::module_& module, py::class_<Cpu>& cpu) {
  module.def("pooled_timesteps", &pooled_timesteps_python, py::arg("timesteps"), py::arg("pool_size"),
             py::arg("strides"), py::arg("padding"));
  cpu.def("average_pool_forward", &average_pool_forward_numpy, py::arg("x"), py::arg("pool_size"), py::arg("strides"),
          py::arg("padding"));
  cpu.def("average_pool_backward", &average_pool_backward_numpy, py::arg("doutputs"), py::arg("timesteps"),
          py::arg("pool_size"), py::arg("strides"), py::arg("padding"));
}

}  // namespace fastseq::bindings

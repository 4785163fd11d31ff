// The extension module fastseq._cuda: the ops that have kernels for NVIDIA GPUs, for arrays in a GPU's memory. Its
// classes are local to the module (module_local), so that the tests can also load a module with an emulated GPU.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "device_array.h"
#include "fastseq/cuda.h"
#include "gpu.h"
#include "operations.h"
#include "xla/gpu.h"

namespace fastseq::bindings {

namespace {

// Shapes of a call on the current GPU.
struct PlannedOnGpu : ShapesOnly {
  template <class Operation>
  void plan(Operation& operation) const {
    raise_if_error(operation.make_plan(cuda::Precision::kFloat32));
  }
};

}  // namespace

PYBIND11_MODULE(_cuda, module) {
  module.def("device_count", [] {
    std::string reason;
    const int devices = cuda::device_count(&reason);
    return py::make_tuple(devices, reason);
  });
  module.def(
      "device_info",
      [](int device) {
        cuda::DeviceInfo info;
        raise_if_error(cuda::device_info(device, &info));
        return py::make_tuple(info.name, py::make_tuple(info.major, info.minor), info.multiprocessors,
                              info.memory_bytes, info.driver, info.runtime);
      },
      py::arg("device"));
  module.def(
      "device_of",
      [](uintptr_t address) {
        int device = 0;
        raise_if_error(cuda::device_of(reinterpret_cast<const void*>(address), &device));
        return device;
      },
      py::arg("address"));
  module.def("look_for_libraries_in", &cuda::look_for_libraries_in, py::arg("folders"));

  py::class_<DeviceArray>(module, "DeviceArray", py::module_local())
      .def_property_readonly("shape", &DeviceArray::shape)
      .def_property_readonly("dtype", &DeviceArray::dtype)
      .def("__dlpack__", &DeviceArray::dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", &DeviceArray::dlpack_device)
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::cuda_array_interface);

  py::class_<Gpu> gpu(module, "Gpu", py::module_local());
  gpu.def(py::init<int, uintptr_t, py::object, bool, bool>(), py::kw_only(), py::arg("device"), py::arg("stream"),
          py::arg("stream_owner"), py::arg("tf32"), py::arg("wait"));
  using Operations = DeviceOperations<cuda::RnnPlan, cuda::Conv1dPlan, cuda::PoolPlan>;
  module.def("operations", &Operations::names);
  module.def("output_shapes", &output_shapes<PlannedOnGpu, Operations>, py::arg("operation"), py::arg("arguments"));
  module.def("xla_handlers", &xla_handlers<xla::Gpu, Operations>);
  gpu.def("compute", &compute<Operations, Gpu>, py::arg("operation"), py::arg("arguments"));
}

}  // namespace fastseq::bindings

// A GPU as a place to compute: what Cpu (arrays.h) is for the CPU.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device_array.h"
#include "errors.h"
#include "fastseq/cuda.h"
#include "fastseq/memory.h"

namespace fastseq::bindings {

// One call's. `export_array(name, array)` gives what view_exported takes; `hand_over(DeviceArray)` makes the caller's
// array of a result.
class Gpu {
 public:
  using RnnPlan = cuda::RnnPlan;
  using Conv1dPlan = cuda::Conv1dPlan;
  using PoolPlan = cuda::PoolPlan;

  Gpu(int device, uintptr_t stream, py::object stream_owner, bool tf32, bool wait, py::object export_array,
      py::object hand_over)
      : device_(device),
        stream_(stream_of(stream)),
        stream_owner_(std::move(stream_owner)),
        precision_(tf32 ? cuda::Precision::kTf32 : cuda::Precision::kFloat32),
        wait_(wait),
        export_array_(std::move(export_array)),
        hand_over_(std::move(hand_over)) {}

  static DType workspace_dtype(DType) { return DType::kFloat32; }
  static int64_t workspace_width(const RnnOptions& options, int64_t units) {
    return cuda::rnn_workspace_width(options, units);
  }

  Array floats(const char* name, const py::object& object) const {
    return view(name, object, "float32, float16 or bfloat16");
  }
  Array mask(const char* name, const py::object& object) const {
    Array array = view(name, object, "bool or uint8");
    // How DLPack had bools before it had a code for them.
    if (array.dtype == DType::kUInt8) array.dtype = DType::kBool;
    return array;
  }
  Array argmax(const char* name, const py::object& object) const {
    return view(name, object, "uint8, uint16 or int32");
  }

  py::object make(DType dtype, const std::vector<int64_t>& shape, Array* view) const {
    const size_t bytes = array_bytes(dtype, shape.data(), static_cast<int>(shape.size()));
    auto memory = std::make_shared<const DeviceMemory>(bytes, device_, stream_, stream_owner_);
    view->present = true;
    view->dtype = dtype;
    view->data = memory->get();
    view->rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), view->shape);
    return py::cast(DeviceArray(dtype, shape, std::move(memory)));
  }

  template <class Op>
  void plan(const Op& op) const {
    const cuda::CurrentDevice current(device_);
    raise_if_error(op(precision_));
  }

  template <class Op>
  void run(size_t scratch_bytes, const Op& op) const {
    without_gil([&] {
      const cuda::CurrentDevice current(device_);
      void* scratch = nullptr;
      Status status = cuda::take_memory(scratch_bytes, stream_, &scratch);
      if (status.ok()) status = op(scratch, stream_);
      cuda::give_memory_back(scratch, stream_);
      if (!wait_) return status;
      // After a failure too: what is queued already reads the arguments.
      const Status done = cuda::synchronize(stream_);
      return status.ok() ? done : status;
    });
  }

  // Of an op that only Cpu has.
  py::type_error has_no(const std::string& op) const {
    return py::type_error(
        op + " computes on the CPU only, over NumPy arrays; its arguments are on cuda:" + std::to_string(device_));
  }

  py::object result(const py::object& made) const { return made.is_none() ? made : hand_over_(made); }

 private:
  Array view(const char* name, const py::object& object, const char* dtypes) const {
    if (object.is_none()) return {};
    exported_.push_back(export_array_(name, object));
    const cuda::CurrentDevice current(device_);
    return view_exported(name, exported_.back(), dtypes, stream_);
  }

  int device_;
  cuda::Stream stream_;
  py::object stream_owner_;
  cuda::Precision precision_;
  bool wait_;
  py::object export_array_;
  py::object hand_over_;
  mutable std::vector<py::object> exported_;  // keeps the arguments' memory until the call has been queued
};

}  // namespace fastseq::bindings

// A GPU as a device of the bindings, like Cpu (arrays.h).
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <utility>

#include "arrays.h"
#include "device_array.h"
#include "errors.h"
#include "fastseq/cuda.h"
#include "fastseq/memory.h"

namespace fastseq::bindings {

// The device and stream of one call. Its arguments are those of view_exported, its results are DeviceArrays.
class Gpu {
 public:
  Gpu(int device, uintptr_t stream, py::object stream_owner, bool tf32, bool wait)
      : device_(device),
        stream_(stream_of(stream)),
        stream_owner_(std::move(stream_owner)),
        precision_(tf32 ? cuda::Precision::kTf32 : cuda::Precision::kFloat32),
        wait_(wait) {}

  Array view(const Input& input, const py::object& exported) const {
    if (exported.is_none()) return {};
    const bool bools = input.holds == Holds::kBools;
    const cuda::CurrentDevice current(device_);
    const char* dtypes = bools ? "bool or uint8" : dtypes_of(input, "float32, float16 or bfloat16");
    Array array = view_exported(input.name, exported, dtypes, stream_);
    // Before DLPack had a code for bool, it exported bools as uint8.
    if (bools && array.dtype == DType::kUInt8) array.dtype = DType::kBool;
    return array;
  }

  py::object make(const Array& like, Array* array) const {
    const size_t bytes = array_bytes(like.dtype, like.shape, like.rank);
    auto memory = std::make_shared<const DeviceMemory>(bytes, device_, stream_, stream_owner_);
    *array = like;
    array->data = memory->get();
    return py::cast(DeviceArray(like.dtype, {like.shape, like.shape + like.rank}, std::move(memory)));
  }

  template <class Operation>
  void plan(Operation& operation) const {
    const cuda::CurrentDevice current(device_);
    raise_if_error(operation.make_plan(precision_));
  }

  template <class Operation>
  void run(const Operation& operation) const {
    without_gil([&] {
      const cuda::CurrentDevice current(device_);
      void* scratch = nullptr;
      Status status = cuda::take_memory(operation.plan.scratch_bytes, stream_, &scratch);
      if (status.ok()) status = operation.run(scratch, stream_);
      cuda::give_memory_back(scratch, stream_);
      if (!wait_) return status;
      // Wait also after a failure, because work that is already queued reads the arguments.
      const Status done = cuda::synchronize(stream_);
      return status.ok() ? done : status;
    });
  }

 private:
  int device_;
  cuda::Stream stream_;
  py::object stream_owner_;
  cuda::Precision precision_;
  bool wait_;
};

}  // namespace fastseq::bindings

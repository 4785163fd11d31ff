// Arrays in a GPU's memory, from fastseq and from other libraries.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/cuda.h"

namespace fastseq::bindings {

namespace py = pybind11;

// A block of a device's memory. It is allocated and freed in the order of the work on a stream.
class DeviceMemory {
 public:
  // `stream_owner` is a Python object that keeps the stream alive, or None.
  DeviceMemory(size_t bytes, int device, cuda::Stream stream, py::object stream_owner);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* get() const { return data_; }
  int device() const { return device_; }
  cuda::Stream stream() const { return stream_; }

 private:
  void* data_ = nullptr;
  int device_;
  cuda::Stream stream_;
  PyObject* stream_owner_;  // null for None, so that the destructor does not need Python then
};

// An op's result. It owns its memory, and exports itself by DLPack and by __cuda_array_interface__.
class DeviceArray {
 public:
  DeviceArray(DType dtype, std::vector<int64_t> shape, std::shared_ptr<const DeviceMemory> memory)
      : dtype_(dtype), shape_(std::move(shape)), memory_(std::move(memory)) {}

  py::tuple shape() const { return py::cast(shape_); }
  std::string dtype() const;
  py::tuple dlpack_device() const { return py::make_tuple(static_cast<int>(2), memory_->device()); }
  py::capsule dlpack(const py::object& stream, const py::object& max_version, const py::object& device,
                     const py::object& copy) const;
  py::dict cuda_array_interface() const;

 private:
  DType dtype_;
  std::vector<int64_t> shape_;
  std::shared_ptr<const DeviceMemory> memory_;
};

// A view of another library's array. `exported` is a DLPack capsule, which keeps the array alive, or the dict of a
// __cuda_array_interface__. Then later work on `stream` waits for the work that is queued on the dict's stream.
// `dtypes` are the dtypes that the input may have, in words for an error.
Array view_exported(const char* name, const py::object& exported, const char* dtypes, cuda::Stream stream);

// The stream with a number of DLPack. The numbers are CUDA's handles: 1 is the legacy default stream, 2 the thread's
// default stream.
inline cuda::Stream stream_of(uintptr_t number) { return reinterpret_cast<cuda::Stream>(number); }

}  // namespace fastseq::bindings

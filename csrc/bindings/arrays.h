// NumPy arrays in and out: no copies, no casts.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/memory.h"
#include "fastseq/status.h"

namespace fastseq::bindings {

namespace py = pybind11;

inline void raise_if_error(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return;
    case StatusCode::kInvalidArgument:
      throw py::value_error(status.message());
    case StatusCode::kInvalidDtype:
      throw py::type_error(status.message());
  }
}

// Gives the GIL away while alive. Before 3.14 Python ends a thread that wants it back when the interpreter has finished,
// such as a daemon's: that would unwind frames which may not be left so, and abort the process. It sleeps instead until
// the process has ended.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) ::pause();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Runs an op, which touches no Python object, and raises what it returns.
template <class Op>
void without_gil(const Op& op) {
  Status status;
  {
    const Unlocked unlocked;
    status = op();
  }
  raise_if_error(status);
}

inline DType dtype_of(const py::array& array) {
  const py::dtype dtype = array.dtype();
  // A byte-swapped float has the same number, but is nothing we can read.
  if (!dtype.attr("isnative").cast<bool>()) return DType::kOther;
  static const int kFloat = py::dtype::of<float>().num();
  static const int kDouble = py::dtype::of<double>().num();
  static const int kBool = py::dtype::of<bool>().num();
  static const int kUInt8 = py::dtype::of<uint8_t>().num();
  static const int kUInt16 = py::dtype::of<uint16_t>().num();
  const int num = dtype.num();
  if (num == kFloat) return DType::kFloat32;
  if (num == kDouble) return DType::kFloat64;
  if (num == kBool) return DType::kBool;
  if (num == kUInt8) return DType::kUInt8;
  if (num == kUInt16) return DType::kUInt16;
  // C has more integer types than sizes of them, and NumPy numbers them all.
  if (dtype.kind() != 'i') return DType::kOther;
  return dtype.itemsize() == 4 ? DType::kInt32 : dtype.itemsize() == 8 ? DType::kInt64 : DType::kOther;
}

inline py::dtype numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return py::dtype::of<float>();
    case DType::kFloat64:
      return py::dtype::of<double>();
    case DType::kBool:
      return py::dtype::of<bool>();
    case DType::kUInt8:
      return py::dtype::of<uint8_t>();
    case DType::kUInt16:
      return py::dtype::of<uint16_t>();
    case DType::kInt32:
      return py::dtype::of<int32_t>();
    case DType::kInt64:
      return py::dtype::of<int64_t>();
    case DType::kOther:
      break;
  }
  throw py::type_error("there is no NumPy dtype for this array");
}

// A view of `object`, which must be a C-contiguous numpy.ndarray of one of the core's dtypes, or None.
inline Array view(const char* name, const py::object& object, const char* dtypes = "float32 or float64") {
  Array view;
  if (object.is_none()) return view;
  if (!py::isinstance<py::array>(object))
    throw py::type_error(std::string(name) + " must be a numpy.ndarray, got " +
                         std::string(py::str(py::type::of(object).attr("__name__"))));
  const auto array = py::reinterpret_borrow<py::array>(object);
  view.dtype = dtype_of(array);
  if (view.dtype == DType::kOther)
    throw py::type_error(std::string(name) + " must have dtype " + dtypes + ", got " +
                         std::string(py::str(array.dtype())));
  if (!(array.flags() & py::array::c_style))
    throw py::value_error(std::string(name) + " must be C-contiguous, got strides " +
                          std::string(py::str(array.attr("strides"))) + " for shape " +
                          std::string(py::str(array.attr("shape"))) + "; numpy.ascontiguousarray makes a copy that is");
  // NumPy allows arrays at any address, C++ does not.
  if (reinterpret_cast<uintptr_t>(array.data()) % static_cast<size_t>(array.itemsize()) != 0)
    throw py::value_error(std::string(name) + " must be aligned to its dtype; numpy.require(..., requirements='A') "
                          "makes a copy that is");
  view.present = true;
  view.data = const_cast<void*>(array.data());
  view.rank = static_cast<int>(array.ndim());
  for (int i = 0; i < view.rank && i < Array::kMaxRank; ++i) view.shape[i] = array.shape(i);
  return view;
}

// A new array of `dtype` and `shape`, content undefined, and its view.
inline py::array make_array(DType dtype, const std::vector<int64_t>& shape, Array* view) {
  auto memory = std::make_unique<Memory>(array_bytes(dtype, shape.data(), static_cast<int>(shape.size())));
  view->present = true;
  view->dtype = dtype;
  view->data = memory->get();
  view->rank = static_cast<int>(shape.size());
  for (int i = 0; i < view->rank; ++i) view->shape[i] = shape[static_cast<size_t>(i)];
  const py::capsule owner(memory.get(), [](void* owned) { delete static_cast<Memory*>(owned); });
  memory.release();
  return py::array(numpy_dtype(dtype), std::vector<py::ssize_t>(shape.begin(), shape.end()), view->data, owner);
}

}  // namespace fastseq::bindings

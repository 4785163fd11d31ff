// The CPU as a device of the bindings. Arguments and results are NumPy arrays, which are neither copied nor cast.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "errors.h"
#include "fastseq/array.h"
#include "fastseq/memory.h"
#include "fastseq/statement.h"

namespace fastseq::bindings {

struct NumpyType {
  DType dtype;
  py::dtype (*numpy)();
};
inline constexpr NumpyType kNumpyTypes[] = {
    {DType::kFloat32, py::dtype::of<float>},   {DType::kFloat64, py::dtype::of<double>},
    {DType::kBool, py::dtype::of<bool>},       {DType::kUInt8, py::dtype::of<uint8_t>},
    {DType::kUInt16, py::dtype::of<uint16_t>}, {DType::kInt32, py::dtype::of<int32_t>},
    {DType::kInt64, py::dtype::of<int64_t>},
};

inline DType dtype_of(const py::array& array) {
  const py::dtype dtype = array.dtype();
  // NumPy's type number does not include the byte order. The core reads the machine's byte order only.
  if (!dtype.attr("isnative").cast<bool>()) return DType::kOther;
  for (const NumpyType& known : kNumpyTypes)
    if (dtype.num() == known.numpy().num()) return known.dtype;
  // C has several integer types of one size, and NumPy has a number for each. So integers are recognized by their size.
  if (dtype.kind() != 'i') return DType::kOther;
  return dtype.itemsize() == 4 ? DType::kInt32 : dtype.itemsize() == 8 ? DType::kInt64 : DType::kOther;
}

inline py::dtype numpy_dtype(DType dtype) {
  for (const NumpyType& known : kNumpyTypes)
    if (known.dtype == dtype) return known.numpy();
  throw py::type_error("there is no NumPy dtype for this array");
}

// A view of `object`, which must be a C-contiguous numpy.ndarray of one of the core's dtypes, or None.
inline Array view(const char* name, const py::object& object, const char* dtypes) {
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
  // NumPy allows arrays at any address; C++ requires aligned ones.
  if (reinterpret_cast<uintptr_t>(array.data()) % static_cast<size_t>(array.itemsize()) != 0)
    throw py::value_error(std::string(name) +
                          " must be aligned to its dtype; numpy.require(..., requirements='A') "
                          "makes a copy that is");
  view.present = true;
  view.data = const_cast<void*>(array.data());
  view.rank = static_cast<int>(array.ndim());
  for (int i = 0; i < view.rank && i < Array::kMaxRank; ++i) view.shape[i] = array.shape(i);
  return view;
}

// The dtypes that an input may have, in words for an error.
inline const char* dtypes_of(const Input& input, const char* floats) {
  if (input.holds == Holds::kBools) return "bool";
  if (input.holds == Holds::kIntegers) return "int32 or int64";
  if (input.holds == Holds::kAny) return "float32, float64, int32, int64 or bool";
  const bool positions = input.dtype == DType::kUInt8 || input.dtype == DType::kUInt16 || input.dtype == DType::kInt32;
  return positions ? "uint8, uint16 or int32" : floats;
}

// The device of a call. The bindings (operations.h) are templates over this class or Gpu (gpu.h).
class Cpu {
 public:
  Array view(const Input& input, const py::object& object) const {
    return bindings::view(input.name, object, dtypes_of(input, "float32 or float64"));
  }
  // Makes a new array, content undefined, and sets *array to its view.
  py::object make(const Array& like, Array* array) const {
    auto memory = std::make_unique<Memory>(array_bytes(like.dtype, like.shape, like.rank));
    *array = like;
    array->data = memory->get();
    const py::capsule owner(memory.get(), [](void* owned) { delete static_cast<Memory*>(owned); });
    memory.release();
    return py::array(numpy_dtype(like.dtype), std::vector<py::ssize_t>(like.shape, like.shape + like.rank), array->data,
                     owner);
  }
  template <class Operation>
  void plan(Operation& operation) const {
    raise_if_error(operation.make_plan());
  }
  template <class Operation>
  void run(const Operation& operation) const {
    const Memory scratch(operation.plan.scratch_bytes);
    without_gil([&] { return operation.run(scratch.get()); });
  }
};

}  // namespace fastseq::bindings

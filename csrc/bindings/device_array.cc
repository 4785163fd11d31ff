#include "device_array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "dlpack.h"
#include "errors.h"

namespace fastseq::bindings {
namespace {

constexpr uintptr_t kLegacyDefaultStream = 1;
constexpr const char* kCapsule = "dltensor";
constexpr const char* kVersionedCapsule = "dltensor_versioned";

struct Names {
  DType dtype;
  DlType dlpack;
  const char* name;
  const char* typestr;  // in __cuda_array_interface__, which has none for bfloat16
};
constexpr Names kNames[] = {
    {DType::kFloat32, {kDlFloat, 32, 1}, "float32", "<f4"}, {DType::kFloat64, {kDlFloat, 64, 1}, "float64", "<f8"},
    {DType::kFloat16, {kDlFloat, 16, 1}, "float16", "<f2"}, {DType::kBFloat16, {kDlBFloat, 16, 1}, "bfloat16", nullptr},
    {DType::kBool, {kDlBool, 8, 1}, "bool", "|b1"},         {DType::kUInt8, {kDlUInt, 8, 1}, "uint8", "|u1"},
    {DType::kUInt16, {kDlUInt, 16, 1}, "uint16", "<u2"},    {DType::kInt32, {kDlInt, 32, 1}, "int32", "<i4"},
    {DType::kInt64, {kDlInt, 64, 1}, "int64", "<i8"},
};

const Names& names_of(DType dtype) {
  return *std::find_if(std::begin(kNames), std::end(kNames), [&](const Names& one) { return one.dtype == dtype; });
}

std::string text(const DlType& dtype) {
  for (const Names& one : kNames)
    if (one.dlpack.code == dtype.code && one.dlpack.bits == dtype.bits && dtype.lanes == 1) return one.name;
  static constexpr const char* kKinds[] = {"int", "uint", "float", "dtype 3 of ", "bfloat", "complex", "bool"};
  const std::string kind =
      dtype.code < std::size(kKinds) ? kKinds[dtype.code] : "dtype " + std::to_string(dtype.code) + " of ";
  return kind + std::to_string(dtype.bits) + (dtype.lanes == 1 ? "" : " x " + std::to_string(dtype.lanes));
}

// The description of an array, from either protocol.
struct Described {
  void* data = nullptr;
  DType dtype = DType::kOther;
  std::string dtype_text;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements; empty for C-contiguous
};

Described describe(const DlTensor& tensor) {
  Described array;
  array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  array.dtype_text = text(tensor.dtype);
  for (const Names& one : kNames)
    if (array.dtype_text == one.name) array.dtype = one.dtype;
  array.shape.assign(tensor.shape, tensor.shape + tensor.rank);
  if (tensor.strides) array.strides.assign(tensor.strides, tensor.strides + tensor.rank);
  return array;
}

Described describe(const char* name, const py::dict& interface, cuda::Stream stream) {
  const int version = interface["version"].cast<int>();
  if (version < 2)
    throw py::value_error(std::string(name) + ": __cuda_array_interface__ must be of version 2 or newer, got " +
                          std::to_string(version));
  if (interface.contains("mask") && !interface["mask"].is_none())
    throw py::value_error(std::string(name) + " must have no mask in its __cuda_array_interface__");
  Described array;
  array.data = reinterpret_cast<void*>(interface["data"].cast<std::pair<uintptr_t, bool>>().first);
  array.dtype_text = interface["typestr"].cast<std::string>();
  for (const Names& one : kNames)
    if (one.typestr && array.dtype_text == one.typestr) {
      array.dtype = one.dtype;
      array.dtype_text = one.name;
    }
  array.shape = interface["shape"].cast<std::vector<int64_t>>();
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const auto bytes = static_cast<int64_t>(dtype_bytes(array.dtype));
    for (const int64_t stride : interface["strides"].cast<std::vector<int64_t>>())
      array.strides.push_back(bytes == 0 ? 0 : stride / bytes);
  }
  if (interface.contains("stream") && !interface["stream"].is_none()) {
    const auto theirs = interface["stream"].cast<uintptr_t>();
    if (theirs == 0)
      throw py::value_error(std::string(name) +
                            ": 0 is no stream of a __cuda_array_interface__; 1 is the default stream");
    raise_if_error(cuda::order(stream_of(theirs), stream));
  }
  return array;
}

bool is_contiguous(const Described& array) {
  if (array.strides.empty() || std::count(array.shape.begin(), array.shape.end(), 0) > 0) return true;
  int64_t expected = 1;
  for (size_t i = array.shape.size(); i-- > 0;) {
    if (array.shape[i] != 1 && array.strides[i] != expected) return false;
    expected *= array.shape[i];
  }
  return true;
}

// The contents of a capsule that fastseq exports.
template <class Managed>
struct Exported {
  Managed managed;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  std::shared_ptr<const DeviceMemory> memory;
};

std::vector<int64_t> strides_of(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

template <class Managed>
py::capsule make_capsule(const char* name, DType dtype, const std::vector<int64_t>& shape,
                         const std::shared_ptr<const DeviceMemory>& memory, const Managed& header) {
  auto exported = std::make_unique<Exported<Managed>>(Exported<Managed>{header, shape, strides_of(shape), memory});
  exported->managed.context = exported.get();
  exported->managed.deleter = [](Managed* self) { delete static_cast<Exported<Managed>*>(self->context); };
  exported->managed.tensor = {memory->get(),
                              {kDlCuda, memory->device()},
                              static_cast<int32_t>(shape.size()),
                              names_of(dtype).dlpack,
                              exported->shape.data(),
                              exported->strides.data(),
                              0};
  // A library that takes the array renames the capsule, and deletes the array when it no longer needs it.
  PyObject* capsule = PyCapsule_New(&exported->managed, name, [](PyObject* self) {
    const char* now = PyCapsule_GetName(self);
    if (now != std::string(std::is_same_v<Managed, DlManagedTensor> ? kCapsule : kVersionedCapsule)) return;
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(self, now));
    managed->deleter(managed);
  });
  if (!capsule) throw py::error_already_set();
  exported.release();
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace

DeviceMemory::DeviceMemory(size_t bytes, int device, cuda::Stream stream, py::object stream_owner)
    : device_(device), stream_(stream), stream_owner_(stream_owner.is_none() ? nullptr : stream_owner.ptr()) {
  const cuda::CurrentDevice current(device_);
  raise_if_error(cuda::take_memory(bytes, stream_, &data_));
  Py_XINCREF(stream_owner_);
}

DeviceMemory::~DeviceMemory() {
  {
    const cuda::CurrentDevice current(device_);
    cuda::give_memory_back(data_, stream_);
  }
  if (!stream_owner_ || !Py_IsInitialized()) return;
  const py::gil_scoped_acquire acquire;  // frameworks may free arrays in threads that do not hold the GIL
  Py_DECREF(stream_owner_);
}

std::string DeviceArray::dtype() const { return names_of(dtype_).name; }

py::capsule DeviceArray::dlpack(const py::object& stream, const py::object& max_version, const py::object& device,
                                const py::object& copy) const {
  if (!device.is_none() && !device.equal(dlpack_device()))
    throw py::buffer_error("dl_device must be " + std::string(py::str(dlpack_device())) + ", where the array is, got " +
                           std::string(py::str(device)));
  if (!copy.is_none() && copy.cast<bool>()) throw py::buffer_error("copy must be None or False: this hands over, only");
  const auto theirs = stream.is_none() ? static_cast<int64_t>(kLegacyDefaultStream) : stream.cast<int64_t>();
  if (theirs != -1) {
    const cuda::CurrentDevice current(memory_->device());
    raise_if_error(cuda::order(memory_->stream(), stream_of(static_cast<uintptr_t>(theirs))));
  }
  const bool versioned = !max_version.is_none() && max_version[py::int_(0)].cast<int>() >= 1;
  if (!versioned) return make_capsule<DlManagedTensor>(kCapsule, dtype_, shape_, memory_, {});
  DlManagedTensorVersioned header = {};
  header.major = 1;
  return make_capsule(kVersionedCapsule, dtype_, shape_, memory_, header);
}

py::dict DeviceArray::cuda_array_interface() const {
  const char* typestr = names_of(dtype_).typestr;
  if (!typestr) throw py::attribute_error("__cuda_array_interface__ has no bfloat16; use __dlpack__");
  py::dict interface;
  interface["version"] = 3;
  interface["shape"] = shape();
  interface["typestr"] = typestr;
  interface["strides"] = py::none();
  interface["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(memory_->get()), false);
  interface["stream"] = reinterpret_cast<uintptr_t>(memory_->stream());
  return interface;
}

Array view_exported(const char* name, const py::object& exported, const char* dtypes, cuda::Stream stream) {
  Described array;
  if (py::isinstance<py::dict>(exported)) {
    array = describe(name, exported, stream);
  } else if (PyCapsule_IsValid(exported.ptr(), kVersionedCapsule)) {
    const auto* managed =
        static_cast<DlManagedTensorVersioned*>(PyCapsule_GetPointer(exported.ptr(), kVersionedCapsule));
    if (managed->major > 1)
      throw py::type_error(std::string(name) + " is handed over by DLPack " + std::to_string(managed->major) +
                           ", and only versions before 2 are known");
    array = describe(managed->tensor);
  } else if (PyCapsule_IsValid(exported.ptr(), kCapsule)) {
    array = describe(static_cast<DlManagedTensor*>(PyCapsule_GetPointer(exported.ptr(), kCapsule))->tensor);
  } else {
    throw py::type_error(std::string(name) + " must be handed over as a DLPack capsule or a dict, got " +
                         std::string(py::str(py::type::of(exported).attr("__name__"))));
  }
  if (array.dtype == DType::kOther)
    throw py::type_error(std::string(name) + " must have dtype " + dtypes + ", got " + array.dtype_text);
  if (!is_contiguous(array))
    throw py::value_error(std::string(name) + " must be C-contiguous, got strides of " +
                          std::string(py::str(py::tuple(py::cast(array.strides)))) + " elements for shape " +
                          std::string(py::str(py::tuple(py::cast(array.shape)))) +
                          "; .contiguous() or ascontiguousarray() makes a copy that is");
  if (reinterpret_cast<uintptr_t>(array.data) % dtype_bytes(array.dtype) != 0)
    throw py::value_error(std::string(name) + " must be aligned to its dtype");
  Array view;
  view.present = true;
  view.data = array.data;
  view.dtype = array.dtype;
  view.rank = static_cast<int>(array.shape.size());
  std::copy_n(array.shape.begin(), std::min<size_t>(array.shape.size(), Array::kMaxRank), view.shape);
  return view;
}

}  // namespace fastseq::bindings

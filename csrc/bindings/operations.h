// Calls operations on any device: reads the arguments, allocates the results, releases the GIL and runs the operation.
// The contracts state the arguments and results (statement.h).
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arrays.h"
#include "errors.h"
#include "fastseq/names.h"
#include "fastseq/operation_list.h"
#include "xla/handlers.h"

namespace fastseq::bindings {

inline std::string type_name(const py::object& object) { return py::str(py::type::of(object).attr("__name__")); }

template <class Value>
void read(const char* name, const py::object& given, const char* what, Value* value) {
  try {
    *value = given.cast<Value>();
  } catch (const py::cast_error&) {
    throw py::type_error(std::string(name) + " must be " + what + ", got " + type_name(given));
  }
}

inline void read(const char* name, const py::object& given, bool* option) { read(name, given, "a bool", option); }
inline void read(const char* name, const py::object& given, double* option) { read(name, given, "a number", option); }
inline void read(const char* name, const py::object& given, std::vector<int64_t>* option) {
  read(name, given, "integers of 64 bits", option);
}
inline void read(const char* name, const py::object& given, int64_t (*option)[2]) {
  std::array<int64_t, 2> pair{};
  read(name, given, "two integers of 64 bits", &pair);
  std::copy(pair.begin(), pair.end(), *option);
}
inline void read(const char* name, const py::object& given, int64_t* option) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(given.ptr()));
  PyErr_Clear();
  if (!index) throw py::type_error(std::string(name) + " must be an int, got " + type_name(given));
  int overflow = 0;
  *option = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) throw py::value_error(std::string(name) + " must be an int of 64 bits, got a greater one");
}
template <class Option, class = std::enable_if_t<std::is_enum_v<Option>>>
void read(const char* name, const py::object& given, Option* option) {
  std::string word;
  read(name, given, "a str", &word);
  raise_if_error(parse_option(name, word, option));
}

inline py::object as_python(bool option) { return py::bool_(option); }
inline py::object as_python(int64_t option) { return py::int_(option); }
inline py::object as_python(double option) { return py::float_(option); }
inline py::object as_python(const std::vector<int64_t>& option) { return py::cast(option); }
template <class Option, class = std::enable_if_t<std::is_enum_v<Option>>>
py::object as_python(Option option) {
  return py::str(names_from(option).front());
}

// Reads a call's arguments into an operation: arrays, through views that `Device` makes, numbers and options.
template <class Device>
class Reader {
 public:
  Reader(const Device& device, const py::dict& arguments) : device_(device), arguments_(arguments) {}

  void operator()(const Input& input, Array& array) const {
    if (const py::object given = take(input.name)) array = device_.view(input, given);
  }
  template <class Number>
  void operator()(const Input& input, Number& number) const {
    (*this)(input.name, number);
  }
  template <class Option>
  void operator()(const char* name, Option& option) const {
    if (const py::object given = take(name)) read(name, given, &option);
  }

  // Raises an error if there is an argument that has not been read.
  void finish(const char* operation) const {
    if (taken_ == arguments_.size()) return;
    for (const auto& argument : arguments_) {
      const std::string name = py::str(argument.first);
      if (std::find(names_.begin(), names_.end(), name) == names_.end())
        throw py::type_error(std::string(operation) + " takes no argument '" + name + "'");
    }
  }

 private:
  py::object take(const char* name) const {
    names_.push_back(name);
    PyObject* found = PyDict_GetItemString(arguments_.ptr(), name);
    if (!found) return {};
    ++taken_;
    return py::reinterpret_borrow<py::object>(found);
  }

  const Device& device_;
  const py::dict& arguments_;
  mutable std::vector<const char*> names_;
  mutable size_t taken_ = 0;
};

// Calls body(null pointer of the operation's type) for the operation with this name.
template <class Operations, class Body>
void find(const std::string& name, const Body& body) {
  if (!Operations::find(name, body)) throw py::value_error("there is no operation '" + name + "'");
}

template <class Operation, class Device>
Operation read_and_plan(const Device& device, const py::dict& arguments) {
  Operation operation;
  const Reader<Device> reader(device, arguments);
  operation.for_each_option(reader);
  operation.for_each_input(reader);
  reader.finish(Operation::name());
  device.plan(operation);
  return operation;
}

// Computes an operation. Arguments are given by their names. An array that is not given is absent; a number or an
// option has the contract's default. Results are returned by their names; those that are not wanted are None.
template <class Operations, class Device>
py::dict compute(const Device& device, const std::string& name, const py::dict& arguments) {
  py::dict results;
  find<Operations>(name, [&](auto* null) {
    auto operation = read_and_plan<std::remove_pointer_t<decltype(null)>>(device, arguments);
    operation.for_each_output([&](const Output& output, Array& array, const Array& like) {
      results[output.name] = output.wanted ? device.make(like, &array) : py::none();
    });
    device.run(operation);
  });
  return results;
}

// Arrays without memory: each is a pair of its shape and the name of its dtype.
class ShapesOnly : public Cpu {
 public:
  Array view(const Input& input, const py::object& given) const {
    if (given.is_none()) return {};
    std::pair<std::vector<int64_t>, std::string> described;
    read(input.name, given, "a pair of a shape and the name of a dtype", &described);
    const auto& [shape, dtype] = described;
    Array array;
    for (const DType one : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16, DType::kBool,
                            DType::kUInt8, DType::kUInt16, DType::kInt32, DType::kInt64})
      if (dtype == dtype_name(one)) array.dtype = one;
    if (array.dtype == DType::kOther)
      throw py::type_error(std::string(input.name) + " must have dtype " + dtypes_of(input, "float32 or float64") +
                           ", got " + dtype);
    array.present = true;
    array.rank = static_cast<int>(shape.size());
    std::copy_n(shape.begin(), std::min<size_t>(shape.size(), Array::kMaxRank), array.shape);
    return array;
  }
};

// Like compute, but arguments and results are pairs of a shape and the name of a dtype instead of arrays. `Device` is
// ShapesOnly or a class derived from it, which plans for another kind of device.
template <class Device, class Operations>
py::dict output_shapes(const std::string& name, const py::dict& arguments) {
  py::dict results;
  find<Operations>(name, [&](auto* null) {
    auto operation = read_and_plan<std::remove_pointer_t<decltype(null)>>(Device(), arguments);
    operation.for_each_output([&](const Output& output, Array&, const Array& like) {
      results[output.name] = py::none();
      if (!output.wanted) return;
      const py::tuple shape = py::cast(std::vector<int64_t>(like.shape, like.shape + like.rank));
      results[output.name] = py::make_tuple(shape, dtype_name(like.dtype));
    });
  });
  return results;
}

// The statement of an operation's contract as Python objects, a tuple of
// - its arrays by their names, each with the kind of its elements and whether it is required,
// - the names of the numbers that it takes,
// - its options with their defaults,
// - its results by their names, each with whether it may be None.
template <class Operations>
py::tuple statement(const std::string& name) {
  py::dict arrays, options, outputs;
  py::list numbers;
  const auto read_input = [&](const Input& input, auto& value) {
    static constexpr const char* kHolds[] = {"floats", "bools", "integers", "saved", "any"};
    if constexpr (std::is_same_v<decltype(value), Array&>)
      arrays[input.name] = py::make_tuple(kHolds[static_cast<int>(input.holds)], input.is_required);
    else
      numbers.append(input.name);
  };
  find<Operations>(name, [&](auto* null) {
    std::remove_pointer_t<decltype(null)> operation;
    operation.for_each_option([&](const char* option, auto& value) { options[option] = as_python(value); });
    operation.for_each_input(read_input);
    operation.for_each_output(
        [&](const Output& output, Array&, const Array&) { outputs[output.name] = output.optional; });
  });
  return py::make_tuple(arrays, numbers, options, outputs);
}

// The XLA handlers of a list of operations, by the operations' names, for jax.ffi.register_ffi_target.
template <class Device, class Operations>
py::dict xla_handlers() {
  py::dict capsules;
  for (const auto& [name, handler] : xla::handlers<Device>(Operations{}))
    capsules[name.c_str()] = py::capsule(reinterpret_cast<void*>(handler), "xla._CUSTOM_CALL_TARGET");
  return capsules;
}

}  // namespace fastseq::bindings

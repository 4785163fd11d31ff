#include "program_class.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "errors.h"
#include "fastseq/program.h"

namespace fastseq::bindings {
namespace {

constexpr const char* kAnyDtype = "float32, float64, int32, int64 or bool";

template <class Value>
Value entry(const py::dict& described, const char* name, const char* what) {
  if (!described.contains(name)) throw py::value_error(std::string(what) + " must have an entry '" + name + "'");
  try {
    return described[name].cast<Value>();
  } catch (const py::cast_error&) {
    throw py::type_error(std::string(what) + ": '" + name + "' has a wrong type, " +
                         std::string(py::str(py::type::of(described[name]))));
  }
}

OptionValue read_option(const std::string& name, const py::handle& value) {
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  try {
    if (py::isinstance<py::int_>(value)) return value.cast<int64_t>();
    if (py::isinstance<py::sequence>(value)) return value.cast<std::vector<int64_t>>();
  } catch (const py::cast_error&) {
    throw py::value_error("option '" + name + "' must have integers of 64 bits");
  }
  throw py::type_error("option '" + name + "' must be a bool, a number, a str or a list of ints, got " +
                       std::string(py::str(py::type::of(value))));
}

std::vector<std::pair<std::string, int64_t>> read_values(const py::dict& values) {
  std::vector<std::pair<std::string, int64_t>> read;
  for (const auto& [name, value] : values) {
    if (!py::isinstance<py::str>(name) || !py::isinstance<py::int_>(value))
      throw py::type_error("the arrays of a node must be ints by their names");
    read.emplace_back(name.cast<std::string>(), value.cast<int64_t>());
  }
  return read;
}

ProgramNode read_node(const py::dict& described) {
  ProgramNode node;
  node.operation = entry<std::string>(described, "operation", "a node");
  node.label = entry<std::string>(described, "label", "a node");
  for (const auto& [name, value] : entry<py::dict>(described, "options", "a node")) {
    const auto option = py::str(name).cast<std::string>();
    node.options.emplace_back(option, read_option(option, value));
  }
  node.inputs = read_values(entry<py::dict>(described, "inputs", "a node"));
  node.outputs = read_values(entry<py::dict>(described, "outputs", "a node"));
  return node;
}

ProgramInput read_input(const py::dict& described) {
  const auto dtype = entry<std::string>(described, "dtype", "an input");
  using Kind = ProgramInput::Kind;
  for (const auto& [name, kind] : {std::pair("float32", Kind::kFloat32), std::pair("float64", Kind::kFloat64),
                                   std::pair("integers", Kind::kIntegers), std::pair("bool", Kind::kBools)})
    if (dtype == name)
      return {entry<std::string>(described, "name", "an input"), entry<int>(described, "rank", "an input"), kind};
  throw py::value_error("dtype of an input must be float32, float64, integers or bool, got '" + dtype + "'");
}

class NumpyProgram {
 public:
  NumpyProgram(const std::vector<py::array>& constants, const std::vector<py::dict>& inputs,
               const std::vector<py::dict>& nodes, std::vector<int64_t> outputs)
      : constants_(constants) {
    ProgramGraph graph;
    for (size_t i = 0; i < constants.size(); ++i)
      graph.constants.push_back(view(("constant " + std::to_string(i)).c_str(), constants[i], kAnyDtype));
    for (const py::dict& input : inputs) graph.inputs.push_back(read_input(input));
    for (const py::dict& node : nodes) graph.nodes.push_back(read_node(node));
    graph.outputs = std::move(outputs);
    for (const ProgramInput& input : graph.inputs) names_.push_back(input.name);
    raise_if_error(Program::make(graph, &program_));
  }

  py::list run(const py::sequence& arrays, int threads) const { return call(arrays, threads, nullptr); }

  py::tuple profile(const py::sequence& arrays, int threads) const {
    std::vector<NodeProfile> profile;
    const py::list outputs = call(arrays, threads, &profile);
    py::list seconds, bytes, shapes;
    for (const NodeProfile& node : profile) {
      size_t sum = 0;
      for (const Array& result : node.results) sum += array_bytes(result.dtype, result.shape, result.rank);
      seconds.append(node.seconds);
      bytes.append(sum);
      const Array first = node.results.empty() ? Array{} : node.results[0];
      shapes.append(py::tuple(py::cast(std::vector<int64_t>(first.shape, first.shape + first.rank))));
    }
    return py::make_tuple(outputs, seconds, bytes, shapes);
  }

  size_t bytes() const { return program_->bytes(); }

 private:
  py::list call(const py::sequence& arrays, int threads, std::vector<NodeProfile>* profile) const {
    if (threads < 0) throw py::value_error("threads must be 0 or more, got " + std::to_string(threads));
    std::vector<Array> inputs, outputs;
    const size_t count = arrays.size();
    for (size_t i = 0; i < count; ++i)
      inputs.push_back(
          view(i < names_.size() ? names_[i].c_str() : "a further input", py::object(arrays[i]), kAnyDtype));
    Program::CallPointer call;
    without_gil([&] { return program_->begin(inputs, threads, &call, &outputs); });
    py::list results;
    for (Array& output : outputs) {
      const Array like = output;
      results.append(Cpu().make(like, &output));
    }
    without_gil([&] { return program_->run(*call, inputs, outputs, profile); });
    return results;
  }

  std::vector<py::array> constants_;  // the program reads their memory
  std::vector<std::string> names_;    // of the inputs
  std::unique_ptr<Program> program_;
};

}  // namespace

void define_program(py::module_& module) {
  py::class_<NumpyProgram>(module, "Program")
      .def(py::init<const std::vector<py::array>&, const std::vector<py::dict>&, const std::vector<py::dict>&,
                    std::vector<int64_t>>(),
           py::arg("constants"), py::arg("inputs"), py::arg("nodes"), py::arg("outputs"))
      .def("run", &NumpyProgram::run, py::arg("arrays"), py::arg("threads"))
      .def("profile", &NumpyProgram::profile, py::arg("arrays"), py::arg("threads"))
      .def_property_readonly("bytes", &NumpyProgram::bytes);
}

}  // namespace fastseq::bindings

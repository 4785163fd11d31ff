// A node of a program: an operation whose arrays are values of the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastseq/names.h"
#include "fastseq/program.h"
#include "fastseq/statement.h"

namespace fastseq {

class Node {
 public:
  virtual ~Node() = default;
  virtual std::unique_ptr<Node> copy() const = 0;

  // The values that the node reads, without those that are absent, and those that it writes.
  virtual std::vector<int64_t> reads() const = 0;
  virtual std::vector<int64_t> writes() const = 0;
  // Whether the first value written is the first value read with another shape, without an operation.
  virtual bool is_view() const = 0;

  // Plans the operation for the dtypes and shapes of the values that it reads. Sets those that it writes, without data.
  virtual Status plan(std::vector<Array>& values) = 0;

  // After plan().
  virtual size_t scratch_bytes() const = 0;
  // The size of the weights' packed form; 0 if there is none. It is the same for two plans with the same kind.
  virtual size_t prepared_bytes() const = 0;
  struct PreparedKind {
    const void* isa = nullptr;
    int number = 0;
    bool operator==(const PreparedKind& other) const { return isa == other.isa && number == other.number; }
  };
  virtual PreparedKind prepared_kind() const = 0;
  // The values that have the weights.
  virtual std::vector<int64_t> weights() const = 0;
  virtual void prepare(void* memory) const = 0;
  virtual void use_prepared(const void* memory) = 0;

  // All values have data.
  virtual Status run(const std::vector<Array>& values, void* scratch) = 0;
};

// Reads options from a list.
class OptionReader {
 public:
  explicit OptionReader(const ProgramNode& node) : node_(node) {}

  template <class Option>
  void operator()(const char* name, Option& option) {
    for (const auto& [given, value] : node_.options) {
      if (given != name) continue;
      ++read_;
      if (status_.ok()) status_ = read(name, value, &option);
    }
  }

  // An error if an option has a wrong type or value, or is not the operation's.
  template <class Operation>
  Status finish(Operation& operation) const {
    if (!status_.ok() || read_ == node_.options.size()) return status_;
    for (const auto& one : node_.options) {
      bool known = false;
      operation.for_each_option([&](const char* name, auto&) { known |= one.first == name; });
      if (!known) return Status::invalid_argument(node_.operation + " has no option '" + one.first + "'");
    }
    return Status::invalid_argument(node_.operation + " has an option twice");
  }

 private:
  static Status wrong_type(const char* name, const char* expected) {
    return Status::invalid_argument(std::string(name) + " must be " + expected);
  }
  template <class Value>
  static Status take(const char* name, const OptionValue& value, const char* expected, Value* option) {
    const auto* found = std::get_if<Value>(&value);
    if (!found) return wrong_type(name, expected);
    *option = *found;
    return {};
  }
  static Status read(const char* name, const OptionValue& value, bool* option) {
    return take(name, value, "a bool", option);
  }
  static Status read(const char* name, const OptionValue& value, int64_t* option) {
    return take(name, value, "an int of 64 bits", option);
  }
  static Status read(const char* name, const OptionValue& value, std::vector<int64_t>* option) {
    return take(name, value, "integers of 64 bits", option);
  }
  static Status read(const char* name, const OptionValue& value, double* option) {
    if (const auto* whole = std::get_if<int64_t>(&value)) {
      *option = static_cast<double>(*whole);
      return {};
    }
    return take(name, value, "a number", option);
  }
  template <class Option, class = std::enable_if_t<std::is_enum_v<Option>>>
  static Status read(const char* name, const OptionValue& value, Option* option) {
    std::string word;
    FASTSEQ_RETURN_IF_ERROR(take(name, value, "a str", &word));
    return parse_option(name, word, option);
  }

  const ProgramNode& node_;
  size_t read_ = 0;
  Status status_;
};

template <class Operation, class = void>
struct PlanReadsData : std::false_type {};
template <class Operation>
struct PlanReadsData<Operation, std::void_t<decltype(Operation::kPlanReadsData)>> : std::true_type {};

template <class Operation, class = void>
struct IsView : std::false_type {};
template <class Operation>
struct IsView<Operation, std::void_t<decltype(Operation::kIsView)>> : std::true_type {};

template <class Operation>
class StatedNode : public Node {
 public:
  // Results without a number get `*next_value`, which is increased.
  static Status make(const ProgramNode& description, int64_t* next_value, std::unique_ptr<Node>* node) {
    auto made = std::make_unique<StatedNode>();
    OptionReader reader(description);
    made->operation_.for_each_option([&](const char* name, auto& option) { reader(name, option); });
    FASTSEQ_RETURN_IF_ERROR(reader.finish(made->operation_));
    std::vector<const char*> names;
    Operation stated;  // without arrays and options: only names are of interest here
    Status status;
    stated.for_each_input([&](const Input& input, Array&) {
      names.push_back(input.name);
      made->inputs_.push_back(value_of(description.inputs, input.name));
      if (input.is_required && made->inputs_.back() < 0)
        status = Status::invalid_argument(std::string(input.name) + " is required");
    });
    FASTSEQ_RETURN_IF_ERROR(status);
    FASTSEQ_RETURN_IF_ERROR(check_names(description, "input", description.inputs, names));
    names.clear();
    stated.for_each_output([&](const Output& output, Array&, const Array&) {
      names.push_back(output.name);
      const int64_t value = value_of(description.outputs, output.name);
      made->outputs_.push_back(value >= 0 ? value : (*next_value)++);
      made->asked_.push_back(value >= 0);
    });
    FASTSEQ_RETURN_IF_ERROR(check_names(description, "output", description.outputs, names));
    *node = std::move(made);
    return {};
  }

  std::unique_ptr<Node> copy() const override { return std::make_unique<StatedNode>(*this); }

  std::vector<int64_t> reads() const override {
    std::vector<int64_t> present;
    for (const int64_t value : inputs_)
      if (value >= 0) present.push_back(value);
    return present;
  }
  std::vector<int64_t> writes() const override { return outputs_; }
  bool is_view() const override { return IsView<Operation>::value; }

  Status plan(std::vector<Array>& values) override {
    read_inputs(values);
    FASTSEQ_RETURN_IF_ERROR(operation_.make_plan());
    Status status;
    size_t at = 0;
    operation_.for_each_output([&](const Output& output, Array&, const Array& like) {
      Array& value = values[static_cast<size_t>(outputs_[at])];
      value = output.wanted ? like : Array{};
      value.data = nullptr;
      if (asked_[at++] && !output.wanted)
        status = Status::invalid_argument(std::string(output.name) + " is not computed with these options");
    });
    return status;
  }

  size_t scratch_bytes() const override { return operation_.plan.scratch_bytes; }

  size_t prepared_bytes() const override {
    if constexpr (std::is_base_of_v<Preparing, Operation>)
      return operation_.prepared_bytes();
    else
      return 0;
  }
  PreparedKind prepared_kind() const override {
    if constexpr (std::is_base_of_v<Preparing, Operation>)
      return {operation_.plan.isa, operation_.prepared_for()};
    else
      return {};
  }
  std::vector<int64_t> weights() const override {
    std::vector<int64_t> found;
    size_t at = 0;
    auto& operation = const_cast<Operation&>(operation_);
    operation.for_each_input([&](const Input& input, Array&) {
      const int64_t value = inputs_[at++];
      if (value >= 0 && Preparing::is_weight(input.name)) found.push_back(value);
    });
    return found;
  }
  void prepare([[maybe_unused]] void* memory) const override {
    if constexpr (std::is_base_of_v<Preparing, Operation>) operation_.prepare(memory);
  }
  void use_prepared([[maybe_unused]] const void* memory) override {
    if constexpr (std::is_base_of_v<Preparing, Operation>) operation_.prepared = memory;
  }

  Status run(const std::vector<Array>& values, void* scratch) override {
    read_inputs(values);
    if constexpr (PlanReadsData<Operation>::value) FASTSEQ_RETURN_IF_ERROR(operation_.make_plan());
    size_t at = 0;
    operation_.for_each_output(
        [&](const Output&, Array& array, const Array&) { array = values[static_cast<size_t>(outputs_[at++])]; });
    return operation_.run(scratch);
  }

 private:
  using Values = std::vector<std::pair<std::string, int64_t>>;

  static int64_t value_of(const Values& values, const char* name) {
    for (const auto& [given, value] : values)
      if (given == name) return value;
    return -1;
  }
  static Status check_names(const ProgramNode& description, const char* what, const Values& given,
                            const std::vector<const char*>& names) {
    for (size_t i = 0; i < given.size(); ++i) {
      bool known = false;
      for (const char* name : names) known |= given[i].first == name;
      for (size_t j = 0; j < i; ++j) known &= given[i].first != given[j].first;
      if (!known)
        return Status::invalid_argument(description.operation + " has no " + what + " '" + given[i].first +
                                        "', or has it twice");
    }
    return {};
  }

  void read_inputs(const std::vector<Array>& values) {
    size_t at = 0;
    operation_.for_each_input([&](const Input&, Array& array) {
      const int64_t value = inputs_[at++];
      array = value >= 0 ? values[static_cast<size_t>(value)] : Array{};
    });
  }

  Operation operation_;
  std::vector<int64_t> inputs_;   // in the statement's order; -1 where absent
  std::vector<int64_t> outputs_;  // likewise
  std::vector<bool> asked_;       // whether the description has the result
};

}  // namespace fastseq

// A TensorFlow op, generated from the statement of its operation (statement.h).
//
// Options are attributes. Arrays are inputs, in the order of the statement, and so are numbers, as scalars. An absent
// optional input has size 0 in every dimension. An output that is not wanted has size 0 in the second dimension or, if
// it has only one, in the first.
//
// What forward saves for backward is a tensor of raw bytes (as_bytes in statement.h).
//
// The gradients that a backward op computes are chosen at two times. When the graph is made, they are the options
// with_dx and with_weights. When the op runs, tokens tell which ones are needed (liveness_ops.cc). Tokens are the last
// inputs: none, or one for dx and one for the weight gradients. For each token there is an output that tells whether
// the gradients were computed. These outputs come after the outputs that are always there, and before the optional
// ones.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "fastseq/names.h"
#include "fastseq/statement.h"
#include "op_support.h"

namespace fastseq::tensorflow {

template <class Operation, class = void>
struct HasTokens : std::false_type {};
template <class Operation>
struct HasTokens<Operation, std::void_t<decltype(Operation::with_dx)>> : std::true_type {};

// Visits the outputs in the order of the TensorFlow op. If the op has tokens, it calls between() at the position of the
// outputs that tell whether gradients were computed.
template <class Operation, class Between, class Visit>
void for_each_output_in_order(Operation& operation, const Between& between, const Visit& visit) {
  if constexpr (!HasTokens<Operation>::value) return operation.for_each_output(visit);
  for (const bool optional : {false, true}) {
    if (optional) between();
    operation.for_each_output([&](const Output& output, Array& array, const Array& like) {
      if (output.optional == optional) visit(output, array, like);
    });
  }
}

// --- the definition --------------------------------------------------------------------------------------------------

inline std::string attr_spec(bool option) { return option ? "bool = true" : "bool = false"; }
inline std::string attr_spec(int64_t option) { return "int = " + std::to_string(option); }
template <class Option, class = std::enable_if_t<std::is_enum_v<Option>>>
std::string attr_spec(Option option) {
  std::string allowed;
  const std::vector<std::string> names = names_from(option);
  for (const std::string& name : names) allowed += (allowed.empty() ? "{'" : ", '") + name + "'";
  return allowed + "} = '" + names.front() + "'";
}

// The type of a tensor in TensorFlow's notation.
inline std::string type_of(Holds holds) {
  static constexpr const char* kTypes[] = {"T", "bool", "Tids", "uint8"};
  return kTypes[static_cast<size_t>(holds)];
}

// "FastseqMaxPoolForward" for "max_pool_forward".
inline std::string op_name(const std::string& name) {
  std::string op = "Fastseq";
  bool begins = true;
  for (const char letter : name) {
    if (letter != '_') op += begins ? static_cast<char>(letter - 'a' + 'A') : letter;
    begins = letter == '_';
  }
  return op;
}

template <class Operation>
OpDefinition define() {
  Operation operation;
  OpDefinition op{op_name(Operation::name()), {}, {}, {}};
  operation.for_each_option(
      [&](const char* name, auto& option) { op.attrs.push_back(std::string(name) + ": " + attr_spec(option)); });
  operation.for_each_input([&](const Input& input, auto& value) {
    const bool is_array = std::is_same_v<decltype(value), Array&>;
    if (is_array && input.holds == Holds::kIntegers) op.attrs.emplace_back("Tids: {int32, int64}");
    op.inputs.push_back(std::string(input.name) + ": " + (is_array ? type_of(input.holds) : "int64"));
  });
  if (HasTokens<Operation>::value) {
    op.attrs.emplace_back("tokens: int >= 0 = 0");
    op.inputs.emplace_back("token: tokens * uint8");
  }
  for_each_output_in_order(
      operation, [&] { op.outputs.emplace_back("computed: tokens * uint8"); },
      [&](const Output& output, Array&, const Array&) {
        op.outputs.push_back(std::string(output.name) + ": " + type_of(output.holds));
      });
  return op;
}

// --- the kernel ------------------------------------------------------------------------------------------------------

template <class Operation>
class StatedOp {
 public:
  explicit StatedOp(Attributes& attributes) {
    prototype_.for_each_option([&](const char* name, auto& option) { attributes.read(name, &option); });
    if (!HasTokens<Operation>::value) return;
    const int64_t tokens = attributes.integer("tokens");
    if (tokens != 0 && tokens != 2) attributes.fail(TF_INVALID_ARGUMENT, "tokens must be 0 or 2");
    tokens_ = tokens == 2;
  }

  // Sets the shapes of outputs as far as they follow from the shapes of inputs. Shapes of outputs that come after the
  // tokens' outputs are not set: their positions depend on the number of tokens, which is an attribute.
  static void infer_shapes(Shapes& shapes) {
    Operation operation;
    int index = 0;
    operation.for_each_input([&](const Input& input, auto& value) {
      if constexpr (std::is_same_v<decltype(value), Array&>) value = shapes.sizes_of_input(index, input.rank);
      ++index;
    });
    index = 0;
    bool known = true;
    for_each_output_in_order(
        operation, [&] { known = false; },
        [&](const Output& output, Array&, const Array& like) {
          if (known) shapes.set_output_of(index++, like, output.optional, output.holds == Holds::kSaved);
        });
  }

  void compute(Context& context) const {
    Operation operation = prototype_;
    operation.for_each_input([&](const Input& input, auto& value) {
      if constexpr (std::is_same_v<decltype(value), Array&>) {
        const Array array = input.is_required ? context.next_input() : context.next_optional_input();
        value = input.holds == Holds::kSaved && array.present ? bytes_as(array, input.dtype) : array;
      } else {
        value = context.next_number(input.name);
      }
    });
    if (context.ok()) context.check(operation.make_plan());
    if (!context.ok()) return;
    const auto read_tokens = [&] {
      if constexpr (HasTokens<Operation>::value) {
        if (!tokens_) return;
        operation.with_dx &= context.next_live();
        operation.with_weights &= context.next_live();
      }
    };
    for_each_output_in_order(operation, read_tokens, [&](const Output& output, Array& array, const Array& like) {
      array = next_output(context, output, like);
    });
    void* scratch = context.scratch(operation.plan.scratch_bytes);
    if (context.ok()) context.check(operation.run(scratch));
  }

 private:
  static Array next_output(Context& context, const Output& output, const Array& like) {
    const bool saved = output.holds == Holds::kSaved;
    Array tensor = saved ? as_bytes(like) : like;
    if (output.wanted) {
      const Array array = context.next_output(tensor.dtype, tensor.shape, tensor.rank);
      return saved ? bytes_as(array, like.dtype) : array;
    }
    tensor.rank = std::max(tensor.rank, 1);
    tensor.shape[tensor.rank > 1 ? 1 : 0] = 0;
    context.next_output(tensor.dtype, tensor.shape, tensor.rank);
    return {};
  }

  Operation prototype_;  // has the options; its arrays are unused
  bool tokens_ = false;
};

template <class Operation>
bool register_stated() {
  return register_op<StatedOp<Operation>>(define<Operation>());
}

}  // namespace fastseq::tensorflow

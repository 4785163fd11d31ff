// A graph of operations that is run without a framework, for prediction: the contract.
//
// A program is a list of nodes. A node is an operation (operation_list.h) with its options and its arrays. Arrays are
// values, which have numbers: first the constants, then the program's inputs, then the results of the nodes in order.
// The first axis of every value that is not a constant is the batch.
//
// A call needs a plan of every node, and memory for the values between nodes. Both are kept for the next call with
// arrays of the same shapes. Weights that operations pack (Preparing in statement.h) are packed once for all calls.
// Several threads may call one program at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq {

using OptionValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;

struct ProgramNode {
  std::string operation;
  std::string label;                                         // for errors: the layer that the node computes
  std::vector<std::pair<std::string, OptionValue>> options;  // those that differ from the defaults
  std::vector<std::pair<std::string, int64_t>> inputs;       // names of the operation's arrays, with values
  std::vector<std::pair<std::string, int64_t>> outputs;      // names of the results that others use, with values
};

struct ProgramInput {
  enum class Kind { kFloat32, kFloat64, kIntegers, kBools };  // integers: int32 or int64
  std::string name;
  int rank;
  Kind kind;
};

struct ProgramGraph {
  std::vector<Array> constants;  // the caller keeps their memory as long as the program exists
  std::vector<ProgramInput> inputs;
  std::vector<ProgramNode> nodes;
  std::vector<int64_t> outputs;
};

// What a call spent on a node, and its results.
struct NodeProfile {
  double seconds = 0;
  std::vector<Array> results;  // without data
};

class Program {
 public:
  // A call in progress: what it needs for inputs of its sizes. When it is destroyed, the program keeps that for the
  // next call of the same sizes. It must not outlive the program.
  class Call;
  struct EndCall {
    void operator()(Call* call) const;
  };
  using CallPointer = std::unique_ptr<Call, EndCall>;

  // Checks operations, options and values. Sizes are checked by the first call.
  static Status make(const ProgramGraph& graph, std::unique_ptr<Program>* program);
  ~Program();

  // Begins a call with inputs of these dtypes and shapes, which need no data yet. Sets *outputs to arrays without
  // memory. A large batch will be computed in pieces, so that the memory between nodes stays small. With `threads` = 0
  // the call has the process's number of threads.
  Status begin(const std::vector<Array>& inputs, int threads, CallPointer* call, std::vector<Array>* outputs) const;
  // Computes the outputs. `profile`, optional, gets an entry for each node; its times are sums over all pieces.
  Status run(Call& call, const std::vector<Array>& inputs, const std::vector<Array>& outputs,
             std::vector<NodeProfile>* profile = nullptr) const;
  // The bytes of packed weights, and of what is kept for later calls.
  size_t bytes() const;

 private:
  class Implementation;
  explicit Program(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace fastseq

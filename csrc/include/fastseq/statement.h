// The statement of an operation: a struct at the end of the operation's header, which lists its input arrays, its
// options and its outputs, each once and in order. The bindings and TensorFlow's ops are generated from it, so no front
// end lists an argument itself.
//
//   struct Operation {
//     static const char* name();                       // "max_pool_forward"
//     void for_each_input(const Visit& visit);         // visit(const Input&, Array& or a number&)
//     void for_each_option(const Visit& visit);        // visit(const char* name, option&); its C++ type is its kind
//     Status make_plan(how...);                        // after the inputs and options; no array needs data
//     void for_each_output(const Visit& visit);        // visit(const Output&, Array&, const Array& like)
//     Plan plan;                                       // with scratch_bytes; see Planned, below
//     Status run(void* scratch, stream...);
//   };
//
// An operation for prediction can do the part of its work that depends on weights alone once, for many calls: it is
// derived from Preparing. If its plan reads data, such as ids, it has `static constexpr bool kPlanReadsData = true`,
// and make_plan is called again for every call.
//
// `like` has the dtype and shape of an output that has no memory yet. for_each_output may be called before make_plan,
// with shapes of inputs that are known in part (TensorFlow's shape inference). Then sizes that only the plan knows are
// 0 in `like`.
#pragma once

#include <cstddef>
#include <string>

#include "fastseq/array.h"

namespace fastseq {

// The kind of an array's elements. kSaved: forward saves the array for backward, in a dtype that the core chooses.
// kAny: floats, bools or integers.
enum class Holds { kFloats, kBools, kIntegers, kSaved, kAny };

// Bytes as an array of a dtype, if they are a whole number of its elements, and an array as bytes. Frameworks see what
// forward saves for backward as raw bytes: its values at masked steps are undefined, and checks of all float tensors
// for NaN must not find them.
inline Array bytes_as(Array bytes, DType dtype) {
  const auto size = static_cast<int64_t>(dtype_bytes(dtype));
  if (bytes.rank < 1 || size == 0 || bytes.shape[bytes.rank - 1] % size != 0) return bytes;
  bytes.dtype = dtype;
  bytes.shape[bytes.rank - 1] /= size;
  return bytes;
}
inline Array as_bytes(Array array) {
  array.shape[array.rank - 1] *= static_cast<int64_t>(dtype_bytes(array.dtype));
  array.dtype = DType::kUInt8;
  return array;
}

// An input is an array or a number. An array that is not required may be absent.
struct Input {
  static constexpr int kAnyRank = -1;

  static Input required(const char* name, int rank = kAnyRank, Holds holds = Holds::kFloats) {
    return {name, holds, true, rank, DType::kOther};
  }
  static Input optional(const char* name, Holds holds = Holds::kFloats) {
    return {name, holds, false, kAnyRank, DType::kOther};
  }
  static Input saved(const char* name, DType dtype, bool is_required = true) {
    return {name, Holds::kSaved, is_required, kAnyRank, dtype};
  }
  static Input number(const char* name) { return {name, Holds::kFloats, true, 0, DType::kOther}; }

  const char* name;
  Holds holds;
  bool is_required;
  int rank;     // set where the shapes of outputs follow from this array's; else kAnyRank
  DType dtype;  // for kSaved only; may depend on the inputs before this one
};

struct Output {
  static Output always(const char* name, Holds holds = Holds::kFloats) { return {name, holds, false, true}; }
  static Output when(bool wanted, const char* name, Holds holds = Holds::kFloats) {
    return {name, holds, true, wanted};
  }

  const char* name;
  Holds holds;
  bool optional;
  bool wanted;
};

// An option that state_options does not visit: the plan does not need it, or only one of forward and backward has it.
struct Flag {
  const char* name;
  bool& value;
};

// The sizes that all sequence ops have.
struct SequenceDims {
  int64_t batch = 0;
  int64_t timesteps = 0;
  DType dtype = DType::kFloat32;
};

// A prepared call: sizes, options, the instruction set whose kernels it uses, and the size of its scratch.
template <class Dims, class Options>
struct PlanOf {
  Dims dims;
  Options options;
  const struct Isa* isa = nullptr;
  size_t scratch_bytes = 0;  // size of the scratch that the caller provides, aligned to kMemoryAlignment (memory.h)
};

struct NoOptions {};
template <class Visit>
void state_options(NoOptions&, const Visit&) {}

// The gradients that a backward operation computes.
struct Wanted {
  bool with_dx = true;
  bool with_weights = true;
};

// The base of operations that prepare. Their weights are the inputs with the names below. They have, too:
//
//   size_t prepared_bytes() const;        // after make_plan; 0 if there is nothing to prepare
//   int prepared_for() const;             // what was prepared for one plan serves all plans with the same number
//   void prepare(void* memory) const;     // the weights have data
struct Preparing {
  const void* prepared = nullptr;  // for run(); null: not prepared

  static bool is_weight(const std::string& name) {
    return name == "kernel" || name == "recurrent_kernel" || name == "bias";
  }
};

// The base of all operations: the options that the plan needs, and the plan. state_options(options, visit) visits the
// options. An operation with further options, its flags, passes them to for_each_option.
template <class Options, class MadePlan>
struct Planned {
  Options options;
  MadePlan plan;

  template <class Visit, class... Flags>
  void for_each_option(const Visit& visit, const Flags&... flags) {
    state_options(options, visit);
    (visit(flags.name, flags.value), ...);
  }
};

}  // namespace fastseq

// How a contract states its operations. Each is a struct at the end of its header, which says once and in order which
// arrays the operation takes, which options, and what it gives. Front ends walk that; they list nothing themselves.
//
//   struct Operation {
//     static const char* name();                       // "max_pool_forward"
//     void for_each_input(const Visit& visit);         // visit(const Input&, Array& or a number&)
//     void for_each_option(const Visit& visit);        // visit(const char* name, option&), whose type says its kind
//     Status make_plan(how...);                        // from what has been read; no array needs data
//     void for_each_output(const Visit& visit);        // visit(const Output&, Array&, const Array& like)
//     Plan plan;                                       // with scratch_bytes; see Planned, below
//     Status run(void* scratch, stream...);
//   };
//
// `like` has the dtype and shape of an output before there is memory. A front end that knows the shapes of inputs in
// part, and no plan, learns as much of an output: a size that follows from options is 0 before there is a plan.
#pragma once

#include <cstddef>

#include "fastseq/array.h"

namespace fastseq {

// What the elements of an array may be. kSaved is what forward hands to backward, of a dtype that is the core's affair.
enum class Holds { kFloats, kBools, kIntegers, kSaved };

// The bytes as an array of a dtype, where they are a whole number of its elements, and the other way. Frameworks get what
// forward saves for backward as raw bytes: what it has at masked steps is undefined, and whoever checks the numbers of all
// float tensors must not meet that.
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

// One that is not required is an array that may be absent. Numbers may differ from call to call, as arrays do.
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
  int rank;     // where sizes of outputs follow from its sizes
  DType dtype;  // of kSaved, when the inputs before it have been read
};

struct Output {
  static Output always(const char* name) { return {name, Holds::kFloats, false, true}; }
  static Output when(bool wanted, const char* name, Holds holds = Holds::kFloats) {
    return {name, holds, true, wanted};
  }

  const char* name;
  Holds holds;
  bool optional;
  bool wanted;
};

// An option of an operation that is none of its plan.
struct Flag {
  const char* name;
  bool& value;
};

// What the sizes of every sequence op begin with.
struct SequenceDims {
  int64_t batch = 0;
  int64_t timesteps = 0;
  DType dtype = DType::kFloat32;
};

// A call prepared: which kernels, how much scratch.
template <class Dims, class Options>
struct PlanOf {
  Dims dims;
  Options options;
  const struct Isa* isa = nullptr;
  size_t scratch_bytes = 0;  // of memory to hand over, aligned to kMemoryAlignment (memory.h), content undefined
};

struct NoOptions {};
template <class Visit>
void state_options(NoOptions&, const Visit&) {}

// Of a backward operation: which gradients to compute.
struct Wanted {
  bool with_dx = true;
  bool with_weights = true;
};

// What operations are made of: the options that the plan needs, as state_options(options, visit) states them, and the
// plan. Where there are flags, for_each_option of the operation names them to this one.
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

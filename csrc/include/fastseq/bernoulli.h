// Random booleans with the bits of `jax.random.bernoulli`: the contract.
//
//   outputs[i] = u_i < probability,   u_i = (word_i >> 9) / 2^23
//
// word_i is the exclusive or of the two words to which Threefry2x32-20 (Salmon et al. 2011, "Parallel random numbers:
// as easy as 1, 2, 3") maps the counter i, high word first, with the key. JAX computes the words so with its default
// generator, if `jax_threefry_partitionable` is set, which is the default. The probability is rounded to float32.
//
// Parallel over elements. The result has the same bits for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/array.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct BernoulliOptions {
  int64_t count = 0;         // the number of booleans
  double probability = 0.5;  // of true; in [0, 1]
};

// A prepared call.
struct BernoulliPlan {
  int64_t count = 0;
  uint32_t threshold = 0;  // a boolean is true if word >> 9 is below this
  const struct Isa* isa = nullptr;
  int threads = 1;
  static constexpr size_t scratch_bytes = 0;
};

// Checks the options; the error names the argument, what was expected and what came.
Status bernoulli_plan(const Array& key, const BernoulliOptions& options, BernoulliPlan* plan);
// `key` is int32 (2,), with the bits of JAX's key; `outputs` is bool (count,).
Status bernoulli(const BernoulliPlan& plan, const Array& key, const Array& outputs);

// --- the statement (statement.h) -------------------------------------------------------------------------------------

template <class Visit>
void state_options(BernoulliOptions& options, const Visit& visit) {
  visit("count", options.count);
}

struct Bernoulli : Planned<BernoulliOptions, BernoulliPlan> {
  Array key;
  Array outputs;

  static const char* name() { return "bernoulli"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("key", 1, Holds::kIntegers), key);
    visit(Input::number("probability"), options.probability);
  }
  Status make_plan() { return bernoulli_plan(key, options, &plan); }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("outputs", Holds::kBools), outputs, Array::like(DType::kBool, {options.count}));
  }
  Status run(void*) const { return bernoulli(plan, key, outputs); }
};

}  // namespace fastseq

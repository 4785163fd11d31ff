// Dropout (Hinton et al. 2012; Srivastava et al. 2014), scaled in training as Keras has it: the contract.
//
//   y = keep ? x * scale : 0,   keep = u >= rate,   scale = 1 / (1 - rate)
//
// The noise u, uniform in [0, 1), is that of TensorFlow's stateless random ops on a CPU: a function of the seed and of
// an element's index, so it can be drawn again. The gradient of dropout is dropout of the gradient with the same noise:
// either drawn again, from the same seed, or, where forward saved them, by the bits that say what was kept. Those take
// 1/32 of the memory of a float32 x, and reading them a fraction of the time of drawing.
//
// The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): under a key of
// two words of 32 bits it turns a counter of four words into four random ones.
//
//   key, c = the first two and the last two words of Philox(counter: seed[0], seed[1], low words first; a fixed key)
//   words 4j ... 4j + 3 = Philox(counter: j, low word first, c; key)
//   u of element i: word i mod 2^23, over 2^23, in float32
//                   words 2i mod 2^20 and 2i + 1 as one number of 52 bits, over 2^52, in float64
//                   word i mod 2^10, over 2^10, where x was cast to float32 from float16, and with 7 bits from bfloat16
//
// scale is computed in float64; it and the rate are rounded to the dtype, or to what x was cast from. What is dropped
// becomes +0 whatever it was, a NaN too.
//
// The noise may have fewer elements than x, which then share them: its shape is broadcast to that of x, as in NumPy.
// Parallel over elements; the same bits for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

enum class HalfType { kNone, kFloat16, kBfloat16 };

// "none", "float16" or "bfloat16"; the error names the argument.
Status parse_half_type(const char* argument, const std::string& name, HalfType* half_type);

struct DropoutOptions {
  double rate = 0.0;                     // in [0, 1]; 1 drops everything
  int64_t seed[2] = {0, 0};              // any numbers
  HalfType cast_from = HalfType::kNone;  // what a float32 x was before it was cast
  std::vector<int64_t> noise_shape;      // empty: that of x; so is a size of -1
};

// A call prepared.
struct DropoutPlan {
  DType dtype = DType::kFloat32;
  const struct Isa* isa = nullptr;
  int threads = 1;
  // x, in the order of its memory, is (outer..., rows, count, repeat): rows share their noise, which has `count`
  // elements, each that of `repeat` elements of x. Outer dimensions, the last one first, have noise of their own or
  // share it, in turn.
  struct Outer {
    int64_t size;
    bool shares;
  };
  int outer_rank = 0;
  Outer outer[Array::kMaxRank] = {};
  int64_t rows = 1;
  int64_t count = 1;
  int64_t repeat = 1;
  uint32_t key[2] = {};      // the generator's
  uint32_t counter[2] = {};  // c
  int64_t bits = 0;          // 2^n - 1 where u has n random bits
  int64_t threshold = 0;     // what these bits, as a number, must reach
  double scale = 1.0;
  static constexpr size_t scratch_bytes = 0;
};

// Checks shapes and options; the error names the argument, what was expected and what came.
Status dropout_plan(const Array& x, const DropoutOptions& options, DropoutPlan* plan);
// Of a mask: a bit for each element of the noise, rounded up to whole bytes.
int64_t dropout_mask_bytes(const DropoutPlan& plan);
// `x` as it was planned with; `y` has its dtype and shape; it is x, or does not overlap it. `mask`, where present, is
// uint8 (dropout_mask_bytes,): bit i mod 8 of byte i / 8 becomes 1 where element i is kept, and 0 behind the last
// element. Only for noise of x's own shape: shared noise is drawn quickly.
Status dropout(const DropoutPlan& plan, const Array& x, const Array& y, const Array& mask = {});
// The gradient by x from that by y, with the mask that dropout saved. The plan is one for `dy`, of any seed; `dx` has
// its dtype and shape; it is dy, or does not overlap it.
Status dropout_gradient(const DropoutPlan& plan, const Array& mask, const Array& dy, const Array& dx);

// --- the statement (statement.h), of what is drawn again for the gradient --------------------------------------------

template <class Visit>
void state_options(DropoutOptions& options, const Visit& visit) {
  visit("noise_shape", options.noise_shape);
}

struct Dropout : Planned<DropoutOptions, DropoutPlan> {
  Array x;
  Array y;

  static const char* name() { return "dropout"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
    visit(Input::number("rate"), options.rate);
    visit(Input::number("seed"), options.seed);
  }
  Status make_plan() { return dropout_plan(x, options, &plan); }
  template <class Visit>
  void for_each_output(const Visit& visit) {
    visit(Output::always("y"), y, x);
  }
  Status run(void*) const { return dropout(plan, x, y); }
};

}  // namespace fastseq

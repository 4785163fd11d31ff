// Dropout (Hinton et al. 2012; Srivastava et al. 2014), scaled in training as Keras has it: the contract.
//
//   y = keep ? x * scale : 0,   keep = u >= rate,   scale = 1 / (1 - rate)
//
// The noise u, uniform in [0, 1), is that of TensorFlow's stateless random ops on a CPU. It is a function of the seed
// and of an element's index, so it can be drawn again. The gradient of dropout is dropout of the gradient with the same
// noise. Either the noise is drawn again from the same seed, or forward has saved a mask, a bit for each element that
// tells whether it was kept. The mask takes 1/32 of the memory of a float32 x, and reading it takes a fraction of the
// time of drawing.
//
// The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). With a key of two
// 32-bit words it maps a counter of four words to four random words.
//
//   key, c = the first two and the last two words of Philox(counter: seed[0], seed[1], low words first; a fixed key)
//   words 4j ... 4j + 3 = Philox(counter: j, low word first, c; key)
//   u of element i: word i mod 2^23, over 2^23, in float32
//                   words 2i mod 2^20 and 2i + 1 as one number of 52 bits, over 2^52, in float64
//                   word i mod 2^10, over 2^10, where x was cast to float32 from float16, and with 7 bits from bfloat16
//
// scale is computed in float64. scale and rate are rounded to the dtype of x, or to the dtype that x was cast from. A
// dropped element becomes +0, even a NaN.
//
// The noise may have fewer elements than x: its shape is broadcast to that of x, as in NumPy. Parallel over elements.
// The result has the same bits for any number of threads.
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
  HalfType cast_from = HalfType::kNone;  // the dtype from which a float32 x was cast
  std::vector<int64_t> noise_shape;      // empty: the shape of x; a size of -1: that of x
};

// A prepared call.
struct DropoutPlan {
  DType dtype = DType::kFloat32;
  const struct Isa* isa = nullptr;
  int threads = 1;
  // x is treated as an array of shape (outer..., rows, count, repeat). Its `rows` have the same noise: `count`
  // elements, each for `repeat` elements of x. Along an outer dimension the noise is either the same or different; the
  // two kinds alternate. `outer` has the last outer dimension first.
  struct Outer {
    int64_t size;
    bool shares;  // the same noise along this dimension
  };
  int outer_rank = 0;
  Outer outer[Array::kMaxRank] = {};
  int64_t rows = 1;
  int64_t count = 1;
  int64_t repeat = 1;
  uint32_t key[2] = {};      // the generator's
  uint32_t counter[2] = {};  // c
  int64_t bits = 0;          // 2^n - 1 where u has n random bits
  int64_t threshold = 0;     // an element is kept if these bits, as a number, are at least this
  double scale = 1.0;
  static constexpr size_t scratch_bytes = 0;
};

// Checks shapes and options; the error names the argument, what was expected and what came.
Status dropout_plan(const Array& x, const DropoutOptions& options, DropoutPlan* plan);
// The size of a mask: a bit for each element of the noise, rounded up to whole bytes.
int64_t dropout_mask_bytes(const DropoutPlan& plan);
// `x` is the array of the plan. `y` has its dtype and shape; it is x itself, or does not overlap it. `mask`, where
// present, is uint8 (dropout_mask_bytes,): bit i mod 8 of byte i / 8 becomes 1 if element i is kept; bits after the
// last element become 0. A mask is only possible if the noise has the shape of x; smaller noise is drawn again quickly.
Status dropout(const DropoutPlan& plan, const Array& x, const Array& y, const Array& mask = {});
// The gradient by x from the gradient by y and the mask that dropout saved. The plan is made for `dy`, with any seed.
// `dx` has the dtype and shape of dy; it is dy itself, or does not overlap it.
Status dropout_gradient(const DropoutPlan& plan, const Array& mask, const Array& dy, const Array& dx);

// --- the statement (statement.h); without a mask: the noise is drawn again for the gradient --------------------------

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

// Operations on each element: the contract. elementary.h says what all of them share.
#pragma once

#include <cstdint>
#include <limits>

#include "fastseq/elementary.h"

namespace fastseq {

// The functions of `activate`, as in keras.activations. Some have parameters, alpha, beta and gamma.
//   kElu            x where x > 0, else alpha (exp(x) - 1)
//   kGelu           x (1 + erf(x / sqrt(2))) / 2
//   kGeluTanh       x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
//   kLeakyRelu      x where x > 0, else alpha x
//   kRectifier      keras.activations.relu with negative_slope alpha, max_value beta and threshold gamma:
//                   min(max(x, 0), beta) where x > gamma, else alpha (x - gamma). If beta is infinite or NaN, there is
//                   no maximum, and x > gamma is not changed
enum class Pointwise {
  kTanh,
  kSigmoid,
  kHardSigmoid,
  kRelu,
  kLinear,
  kElu,
  kSelu,
  kSoftplus,
  kSoftsign,
  kSilu,
  kHardSilu,
  kGelu,
  kGeluTanh,
  kExponential,
  kLeakyRelu,
  kRelu6,
  kMish,
  kLogSigmoid,
  kTanhShrink,
  kRectifier
};

// outputs[i] = function(x[i]). `outputs` may be x itself.
struct Activate : Elementary {
  Array x;  // floats
  Pointwise function = Pointwise::kLinear;
  double alpha = 0;
  double beta = std::numeric_limits<double>::infinity();
  double gamma = 0;

  static const char* name() { return "activate"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("function", function);
    visit("alpha", alpha);
    visit("beta", beta);
    visit("gamma", gamma);
  }
  Status make_plan();
  Status run(void*) const;
};

enum class Combination { kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum };

// outputs = a (how) b, with shapes that broadcast as in NumPy. The maximum and the minimum of NaN and a number are NaN.
struct Combine : Elementary {
  Array a;  // floats
  Array b;  // of a's dtype
  Combination how = Combination::kAdd;

  static const char* name() { return "combine"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("a"), a);
    visit(Input::required("b"), b);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("how", how);
  }
  Status make_plan();
  Status run(void*) const;
};

enum class MaskCombination { kAnd, kOr };

// outputs[i] = a[i] (how) b[i].
struct CombineMasks : Elementary {
  Array a;  // bools
  Array b;  // bools of a's shape
  MaskCombination how = MaskCombination::kAnd;

  static const char* name() { return "combine_masks"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("a", Input::kAnyRank, Holds::kBools), a);
    visit(Input::required("b", Input::kAnyRank, Holds::kBools), b);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("how", how);
  }
  Status make_plan();
  Status run(void*) const;
};

// outputs[i] = (x[i] != value), bools. The value is rounded to x's dtype if that is a float type. With any_last,
// whether that holds for any element of the last axis, which the result does not have.
struct Unequal : Elementary {
  Array x;  // floats or integers
  double value = 0;
  bool any_last = false;

  static const char* name() { return "unequal"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", Input::kAnyRank, Holds::kAny), x);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("value", value);
    visit("any_last", any_last);
  }
  Status make_plan();
  Status run(void*) const;
};

// outputs[b][t] = mask[b][t] ? x[b][t] : 0, or with `masked` the other steps: mask[b][t] ? 0 : x[b][t]. `outputs` may
// be x itself.
struct Keep : Elementary {
  Array x;     // floats (B, T, ...)
  Array mask;  // bools (B, T)
  bool masked = false;

  static const char* name() { return "keep"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
    visit(Input::required("mask", Input::kAnyRank, Holds::kBools), mask);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("masked", masked);
  }
  Status make_plan();
  Status run(void*) const;
};

}  // namespace fastseq

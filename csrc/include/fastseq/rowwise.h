// Operations on the rows of an array, or along one of its axes: the contract. elementary.h says what all of them share.
#pragma once

#include <cstdint>

#include "fastseq/elementary.h"

namespace fastseq {

// outputs = exp(x) / sum of exp(x) over the last axis, or the logarithm of that. Elements whose mask is false have a
// weight of zero, also where a row's mask is false everywhere, as in keras.layers.Softmax. `outputs` may be x itself.
struct Softmax : Elementary {
  Array x;     // floats (..., N)
  Array mask;  // bools of x's shape, optional
  bool log = false;

  static const char* name() { return "softmax"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
    visit(Input::optional("mask", Holds::kBools), mask);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("log", log);
  }
  Status make_plan();
  Status run(void*) const;
};

// outputs = (x - mean) / sqrt(variance + epsilon) gamma + beta, where the mean and the variance are those of the last
// `axes` axes. With rms, nothing is subtracted: x / sqrt(mean of x^2 + epsilon) gamma + beta. `outputs` may be x
// itself.
struct LayerNormalization : Elementary {
  Array x;      // floats
  Array gamma;  // of x's dtype and of the shape of its last `axes` axes, optional
  Array beta;   // like gamma, optional
  int64_t axes = 1;
  double epsilon = 1e-3;
  bool rms = false;

  static const char* name() { return "layer_normalization"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
    visit(Input::optional("gamma"), gamma);
    visit(Input::optional("beta"), beta);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("axes", axes);
    visit("epsilon", epsilon);
    visit("rms", rms);
  }
  Status make_plan();
  Status run(void*) const;
};

enum class Reduction { kMax, kMean, kSum };

// The maximum, mean or sum along an axis, which the result does not have. With a mask, the mean of those elements whose
// mask is true. The maximum is NaN where an element is; of no elements, the maximum is -inf and the mean NaN.
struct Reduce : Elementary {
  Array x;     // floats
  Array mask;  // bools of the shape of x's axes up to `axis`, optional; for kMean only
  int64_t axis = 1;
  Reduction how = Reduction::kMax;

  static const char* name() { return "reduce"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
    visit(Input::optional("mask", Holds::kBools), mask);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("axis", axis);
    visit("how", how);
  }
  Status make_plan();
  Status run(void*) const;
};

// outputs[b] = x[b][t], where t is the last step, or the last step whose mask is true. A row without such a step gives
// zeros.
struct LastStep : Elementary {
  Array x;     // floats (B, T, F)
  Array mask;  // bools (B, T), optional

  static const char* name() { return "last_step"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", 3), x);
    visit(Input::optional("mask", Holds::kBools), mask);
  }
  template <class Visit>
  void for_each_option(const Visit&) {}
  Status make_plan();
  Status run(void*) const;
};

}  // namespace fastseq

// Activations over a vector vocabulary, for every ISA the same sequence of correctly rounded operations.
//
// sigmoid and tanh rest on one range reduction, y = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite 1980, ln 2 in two
// parts), and on
//   expm1(r) ~ r + r^2 q(r),  q of degree 4,
// a least-maximum fit of q with |error| <= 4.4e-9 on the interval, under a tenth of half an ulp of float.
// Their quotients take a Newton reciprocal, cheaper than the division instruction, and correct the result by its
// remainder, so that what is left is the error of the two operands and one rounding. Measured: at most 2 ulp over the
// whole range (tests/test_activations.py). The limits are exact: sigmoid(-inf) = 0, sigmoid(inf) = 1, tanh(+-inf) = +-1,
// tanh(+-0) = +-0; NaN gives NaN. Results below the smallest normal float are zero (denormals are flushed).
#pragma once

#include "fastseq/activation.h"

namespace fastseq {
namespace {

// expm1(r) and n of the reduction: exp(y) = 2^n (1 + expm1(r)).
template <class S>
inline void reduce_exp(typename S::V y, typename S::V* expm1_r, typename S::V* exponent) {
  using V = typename S::V;
  const V n = S::round(S::mul(y, S::set(1.44269504F)));  // log2(e)
  // ln 2 = kHigh + kLow; n * kHigh is exact since kHigh has 9 significant bits and |n| < 2^8.
  constexpr float kHigh = 0.693359375F;
  constexpr float kLow = -2.12194440e-4F;
  const V r = S::fnma(n, S::set(kLow), S::fnma(n, S::set(kHigh), y));
  V q = S::set(0x1.6db4e8p-10F);
  q = S::fma(q, r, S::set(0x1.123bdep-7F));
  q = S::fma(q, r, S::set(0x1.55545ep-5F));
  q = S::fma(q, r, S::set(0x1.55548ep-3F));
  q = S::fma(q, r, S::set(0.5F));
  *expm1_r = S::fma(S::mul(r, r), q, r);
  *exponent = n;
}

// 1 / x good to 6.6e-6: the guess is good to 5.1 %, each step of Newton's squares the error.
template <class S>
inline typename S::V rough_reciprocal(typename S::V x) {
  typename S::V inverse = S::reciprocal_guess(x);
  for (int step = 0; step < 2; ++step) inverse = S::mul(inverse, S::fnma(x, inverse, S::set(2.0F)));
  return inverse;
}

// 1 / (1 + exp(-x)) = 2^-n / (2^-n + 1 + expm1(r)) for -x = n ln 2 + r: the divisor is near 1 for all negative x, and
// small results survive, as the power of two comes on last.
template <class S>
inline typename S::V sigmoid(typename S::V x) {
  using V = typename S::V;
  const V one = S::set(1.0F);
  // From 18 on the result rounds to 1; from -87.34 down it is below the smallest normal float.
  const V y = S::sub(S::zero(), S::at_most(S::set(18.0F), S::at_least(S::set(-87.5F), x)));
  V p, n;
  reduce_exp<S>(y, &p, &n);
  const V power = S::scale(one, S::sub(S::zero(), n));
  const V whole = S::add(one, power);
  const V divisor = S::add(whole, p);
  const V lost = S::sub(p, S::sub(divisor, whole));  // of p, in that sum
  const V inverse = rough_reciprocal<S>(divisor);
  const V remainder = S::fnma(inverse, lost, S::fnma(inverse, divisor, one));
  return S::mul(power, S::fma(remainder, inverse, inverse));
}

// tanh(|x|) = m / (m + 2) with m = expm1(2|x|): accurate for small |x| as well, where m = expm1(r) itself.
template <class S>
inline typename S::V tanh(typename S::V x) {
  using V = typename S::V;
  const V one = S::set(1.0F);
  const V magnitude = S::abs(x);
  // At 2|x| = 20 the quotient already rounds to 1.
  const V y = S::at_most(S::set(20.0F), S::add(magnitude, magnitude));
  V p, n;
  reduce_exp<S>(y, &p, &n);
  const V power = S::scale(one, n);
  const V m = S::fma(p, power, S::sub(power, one));
  const V two = S::set(2.0F);
  const V divisor = S::add(m, two);
  const V lost = S::sub(m, S::sub(divisor, two));  // of m, in that sum
  const V inverse = rough_reciprocal<S>(divisor);
  const V first = S::mul(m, inverse);
  const V remainder = S::fnma(first, lost, S::fnma(first, divisor, m));
  const V quotient = S::fma(remainder, inverse, first);
  // Below 2^-13, x - x^3 / 3 is x but for a tenth of an ulp; and the remainder of a tiny m would be flushed.
  return S::copy_sign(S::select(S::less(magnitude, S::set(0x1p-13F)), magnitude, quotient), x);
}

// An activation known at compile time: what the cells' usual ones run on.
template <class S, Activation kActivation>
struct Fixed {
  using V = typename S::V;
  V operator()(V x) const {
    if constexpr (kActivation == Activation::kTanh) {
      return tanh<S>(x);
    } else if constexpr (kActivation == Activation::kSigmoid) {
      return sigmoid<S>(x);
    } else if constexpr (kActivation == Activation::kHardSigmoid) {
      const V line = S::fma(x, S::set(static_cast<typename S::T>(1.0 / 6.0)), S::set(0.5F));
      return S::at_most(S::set(1), S::at_least(S::zero(), line));
    } else if constexpr (kActivation == Activation::kRelu) {
      return S::at_least(S::zero(), x);
    } else {
      return x;
    }
  }
  // The derivative, from the activated value.
  V slope(V y) const {
    const V one = S::set(1);
    if constexpr (kActivation == Activation::kTanh) {
      return S::fnma(y, y, one);
    } else if constexpr (kActivation == Activation::kSigmoid) {
      return S::mul(y, S::sub(one, y));
    } else if constexpr (kActivation == Activation::kHardSigmoid) {
      const V inside = S::select(S::less(y, one), S::set(static_cast<typename S::T>(1.0 / 6.0)), S::zero());
      return S::select(S::less(S::zero(), y), inside, S::zero());
    } else if constexpr (kActivation == Activation::kRelu) {
      return S::select(S::less(S::zero(), y), one, S::zero());
    } else {
      return one;
    }
  }
};

// Any activation, picked anew for every vector: the branch is always the same one.
template <class S>
struct Chosen {
  using V = typename S::V;
  Activation activation;
  V operator()(V x) const {
    switch (activation) {
      case Activation::kTanh:
        return Fixed<S, Activation::kTanh>()(x);
      case Activation::kSigmoid:
        return Fixed<S, Activation::kSigmoid>()(x);
      case Activation::kHardSigmoid:
        return Fixed<S, Activation::kHardSigmoid>()(x);
      case Activation::kRelu:
        return Fixed<S, Activation::kRelu>()(x);
      case Activation::kLinear:
        break;
    }
    return x;
  }
  V slope(V y) const {
    switch (activation) {
      case Activation::kTanh:
        return Fixed<S, Activation::kTanh>().slope(y);
      case Activation::kSigmoid:
        return Fixed<S, Activation::kSigmoid>().slope(y);
      case Activation::kHardSigmoid:
        return Fixed<S, Activation::kHardSigmoid>().slope(y);
      case Activation::kRelu:
        return Fixed<S, Activation::kRelu>().slope(y);
      case Activation::kLinear:
        break;
    }
    return S::set(1);
  }
};

// Calls body(activation, recurrent activation), Keras's default pair known at compile time.
template <class S, class Args, class Body>
inline void with_activations(const Args& args, const Body& body) {
  if (args.activation == Activation::kTanh && args.recurrent_activation == Activation::kSigmoid)
    body(Fixed<S, Activation::kTanh>(), Fixed<S, Activation::kSigmoid>());
  else
    body(Chosen<S>{args.activation}, Chosen<S>{args.recurrent_activation});
}

}  // namespace
}  // namespace fastseq

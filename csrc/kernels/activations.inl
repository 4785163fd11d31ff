// Activations over a vector vocabulary. All ISAs have the same sequence of correctly rounded operations.
//
// sigmoid and tanh use one range reduction, y = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite 1980, ln 2 in two
// parts), and the approximation
//   expm1(r) ~ r + r^2 q(r),  q of degree 4,
// a minimax fit of q with |error| <= 4.4e-9 on the interval, less than a tenth of half an ulp of float.
// Their quotients use a Newton reciprocal, which is cheaper than the division instruction, and correct the result by
// its remainder. Then the error is that of the two operands and one rounding. Measured: at most 2 ulp over the whole
// range (tests/test_activations.py). The limits are exact: sigmoid(-inf) = 0, sigmoid(inf) = 1, tanh(+-inf) = +-1,
// tanh(+-0) = +-0; NaN gives NaN. Results below the smallest normal float are zero (denormals are flushed).
#pragma once

#include "fastseq/activation.h"

namespace fastseq {
namespace {

// y = n ln 2 + r, for -126 <= n <= 127.
template <class S>
struct ReducedExp {
  using V = typename S::V;
  V expm1_r;  // with kSign -1: -expm1(-r), so that exp(-y) = 2^-n (1 - expm1_r)
  V power;    // 2^n

  template <int kSign>
  static ReducedExp of(V y) {
    // Adding 1.5 * 2^23 rounds to an integer, which is in the lowest bits. With 127 added, these are the exponent bits
    // of 2^n.
    constexpr float kShift = 12582912.0F + 127.0F;
    const V shifted = S::fma(y, S::set(1.44269504F), S::set(kShift));  // log2(e)
    const V n = S::sub(shifted, S::set(kShift));
    // ln 2 = kHigh + kLow; n * kHigh is exact since kHigh has 9 significant bits and |n| < 2^8.
    constexpr float kHigh = 0.693359375F;
    constexpr float kLow = -2.12194440e-4F;
    const V r = S::fnma(n, S::set(kLow), S::fnma(n, S::set(kHigh), y));
    V q = S::set(0x1.6db4e8p-10F);
    q = S::fma(q, r, S::set(kSign * 0x1.123bdep-7F));
    q = S::fma(q, r, S::set(0x1.55545ep-5F));
    q = S::fma(q, r, S::set(kSign * 0x1.55548ep-3F));
    q = S::fma(q, r, S::set(0.5F));
    const V square = S::mul(r, r);
    return {kSign > 0 ? S::fma(square, q, r) : S::fnma(square, q, r), S::low_bits_as_exponent(shifted)};
  }
};

// 1 / x with a relative error of at most 6.6e-6: that of the guess is 5.1 %, and each Newton step squares it.
template <class S>
inline typename S::V rough_reciprocal(typename S::V x) {
  typename S::V inverse = S::reciprocal_guess(x);
  for (int step = 0; step < 2; ++step) inverse = S::mul(inverse, S::fnma(x, inverse, S::set(2.0F)));
  return inverse;
}

// 1 / (1 + exp(-x)) = 2^n / (2^n + 1 + expm1(-r)) for x = n ln 2 + r. The divisor is near 1 for all negative x, and
// small results do not underflow early, since the power of two is multiplied last.
template <class S>
inline typename S::V sigmoid(typename S::V x) {
  using V = typename S::V;
  const V one = S::set(1.0F);
  // At 18 and above the result rounds to 1; at -87.34 and below it is less than the smallest normal float.
  const auto e = ReducedExp<S>::template of<-1>(S::at_most(S::set(18.0F), S::at_least(S::set(-87.5F), x)));
  const V whole = S::add(one, e.power);
  const V divisor = S::sub(whole, e.expm1_r);
  const V excess = S::add(e.expm1_r, S::sub(divisor, whole));  // the rounding error of the divisor
  const V inverse = rough_reciprocal<S>(divisor);
  const V remainder = S::fma(inverse, excess, S::fnma(inverse, divisor, one));
  return S::mul(e.power, S::fma(remainder, inverse, inverse));
}

// tanh(|x|) = m / (m + 2) with m = expm1(2|x|): accurate for small |x| as well, where m = expm1(r) itself.
template <class S>
inline typename S::V tanh(typename S::V x) {
  using V = typename S::V;
  const V one = S::set(1.0F);
  const V two = S::set(2.0F);
  const V magnitude = S::abs(x);
  // At 2|x| = 20 the quotient already rounds to 1.
  const auto e = ReducedExp<S>::template of<1>(S::at_most(S::set(20.0F), S::add(magnitude, magnitude)));
  const V m = S::fma(e.expm1_r, e.power, S::sub(e.power, one));
  const V divisor = S::add(m, two);
  const V lost = S::sub(m, S::sub(divisor, two));  // the rounding error of the divisor
  const V inverse = rough_reciprocal<S>(divisor);
  const V first = S::mul(m, inverse);
  const V remainder = S::fnma(first, lost, S::fnma(first, divisor, m));
  const V quotient = S::fma(remainder, inverse, first);
  // Below 2^-13, x - x^3 / 3 differs from x by less than a tenth of an ulp, and the remainder for a tiny m would be
  // flushed to zero.
  return S::copy_sign(S::select(S::less(magnitude, S::set(0x1p-13F)), magnitude, quotient), x);
}

// An activation known at compile time, for the cells' default activations. W is any vocabulary.
template <Activation kActivation>
struct Fixed {
  static constexpr bool kFixed = true;

  template <class W>
  typename W::V of(const typename W::V& x) const {
    using T = typename W::T;
    if constexpr (kActivation == Activation::kTanh) {
      return tanh<W>(x);
    } else if constexpr (kActivation == Activation::kSigmoid) {
      return sigmoid<W>(x);
    } else if constexpr (kActivation == Activation::kHardSigmoid) {
      const typename W::V line = W::fma(x, W::set(static_cast<T>(1.0 / 6.0)), W::set(static_cast<T>(0.5)));
      return W::at_most(W::set(1), W::at_least(W::set(0), line));
    } else if constexpr (kActivation == Activation::kRelu) {
      return W::at_least(W::set(0), x);
    } else {
      return x;
    }
  }
  // The derivative, computed from the activated value.
  template <class W>
  typename W::V slope(const typename W::V& y) const {
    using T = typename W::T;
    const typename W::V one = W::set(1);
    if constexpr (kActivation == Activation::kTanh) {
      return W::fnma(y, y, one);
    } else if constexpr (kActivation == Activation::kSigmoid) {
      return W::mul(y, W::sub(one, y));
    } else if constexpr (kActivation == Activation::kHardSigmoid) {
      const typename W::V inside = W::select(W::less(y, one), W::set(static_cast<T>(1.0 / 6.0)), W::set(0));
      return W::select(W::less(W::set(0), y), inside, W::set(0));
    } else if constexpr (kActivation == Activation::kRelu) {
      return W::select(W::less(W::set(0), y), one, W::set(0));
    } else {
      return one;
    }
  }
};

// An activation known at run time. It branches for every vector, always to the same case, so the branch is predicted.
struct Chosen {
  static constexpr bool kFixed = false;
  Activation activation;

  template <class W>
  typename W::V of(const typename W::V& x) const {
    return pick([&](auto fixed) { return fixed.template of<W>(x); });
  }
  template <class W>
  typename W::V slope(const typename W::V& y) const {
    return pick([&](auto fixed) { return fixed.template slope<W>(y); });
  }

 private:
  template <class Body>
  inline auto pick(const Body& body) const {
    switch (activation) {
      case Activation::kTanh:
        return body(Fixed<Activation::kTanh>());
      case Activation::kSigmoid:
        return body(Fixed<Activation::kSigmoid>());
      case Activation::kHardSigmoid:
        return body(Fixed<Activation::kHardSigmoid>());
      case Activation::kRelu:
        return body(Fixed<Activation::kRelu>());
      case Activation::kLinear:
        break;
    }
    return body(Fixed<Activation::kLinear>());
  }
};

// Calls body(activation, recurrent activation). Keras's default pair is known at compile time.
template <class Args, class Body>
inline void with_activations(const Args& args, const Body& body) {
  if (args.activation == Activation::kTanh && args.recurrent_activation == Activation::kSigmoid)
    body(Fixed<Activation::kTanh>(), Fixed<Activation::kSigmoid>());
  else
    body(Chosen{args.activation}, Chosen{args.recurrent_activation});
}

}  // namespace
}  // namespace fastseq

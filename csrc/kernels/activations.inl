// sigmoid and tanh over a vector vocabulary, for every ISA the same sequence of correctly rounded operations.
//
// Both rest on one range reduction, y = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite 1980, ln 2 in two parts), and on
//   expm1(r) ~ r + r^2 q(r),  q of degree 4,
// a least-maximum fit of q with |error| <= 4.4e-9 on the interval, under a tenth of half an ulp of float.
// Their quotients take a Newton reciprocal, cheaper than the division instruction, and correct the result by its
// remainder, so that what is left is the error of exp and one rounding. Measured: at most 2 ulp over the whole range
// (tests/test_activations.py). The limits are exact: sigmoid(-inf) = 0, sigmoid(inf) = 1, tanh(+-inf) = +-1,
// tanh(+-0) = +-0; NaN gives NaN. Results below the smallest normal float are zero.
#pragma once

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

// numerator / (high + low) for a positive high, |low| at most half an ulp of high. The numerator must be at least about
// 2^-100, or the remainder is flushed to zero.
template <class S>
inline typename S::V quotient(typename S::V numerator, typename S::V high, typename S::V low) {
  using V = typename S::V;
  // The guess is good to 5.1 %; each step of Newton's squares the error: 0.26 %, 6.6e-6; so does the remainder: 4e-11.
  V inverse = S::reciprocal_guess(high);
  for (int step = 0; step < 2; ++step) inverse = S::mul(inverse, S::fnma(high, inverse, S::set(2.0F)));
  const V first = S::mul(numerator, inverse);
  const V remainder = S::fnma(first, low, S::fnma(first, high, numerator));
  return S::fma(remainder, inverse, first);
}

// 1 / (1 + exp(-x)), from e = exp(-|x|) so that nothing overflows: 1 / (1 + e) or e / (1 + e).
template <class S>
inline typename S::V sigmoid(typename S::V x) {
  using V = typename S::V;
  const V smallest = S::set(-87.33654F);  // the last float whose exp is a normal float
  const V minus_abs = S::sub(S::zero(), S::abs(x));
  V p, n;
  reduce_exp<S>(S::at_least(smallest, minus_abs), &p, &n);
  const V one = S::set(1.0F);
  const V mantissa = S::select(S::less(minus_abs, smallest), S::zero(), S::add(one, p));
  const V e = S::scale(mantissa, n);
  const V sum = S::add(one, e);
  const V rest = S::sub(e, S::sub(sum, one));  // exact, since e <= 1
  // e's power of two comes on after the division, which small numbers would not survive.
  const auto negative = S::less(x, S::zero());
  const V fraction = quotient<S>(S::select(negative, mantissa, one), sum, rest);
  return S::scale(fraction, S::select(negative, n, S::zero()));
}

// tanh(|x|) = m / (m + 2) with m = expm1(2|x|): accurate for small |x| as well, where m = expm1(r) itself.
template <class S>
inline typename S::V tanh(typename S::V x) {
  using V = typename S::V;
  const V magnitude = S::abs(x);
  // At 2|x| = 20 the quotient already rounds to 1.
  const V y = S::at_most(S::set(20.0F), S::add(magnitude, magnitude));
  V p, n;
  reduce_exp<S>(y, &p, &n);
  const V power = S::scale(S::set(1.0F), n);
  const V m = S::fma(p, power, S::sub(power, S::set(1.0F)));
  const V two = S::set(2.0F);
  const V sum = S::add(m, two);
  // What the sum lost of the smaller of its two terms.
  const V bigger = S::at_least(two, m);
  const V smaller = S::at_most(two, m);
  const V fraction = quotient<S>(m, sum, S::sub(smaller, S::sub(sum, bigger)));
  // Below 2^-13, x - x^3 / 3 is x but for a tenth of an ulp.
  return S::copy_sign(S::select(S::less(magnitude, S::set(0x1p-13F)), magnitude, fraction), x);
}

}  // namespace
}  // namespace fastseq

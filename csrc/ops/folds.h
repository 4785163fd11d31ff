// Sums, maxima and the like of contiguous elements, in an order that the compiler can vectorise.
#pragma once

#include <cstdint>

namespace fastseq {

// fold(... fold(start, term(0)) ..., term(count - 1)) in 16 interleaved parts, which are then folded in pairs.
template <class T, class Term, class Fold>
T fold(int64_t count, T start, const Term& term, const Fold& fold) {
  constexpr int kLanes = 16;
  T lanes[kLanes];
  for (T& lane : lanes) lane = start;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = fold(lanes[lane], term(i + lane));
  for (int lane = 0; i < count; ++i, ++lane) lanes[lane] = fold(lanes[lane], term(i));
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] = fold(lanes[lane], lanes[lane + half]);
  return lanes[0];
}

template <class T, class Term>
T sum(int64_t count, const Term& term) {
  return fold(count, T(0), term, [](T a, T b) { return a + b; });
}

// The larger and the smaller of two numbers, or NaN if one of them is. Loops of these have no branches, since `|`
// computes both sides. They are types, as lambdas are, so that a loop that is given one has its code inline.
struct Larger {
  template <class T>
  T operator()(T a, T b) const {
    return (a > b) | (a != a) ? a : b;
  }
};
struct Smaller {
  template <class T>
  T operator()(T a, T b) const {
    return (a < b) | (a != a) ? a : b;
  }
};

}  // namespace fastseq

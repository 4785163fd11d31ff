// Adam's update of contiguous elements, and the sums of a sparse gradient's slices.
#pragma once

#include <limits>

#include "kernels.h"
#include "vectors.inl"

namespace fastseq {
namespace {

// No fused multiply-add: the results must be those of separate operations.
template <class S, bool kSquares, bool kHat>
inline __attribute__((always_inline)) void adam_as(const AdamArgs<typename S::T>& args) {
  for_each_vector<S, 1>(args.count, [&](auto vocabulary, int64_t i, auto load, auto store) {
    using W = decltype(vocabulary);
    const auto g = load(args.gradient + i);
    const auto squares = kSquares ? load(args.squares + i) : W::mul(g, g);
    const auto m = load(args.momentum.from + i);
    const auto v = load(args.velocity.from + i);
    const auto new_m = W::add(m, W::mul(W::sub(g, m), W::set(args.momentum_rate)));
    const auto new_v = W::add(v, W::mul(W::sub(squares, v), W::set(args.velocity_rate)));
    store(args.momentum.to + i, new_m);
    store(args.velocity.to + i, new_v);
    auto divisor = new_v;
    if constexpr (kHat) {
      // The greater of the two. A NaN in either must remain; so the result is the sum if hat is infinite or NaN.
      const auto hat = load(args.velocity_hat.from + i);
      const auto is_finite = W::less(hat, W::set(std::numeric_limits<typename W::T>::infinity()));
      divisor = W::select(is_finite, W::at_least(hat, new_v), W::add(hat, new_v));
      store(args.velocity_hat.to + i, divisor);
    }
    divisor = W::add(W::sqrt(divisor), W::set(args.epsilon));
    const auto step = W::div(W::mul(new_m, W::set(args.alpha)), divisor);
    store(args.variable.to + i, W::sub(load(args.variable.from + i), step));
  });
}

// A copy of the arguments: otherwise the compiler must assume that a store to an array could change them.
template <class S>
void adam(const AdamArgs<typename S::T>& by_reference) {
  const AdamArgs<typename S::T> args = by_reference;
  const bool hat = args.velocity_hat.to != nullptr;
  if (args.squares)
    hat ? adam_as<S, true, true>(args) : adam_as<S, true, false>(args);
  else
    hat ? adam_as<S, false, true>(args) : adam_as<S, false, false>(args);
}

// A plain loop, which compilers vectorise well.
template <class S>
void add_with_squares(int64_t count, const typename S::T* __restrict from, typename S::T* __restrict sums,
                      typename S::T* __restrict squares) {
  for (int64_t i = 0; i < count; ++i) {
    sums[i] += from[i];
    squares[i] += from[i] * from[i];
  }
}

}  // namespace
}  // namespace fastseq

// Independent chains of multiply-adds, as many as a product's tile has accumulators. They are more than the latency of
// the multiply-add units times the number of units (8 to 10 on x86, 16 on ARM cores with four units), and they fit the
// registers.
#pragma once

#include "kernels.h"
#include "unrolled.h"

namespace fastseq {
namespace {

template <class S>
constexpr int kChains = S::kTiles.rows * S::kTiles.vectors;

template <class S>
typename S::T run_chains(int64_t steps, typename S::T factor, typename S::T term) {
  const auto a = S::set(factor);
  const auto b = S::set(term);
  typename S::V acc[kChains<S>];
  // Different values, since the compiler could compute equal chains once.
  unrolled<kChains<S>>([&](auto i) { acc[i] = S::set(static_cast<typename S::T>(static_cast<int>(i))); });
  for (int64_t step = 0; step < steps; ++step) unrolled<kChains<S>>([&](auto i) { acc[i] = S::fma(acc[i], a, b); });
  auto sum = S::set(0);
  unrolled<kChains<S>>([&](auto i) { sum = S::add(sum, acc[i]); });
  typename S::T lanes[S::kLanes];
  S::store(lanes, sum);
  return lanes[0];
}

}  // namespace
}  // namespace fastseq

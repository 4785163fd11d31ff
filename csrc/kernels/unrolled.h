// Loops of constant length without a loop.
#pragma once

namespace fastseq {
namespace {

// body(0), ..., body(N - 1), each with its index as a constant: what is indexed by it can live in registers.
template <int kIndex>
struct Index {
  constexpr operator int() const { return kIndex; }
};
template <int N, class Body>
inline __attribute__((always_inline)) void unrolled(const Body& body) {
  if constexpr (N > 0) {
    unrolled<N - 1>(body);
    body(Index<N - 1>());
  }
}

}  // namespace
}  // namespace fastseq

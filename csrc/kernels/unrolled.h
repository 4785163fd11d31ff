// Loops of constant length, unrolled at compile time.
#pragma once

namespace fastseq {
namespace {

// Calls body(0), ..., body(N - 1) with indices that are constants. So arrays indexed by them can be in registers.
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

// Loops over the vectors of a row of elements.
#pragma once

#include <cstdint>

#include "simd_wide.h"

namespace fastseq {
namespace {

// Calls body(vocabulary, u, load, store) for N vectors of elements from u on, or for fewer at the end. The last vector
// has `valid` elements.
template <class S, int N, class Body>
inline void for_some_vectors(int64_t u, int64_t vectors, int valid, const Body& body) {
  using T = typename S::T;
  using W = typename SideBySide<S, N>::type;
  if constexpr (N > 1) {
    if (vectors < N) return for_some_vectors<S, N - 1>(u, vectors, valid, body);
  }
  if (valid == S::kLanes)
    body(W(), u, [](const T* p) { return W::load(p); }, [](T* p, const typename W::V& v) { W::store(p, v); });
  else
    body(
        W(), u, [valid](const T* p) { return W::load_partial(p, valid); },
        [valid](T* p, const typename W::V& v) { W::store_partial(p, v, valid); });
}

// Calls body in this way for all of `count` elements, N vectors at a time.
template <class S, int N, class Body>
inline void for_each_vector(int64_t count, const Body& body) {
  const int64_t vectors = (count + S::kLanes - 1) / S::kLanes;
  const int last = static_cast<int>(count - (vectors - 1) * S::kLanes);
  for (int64_t v = 0; v < vectors; v += N)
    for_some_vectors<S, N>(v * S::kLanes, vectors - v, v + N < vectors ? S::kLanes : last, body);
}

}  // namespace
}  // namespace fastseq

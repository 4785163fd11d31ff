// What the elementwise kernels of all cells share: loops over the vectors of a row.
#pragma once

#include "activations.inl"
#include "kernels.h"
#include "simd_wide.h"

namespace fastseq {
namespace {

// body(vocabulary, u, load, store) for N vectors of `units` elements from u on, or fewer at the end, the last one partial
// where `valid` is not a whole vector.
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
    body(W(), u, [valid](const T* p) { return W::load_partial(p, valid); },
         [valid](T* p, const typename W::V& v) { W::store_partial(p, v, valid); });
}

// Calls body as above for all of `units` elements; several vectors side by side if the activation's code is short enough,
// which is to say that it is known.
template <class S, class Act, class Body>
inline void for_each_vector(const Act&, int64_t units, const Body& body) {
  constexpr int N = Act::kFixed ? S::kSideBySide : 1;
  const int64_t vectors = (units + S::kLanes - 1) / S::kLanes;
  const int last = static_cast<int>(units - (vectors - 1) * S::kLanes);
  for (int64_t v = 0; v < vectors; v += N)
    for_some_vectors<S, N>(v * S::kLanes, vectors - v, v + N < vectors ? S::kLanes : last, body);
}

// What reaches h_t: from the next step and, where there is any, from the output.
template <class W, class T, class Load>
inline typename W::V gradient_of_h(const T* dh, const T* dy, int64_t u, const Load& load) {
  return dy ? W::add(load(dh + u), load(dy + u)) : load(dh + u);
}

}  // namespace
}  // namespace fastseq

// What the elementwise kernels of all cells share: loops over the vectors of a row.
#pragma once

#include "activations.inl"
#include "kernels.h"

namespace fastseq {
namespace {

// Calls body(u, load, store) for each vector of `units` elements from u on, the last one partial.
template <class S, class Body>
inline void for_each_vector(int64_t units, const Body& body) {
  using T = typename S::T;
  using V = typename S::V;
  int64_t u = 0;
  for (; u + S::kLanes <= units; u += S::kLanes)
    body(u, [](const T* p) { return S::load(p); }, [](T* p, V v) { S::store(p, v); });
  const int rest = static_cast<int>(units - u);
  if (rest)
    body(u, [rest](const T* p) { return S::load_partial(p, rest); },
         [rest](T* p, V v) { S::store_partial(p, v, rest); });
}

// What reaches h_t: from the next step and, where there is any, from the output.
template <class S, class Load>
inline typename S::V gradient_of_h(const typename S::T* dh, const typename S::T* dy, int64_t u, const Load& load) {
  return dy ? S::add(load(dh + u), load(dy + u)) : load(dh + u);
}

}  // namespace
}  // namespace fastseq

// The common part of the cells' elementwise kernels.
#pragma once

#include "activations.inl"
#include "kernels.h"
#include "vectors.inl"

namespace fastseq {
namespace {

// Calls body(vocabulary, u, load, store) for the vectors of `units` elements. If the activation is known at compile
// time, several vectors are computed together (simd_wide.h); else the code would be too long.
template <class S, class Act, class Body>
inline void for_each_vector(const Act&, int64_t units, const Body& body) {
  for_each_vector<S, Act::kFixed ? S::kTiles.side_by_side : 1>(units, body);
}

// The gradient of h_t: from the next step, plus that of the output where there is one.
template <class W, class T, class Load>
inline typename W::V gradient_of_h(const T* dh, const T* dy, int64_t u, const Load& load) {
  return dy ? W::add(load(dh + u), load(dy + u)) : load(dh + u);
}

}  // namespace
}  // namespace fastseq

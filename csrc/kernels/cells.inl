// What the elementwise kernels of all cells share.
#pragma once

#include "activations.inl"
#include "kernels.h"
#include "vectors.inl"

namespace fastseq {
namespace {

// Calls body(vocabulary, u, load, store) for the vectors of `units` elements; several side by side if the activation's
// code is short enough, which is to say that it is known.
template <class S, class Act, class Body>
inline void for_each_vector(const Act&, int64_t units, const Body& body) {
  for_each_vector<S, Act::kFixed ? S::kTiles.side_by_side : 1>(units, body);
}

// What reaches h_t: from the next step and, where there is any, from the output.
template <class W, class T, class Load>
inline typename W::V gradient_of_h(const T* dh, const T* dy, int64_t u, const Load& load) {
  return dy ? W::add(load(dh + u), load(dy + u)) : load(dh + u);
}

}  // namespace
}  // namespace fastseq

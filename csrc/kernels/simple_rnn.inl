// The elementwise part of a SimpleRNN step (Elman 1990): h = act(z). Workspace of a unit: h.
#pragma once

#include "cells.inl"

namespace fastseq {
namespace {

template <class S, class Args, class Body>
inline void with_activation(const Args& args, const Body& body) {
  if (args.activation == Activation::kTanh)
    body(Fixed<S, Activation::kTanh>());
  else
    body(Chosen<S>{args.activation});
}

template <class S>
void simple_rnn_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activation<S>(args, [&](auto activation) {
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* z = args.z + r * args.units;
      const T* recurrent = args.recurrent + r * args.units;
      T* h_row = args.h + r * args.stride;
      T* saved = args.saved ? args.saved[r] : nullptr;
      for_each_vector<S>(args.units, [&](int64_t u, auto load, auto store) {
        const V h = activation(S::add(load(z + u), load(recurrent + u)));
        store(h_row + u, h);
        if (saved) store(saved + u, h);
      });
    }
  });
}

template <class S>
void simple_rnn_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activation<S>(args, [&](auto activation) {
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* h = args.saved[r];
      const T* dy = args.dy[r];
      const T* dh_row = args.dh + r * args.units;
      T* dz = args.dz[r];
      for_each_vector<S>(args.units, [&](int64_t u, auto load, auto store) {
        store(dz + u, S::mul(gradient_of_h<S>(dh_row, dy, u, load), activation.slope(load(h + u))));
      });
    }
  });
}

}  // namespace
}  // namespace fastseq

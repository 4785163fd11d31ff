// The elementwise part of a SimpleRNN step (Elman 1990): h = act(z). The workspace of a unit has h.
#pragma once

#include "cells.inl"

namespace fastseq {
namespace {

template <class Args, class Body>
inline void with_activation(const Args& args, const Body& body) {
  if (args.activation == Activation::kTanh)
    body(Fixed<Activation::kTanh>());
  else
    body(Chosen{args.activation});
}

template <class S>
void simple_rnn_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activation(args, [&](auto activation) {
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* z = args.z[r];
      const T* recurrent = args.recurrent + r * args.units;
      T* h_row = args.h + r * args.stride;
      T* saved = args.saved ? args.saved[r] : nullptr;
      for_each_vector<S>(activation, args.units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const V h = activation.template of<W>(W::add(load(z + u), load(recurrent + u)));
        store(h_row + u, h);
        if (saved) store(saved + u, h);
      });
    }
  });
}

template <class S>
void simple_rnn_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activation(args, [&](auto activation) {
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* h = args.saved[r];
      const T* dy = args.dy[r];
      const T* dh_row = args.dh + r * args.units;
      T* dz = args.dz[r];
      for_each_vector<S>(activation, args.units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        store(dz + u, W::mul(gradient_of_h<W>(dh_row, dy, u, load), activation.template slope<W>(load(h + u))));
      });
    }
  });
}

}  // namespace
}  // namespace fastseq

// The elementwise part of an LSTM step, after Hochreiter and Schmidhuber 1997 with forget gate (Gers et al. 2000), in
// Keras's gate order i, f, c, o:  c = f c_prev + i g,  h = o act(c).
// The workspace of a unit has i, f, g, o, c, h. Backward computes act(c) again, which is cheaper than saving it.
#pragma once

#include "cells.inl"

namespace fastseq {
namespace {

template <class S>
void lstm_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activations(args, [&](auto activation, auto recurrent_activation) {
    const int64_t units = args.units;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* z = args.z[r];
      const T* recurrent = args.recurrent + r * 4 * units;
      T* c_row = args.c + r * units;
      T* h_row = args.h + r * args.stride;
      T* saved = args.saved ? args.saved[r] : nullptr;
      for_each_vector<S>(activation, units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const auto sum = [&](int64_t gate) {
          return W::add(load(z + gate * units + u), load(recurrent + gate * units + u));
        };
        const V i = recurrent_activation.template of<W>(sum(0));
        const V f = recurrent_activation.template of<W>(sum(1));
        const V g = activation.template of<W>(sum(2));
        const V o = recurrent_activation.template of<W>(sum(3));
        const V c = W::fma(f, load(c_row + u), W::mul(i, g));
        const V h = W::mul(o, activation.template of<W>(c));
        store(c_row + u, c);
        store(h_row + u, h);
        if (!saved) return;
        store(saved + u, i);
        store(saved + args.stride + u, f);
        store(saved + 2 * args.stride + u, g);
        store(saved + 3 * args.stride + u, o);
        store(saved + 4 * args.stride + u, c);
        store(saved + 5 * args.stride + u, h);
      });
    }
  });
}

template <class S>
void lstm_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activations(args, [&](auto activation, auto recurrent_activation) {
    const int64_t stride = args.stride;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* saved = args.saved[r];
      const T* c_prev = args.previous[r];
      const T* dy = args.dy[r];
      const T* dh_row = args.dh + r * args.units;
      T* dc_row = args.dc + r * args.units;
      T* dz = args.dz[r];
      for_each_vector<S>(activation, args.units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const V i = load(saved + u);
        const V f = load(saved + stride + u);
        const V g = load(saved + 2 * stride + u);
        const V o = load(saved + 3 * stride + u);
        const V act_c = activation.template of<W>(load(saved + 4 * stride + u));
        const V dh = gradient_of_h<W>(dh_row, dy, u, load);
        const V dc = W::fma(W::mul(dh, o), activation.template slope<W>(act_c), load(dc_row + u));
        store(dz + u, W::mul(W::mul(dc, g), recurrent_activation.template slope<W>(i)));
        store(dz + stride + u, W::mul(W::mul(dc, load(c_prev + u)), recurrent_activation.template slope<W>(f)));
        store(dz + 2 * stride + u, W::mul(W::mul(dc, i), activation.template slope<W>(g)));
        store(dz + 3 * stride + u, W::mul(W::mul(dh, act_c), recurrent_activation.template slope<W>(o)));
        store(dc_row + u, W::mul(dc, f));
      });
    }
  });
}

}  // namespace
}  // namespace fastseq

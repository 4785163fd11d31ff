// The elementwise part of an LSTM step, after Hochreiter and Schmidhuber 1997 with forget gate (Gers et al. 2000), in
// Keras's gate order i, f, c, o:  c = f c_prev + i g,  h = o act(c).
// Workspace of a unit: i, f, g, o, c. The backward step recomputes act(c) and h instead of reading them: cheaper than
// the memory they would take.
#pragma once

#include "cells.inl"

namespace fastseq {
namespace {

template <class S>
void lstm_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activations<S>(args, [&](auto activation, auto recurrent_activation) {
    const int64_t units = args.units;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* z = args.z + r * 4 * units;
      const T* recurrent = args.recurrent + r * 4 * units;
      T* c_row = args.c + r * units;
      T* h_row = args.h + r * args.stride;
      T* saved = args.saved ? args.saved[r] : nullptr;
      for_each_vector<S>(units, [&](int64_t u, auto load, auto store) {
        const auto sum = [&](int64_t gate) {
          return S::add(load(z + gate * units + u), load(recurrent + gate * units + u));
        };
        const V i = recurrent_activation(sum(0));
        const V f = recurrent_activation(sum(1));
        const V g = activation(sum(2));
        const V o = recurrent_activation(sum(3));
        const V c = S::fma(f, load(c_row + u), S::mul(i, g));
        store(c_row + u, c);
        store(h_row + u, S::mul(o, activation(c)));
        if (!saved) return;
        store(saved + u, i);
        store(saved + args.stride + u, f);
        store(saved + 2 * args.stride + u, g);
        store(saved + 3 * args.stride + u, o);
        store(saved + 4 * args.stride + u, c);
      });
    }
  });
}

template <class S>
void lstm_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activations<S>(args, [&](auto activation, auto recurrent_activation) {
    const int64_t stride = args.stride;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* saved = args.saved[r];
      const T* c_prev = args.previous[r];
      const T* dy = args.dy[r];
      const T* dh_row = args.dh + r * args.units;
      T* dc_row = args.dc + r * args.units;
      T* dz = args.dz[r];
      T* h = args.operand[r];
      for_each_vector<S>(args.units, [&](int64_t u, auto load, auto store) {
        const V i = load(saved + u);
        const V f = load(saved + stride + u);
        const V g = load(saved + 2 * stride + u);
        const V o = load(saved + 3 * stride + u);
        const V act_c = activation(load(saved + 4 * stride + u));
        const V dh = gradient_of_h<S>(dh_row, dy, u, load);
        const V dc = S::fma(S::mul(dh, o), activation.slope(act_c), load(dc_row + u));
        store(dz + u, S::mul(S::mul(dc, g), recurrent_activation.slope(i)));
        store(dz + stride + u, S::mul(S::mul(dc, load(c_prev + u)), recurrent_activation.slope(f)));
        store(dz + 2 * stride + u, S::mul(S::mul(dc, i), activation.slope(g)));
        store(dz + 3 * stride + u, S::mul(S::mul(dh, act_c), recurrent_activation.slope(o)));
        store(dc_row + u, S::mul(dc, f));
        store(h + u, S::mul(o, act_c));
      });
    }
  });
}

}  // namespace
}  // namespace fastseq

// The elementwise parts of a GRU step, after Cho et al. 2014 (arXiv 1406.1078), in Keras's gate order z, r, h and with
// Keras's blend  h = z h_prev + (1 - z) candidate.
//
// Forward and backward have two parts each. Without reset_after, the product of r h_prev and the recurrent kernel is
// computed between them. The workspace of a unit has z, r, candidate, h and, with reset_after, the recurrent part of
// the candidate before it is multiplied by r.
#pragma once

#include "cells.inl"

namespace fastseq {
namespace {

// Activates z and r, then multiplies by r: with reset_after the recurrent part of the candidate, else h_prev.
template <class S>
void gru_reset_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activations(args, [&](auto, auto recurrent_activation) {
    const int64_t units = args.units;
    for (int64_t row = 0; row < args.rows; ++row) {
      const T* z_row = args.z[row];
      T* recurrent = args.recurrent + row * 3 * units;
      T* saved = args.saved ? args.saved[row] : nullptr;
      for_each_vector<S>(recurrent_activation, units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const V z = recurrent_activation.template of<W>(W::add(load(z_row + u), load(recurrent + u)));
        const V r = recurrent_activation.template of<W>(W::add(load(z_row + units + u), load(recurrent + units + u)));
        store(recurrent + u, z);
        if (saved) {
          store(saved + u, z);
          store(saved + args.stride + u, r);
        }
        if (args.reset_after) {
          T* candidate = recurrent + 2 * units + u;
          const V before = load(candidate);
          store(candidate, W::mul(r, before));
          if (saved) store(saved + 4 * args.stride + u, before);
        } else {
          const int64_t at = row * args.stride + u;
          store(args.reset_h + at, W::mul(r, load(args.h_prev + at)));
        }
      });
    }
  });
}

template <class S>
void gru_update_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activations(args, [&](auto activation, auto) {
    const int64_t units = args.units;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* z_row = args.z[r];
      const T* recurrent = args.recurrent + r * 3 * units;
      const T* h_prev = args.h_prev + r * args.stride;
      T* h_row = args.h + r * args.stride;
      T* saved = args.saved ? args.saved[r] : nullptr;
      for_each_vector<S>(activation, units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const V z = load(recurrent + u);
        const V candidate =
            activation.template of<W>(W::add(load(z_row + 2 * units + u), load(recurrent + 2 * units + u)));
        const V h = W::fma(z, load(h_prev + u), W::mul(W::sub(W::set(1), z), candidate));
        store(h_row + u, h);
        if (!saved) return;
        store(saved + 2 * args.stride + u, candidate);
        store(saved + 3 * args.stride + u, h);
      });
    }
  });
}

// Computes dz of z and of the candidate, and replaces dh by the part of h_prev's gradient that comes through the blend.
template <class S>
void gru_update_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activations(args, [&](auto activation, auto recurrent_activation) {
    const int64_t stride = args.stride;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* saved = args.saved[r];
      const T* h_prev = args.previous[r];
      const T* dy = args.dy[r];
      T* dh_row = args.dh + r * args.units;
      T* dz = args.dz[r];
      for_each_vector<S>(activation, args.units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const V z = load(saved + u);
        const V candidate = load(saved + 2 * stride + u);
        const V dh = gradient_of_h<W>(dh_row, dy, u, load);
        store(dz + u,
              W::mul(W::mul(dh, W::sub(load(h_prev + u), candidate)), recurrent_activation.template slope<W>(z)));
        store(dz + 2 * stride + u, W::mul(W::mul(dh, W::sub(W::set(1), z)), activation.template slope<W>(candidate)));
        store(dh_row + u, W::mul(dh, z));
      });
    }
  });
}

// Computes dz of r, and the gradient of r's other factor: with reset_after the recurrent part of the candidate, else
// h_prev.
template <class S>
void gru_reset_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_activations(args, [&](auto, auto recurrent_activation) {
    const int64_t stride = args.stride;
    for (int64_t row = 0; row < args.rows; ++row) {
      const T* saved = args.saved[row];
      const T* h_prev = args.previous[row];
      T* dz = args.dz[row];
      for_each_vector<S>(recurrent_activation, args.units, [&](auto vocabulary, int64_t u, auto load, auto store) {
        using W = decltype(vocabulary);
        using V = typename W::V;
        const V r = load(saved + stride + u);
        const int64_t at = row * args.units + u;
        const V scaled = args.reset_after ? load(saved + 4 * stride + u) : load(h_prev + u);
        const V gradient = args.reset_after ? load(dz + 2 * stride + u) : load(args.dreset_h + at);
        store(dz + stride + u, W::mul(W::mul(gradient, scaled), recurrent_activation.template slope<W>(r)));
        if (args.reset_after) {
          store(dz + 3 * stride + u, W::mul(gradient, r));
        } else {
          store(args.dh + at, W::fma(gradient, r, load(args.dh + at)));
          store(args.reset_h[row] + u, W::mul(r, scaled));
        }
      });
    }
  });
}

}  // namespace
}  // namespace fastseq

// The elementwise parts of a GRU step, after Cho et al. 2014 (arXiv 1406.1078), in Keras's gate order z, r, h and with
// Keras's blend  h = z h_prev + (1 - z) candidate.
//
// Each pass has two parts. With reset_after they follow each other at once; without, the product of r h_prev with
// the recurrent kernel comes between. Workspace of a unit: z, r, candidate, h and, with reset_after, the
// recurrent part of the candidate before r scales it.
#pragma once

#include "cells.inl"

namespace fastseq {
namespace {

// Activates z and r in place; then what r resets: the recurrent part of the candidate, or h_prev.
template <class S>
void gru_reset_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activations<S>(args, [&](auto, auto recurrent_activation) {
    const int64_t units = args.units;
    for (int64_t row = 0; row < args.rows; ++row) {
      T* z_row = args.z + row * 3 * units;
      T* recurrent = args.recurrent + row * 3 * units;
      T* saved = args.saved ? args.saved[row] : nullptr;
      for_each_vector<S>(units, [&](int64_t u, auto load, auto store) {
        const V z = recurrent_activation(S::add(load(z_row + u), load(recurrent + u)));
        const V r = recurrent_activation(S::add(load(z_row + units + u), load(recurrent + units + u)));
        store(z_row + u, z);
        if (saved) {
          store(saved + u, z);
          store(saved + args.stride + u, r);
        }
        if (args.reset_after) {
          T* candidate = recurrent + 2 * units + u;
          const V before = load(candidate);
          store(candidate, S::mul(r, before));
          if (saved) store(saved + 4 * args.stride + u, before);
        } else {
          const int64_t at = row * args.stride + u;
          store(args.reset_h + at, S::mul(r, load(args.h_prev + at)));
        }
      });
    }
  });
}

template <class S>
void gru_update_forward(const CellForwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activations<S>(args, [&](auto activation, auto) {
    const int64_t units = args.units;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* z_row = args.z + r * 3 * units;
      const T* recurrent = args.recurrent + r * 3 * units;
      const T* h_prev = args.h_prev + r * args.stride;
      T* h_row = args.h + r * args.stride;
      T* saved = args.saved ? args.saved[r] : nullptr;
      for_each_vector<S>(units, [&](int64_t u, auto load, auto store) {
        const V z = load(z_row + u);
        const V candidate = activation(S::add(load(z_row + 2 * units + u), load(recurrent + 2 * units + u)));
        const V h = S::fma(z, load(h_prev + u), S::mul(S::sub(S::set(1), z), candidate));
        store(h_row + u, h);
        if (!saved) return;
        store(saved + 2 * args.stride + u, candidate);
        store(saved + 3 * args.stride + u, h);
      });
    }
  });
}

// dz of z and of the candidate; of dh, what h_prev gets through the blend.
template <class S>
void gru_update_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activations<S>(args, [&](auto activation, auto recurrent_activation) {
    const int64_t stride = args.stride;
    for (int64_t r = 0; r < args.rows; ++r) {
      const T* saved = args.saved[r];
      const T* h_prev = args.previous[r];
      const T* dy = args.dy[r];
      T* dh_row = args.dh + r * args.units;
      T* dz = args.dz[r];
      for_each_vector<S>(args.units, [&](int64_t u, auto load, auto store) {
        const V z = load(saved + u);
        const V candidate = load(saved + 2 * stride + u);
        const V dh = gradient_of_h<S>(dh_row, dy, u, load);
        store(dz + u, S::mul(S::mul(dh, S::sub(load(h_prev + u), candidate)), recurrent_activation.slope(z)));
        store(dz + 2 * stride + u, S::mul(S::mul(dh, S::sub(S::set(1), z)), activation.slope(candidate)));
        store(dh_row + u, S::mul(dh, z));
      });
    }
  });
}

// dz of r, and of what r scaled: the recurrent part of the candidate, or h_prev.
template <class S>
void gru_reset_backward(const CellBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  using V = typename S::V;
  with_activations<S>(args, [&](auto, auto recurrent_activation) {
    const int64_t stride = args.stride;
    for (int64_t row = 0; row < args.rows; ++row) {
      const T* saved = args.saved[row];
      const T* h_prev = args.previous[row];
      T* dz = args.dz[row];
      for_each_vector<S>(args.units, [&](int64_t u, auto load, auto store) {
        const V r = load(saved + stride + u);
        const int64_t at = row * args.units + u;
        const V scaled = args.reset_after ? load(saved + 4 * stride + u) : load(h_prev + u);
        const V gradient = args.reset_after ? load(dz + 2 * stride + u) : load(args.dreset_h + at);
        store(dz + stride + u, S::mul(S::mul(gradient, scaled), recurrent_activation.slope(r)));
        if (args.reset_after) {
          store(dz + 3 * stride + u, S::mul(gradient, r));
        } else {
          store(args.dh + at, S::fma(gradient, r, load(args.dh + at)));
          store(args.operand[row] + u, S::mul(r, scaled));
        }
      });
    }
  });
}

}  // namespace
}  // namespace fastseq

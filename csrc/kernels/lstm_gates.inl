// The elementwise part of an LSTM step for one batch row, after Hochreiter and Schmidhuber 1997 with forget gate
// (Gers et al. 2000), in Keras's gate order i, f, c, o and with Keras's activations tanh and sigmoid:
//   c = f c_prev + i g,  h = o tanh(c).
// The backward step recomputes tanh(c) and h instead of reading them: cheaper than the memory they would take.
#pragma once

#include "activations.inl"

namespace fastseq {
namespace {

// Calls body(load, store, offset) for each vector of `units` elements, the last one partial.
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

template <class S>
void lstm_gates_forward(const LstmGatesForwardArgs<typename S::T>& args) {
  using V = typename S::V;
  const int64_t units = args.units;
  for_each_vector<S>(units, [&](int64_t u, auto load, auto store) {
    auto* zi = args.gates + u;
    auto* zf = zi + units;
    auto* zc = zf + units;
    auto* zo = zc + units;
    const V i = sigmoid<S>(load(zi));
    const V f = sigmoid<S>(load(zf));
    const V g = tanh<S>(load(zc));
    const V o = sigmoid<S>(load(zo));
    const V c = S::fma(f, load(args.c_prev + u), S::mul(i, g));
    store(zi, i);
    store(zf, f);
    store(zc, g);
    store(zo, o);
    store(args.c + u, c);
    store(args.h + u, S::mul(o, tanh<S>(c)));
  });
}

template <class S>
void lstm_gates_backward(const LstmGatesBackwardArgs<typename S::T>& args) {
  using V = typename S::V;
  const int64_t units = args.units;
  const V one = S::set(1);
  for_each_vector<S>(units, [&](int64_t u, auto load, auto store) {
    const V i = load(args.gates + u);
    const V f = load(args.gates + units + u);
    const V g = load(args.gates + 2 * units + u);
    const V o = load(args.gates + 3 * units + u);
    const V tanh_c = tanh<S>(load(args.c + u));
    V dh = load(args.dh + u);
    if (args.dy) dh = S::add(dh, load(args.dy + u));
    const V dh_o = S::mul(dh, o);
    // dc gains dh o (1 - tanh(c)^2).
    const V dc = S::fma(dh_o, S::fnma(tanh_c, tanh_c, one), load(args.dc + u));
    auto* dz = args.dz + u;
    store(dz, S::mul(S::mul(dc, g), S::mul(i, S::sub(one, i))));
    store(dz + units, S::mul(S::mul(dc, load(args.c_prev + u)), S::mul(f, S::sub(one, f))));
    store(dz + 2 * units, S::mul(S::mul(dc, i), S::fnma(g, g, one)));
    store(dz + 3 * units, S::mul(S::mul(dh_o, tanh_c), S::sub(one, o)));
    store(args.dc + u, S::mul(dc, f));
    store(args.h + u, S::mul(o, tanh_c));
  });
}

}  // namespace
}  // namespace fastseq

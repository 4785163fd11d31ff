// A vector vocabulary whose vectors are N vectors of another one. Every operation is done N times in a row.
//
// An activation is a long chain of dependent operations. A CPU's scheduler looks only some 100 operations ahead, which
// is about four such chains if they are computed one after the other. If N chains are interleaved, the CPU can execute
// all of them in parallel.
#pragma once

#include "unrolled.h"

namespace fastseq {
namespace {

template <class S, int N>
struct Wide {
  using T = typename S::T;
  struct V {
    typename S::V at[N];
  };
  struct Flags {
    typename S::Flags at[N];
  };

  static V set(T x) {
    return map([x](auto) { return S::set(x); });
  }
  static V load(const T* p) {
    return map([p](auto i) { return S::load(p + i * S::kLanes); });
  }
  // All vectors are whole except the last one, which has n elements.
  static V load_partial(const T* p, int n) {
    return map(
        [p, n](auto i) { return i + 1 < N ? S::load(p + i * S::kLanes) : S::load_partial(p + i * S::kLanes, n); });
  }
  static void store(T* p, const V& v) {
    unrolled<N>([&](auto i) { S::store(p + i * S::kLanes, v.at[i]); });
  }
  static void store_partial(T* p, const V& v, int n) {
    unrolled<N - 1>([&](auto i) { S::store(p + i * S::kLanes, v.at[i]); });
    S::store_partial(p + (N - 1) * S::kLanes, v.at[N - 1], n);
  }
  static V add(const V& a, const V& b) {
    return map([&](auto i) { return S::add(a.at[i], b.at[i]); });
  }
  static V sub(const V& a, const V& b) {
    return map([&](auto i) { return S::sub(a.at[i], b.at[i]); });
  }
  static V mul(const V& a, const V& b) {
    return map([&](auto i) { return S::mul(a.at[i], b.at[i]); });
  }
  static V div(const V& a, const V& b) {
    return map([&](auto i) { return S::div(a.at[i], b.at[i]); });
  }
  static V sqrt(const V& a) {
    return map([&](auto i) { return S::sqrt(a.at[i]); });
  }
  static V fma(const V& a, const V& b, const V& c) {
    return map([&](auto i) { return S::fma(a.at[i], b.at[i], c.at[i]); });
  }
  static V fnma(const V& a, const V& b, const V& c) {
    return map([&](auto i) { return S::fnma(a.at[i], b.at[i], c.at[i]); });
  }
  static V abs(const V& a) {
    return map([&](auto i) { return S::abs(a.at[i]); });
  }
  static V copy_sign(const V& magnitude, const V& sign) {
    return map([&](auto i) { return S::copy_sign(magnitude.at[i], sign.at[i]); });
  }
  static V at_least(const V& bound, const V& x) {
    return map([&](auto i) { return S::at_least(bound.at[i], x.at[i]); });
  }
  static V at_most(const V& bound, const V& x) {
    return map([&](auto i) { return S::at_most(bound.at[i], x.at[i]); });
  }
  static V low_bits_as_exponent(const V& a) {
    return map([&](auto i) { return S::low_bits_as_exponent(a.at[i]); });
  }
  static V reciprocal_guess(const V& a) {
    return map([&](auto i) { return S::reciprocal_guess(a.at[i]); });
  }
  static Flags less(const V& a, const V& b) {
    Flags flags;
    unrolled<N>([&](auto i) { flags.at[i] = S::less(a.at[i], b.at[i]); });
    return flags;
  }
  static Flags less_or_nan(const V& a, const V& b) {
    Flags flags;
    unrolled<N>([&](auto i) { flags.at[i] = S::less_or_nan(a.at[i], b.at[i]); });
    return flags;
  }
  static Flags same_bits(const V& a, const V& b) {
    Flags flags;
    unrolled<N>([&](auto i) { flags.at[i] = S::same_bits(a.at[i], b.at[i]); });
    return flags;
  }
  static V select(const Flags& flags, const V& yes, const V& no) {
    return map([&](auto i) { return S::select(flags.at[i], yes.at[i], no.at[i]); });
  }

 private:
  template <class Operation>
  static inline __attribute__((always_inline)) V map(const Operation& operation) {
    V result;
    unrolled<N>([&](auto i) { result.at[i] = operation(i); });
    return result;
  }
};

// The vocabulary of N vectors; S itself for one.
template <class S, int N>
struct SideBySide {
  using type = Wide<S, N>;
};
template <class S>
struct SideBySide<S, 1> {
  using type = S;
};

}  // namespace
}  // namespace fastseq

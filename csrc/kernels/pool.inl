// Pooling of the rows of one window: the maximum, the mean, and their gradients.
//
// The outer loop is over vectors of channels, the inner one over the rows, so that the results stay in registers. The
// rows of a window stay in the first-level cache.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels.h"
#include "simd_common.h"
#include "vectors.inl"

namespace fastseq {
namespace {

// Positions in a window are integers in the lanes of float vectors. They are only selected and compared for equality of
// bits, so they are never used as floats.
template <class T>
struct Position;
template <>
struct Position<float> {
  using Integer = int32_t;
};
template <>
struct Position<double> {
  using Integer = int64_t;
};

template <class W>
inline typename W::V positions(int64_t position) {
  using T = typename W::T;
  return W::set(bit_copy<T>(static_cast<typename Position<T>::Integer>(position)));
}

// Calls body(i) for i < count, which is at most kMost. Mostly it is kMost, which is a loop of constant length.
template <int64_t kMost, class Body>
inline void for_lanes(int64_t count, const Body& body) {
  if (count == kMost)
    for (int64_t i = 0; i < kMost; ++i) body(i);
  else
    for (int64_t i = 0; i < count; ++i) body(i);
}

// Store and load the first `count` positions of a vector, to and from an array of type Index.
template <class W, class Index>
inline void store_positions(void* indices, int64_t begin, int64_t count, const typename W::V& vector) {
  using T = typename W::T;
  constexpr int64_t kLanes = sizeof(vector) / sizeof(T);
  T lanes[kLanes];
  W::store(lanes, vector);
  typename Position<T>::Integer integers[kLanes];
  std::memcpy(integers, lanes, sizeof(lanes));
  Index* out = static_cast<Index*>(indices) + begin;
  for_lanes<kLanes>(count, [&](int64_t i) { out[i] = static_cast<Index>(integers[i]); });
}

template <class W, class Index>
inline typename W::V load_positions(const void* indices, int64_t begin, int64_t count) {
  using T = typename W::T;
  constexpr int64_t kLanes = sizeof(typename W::V) / sizeof(T);
  typename Position<T>::Integer integers[kLanes] = {};
  const Index* in = static_cast<const Index*>(indices) + begin;
  for_lanes<kLanes>(count, [&](int64_t i) { integers[i] = in[i]; });
  T lanes[kLanes];
  std::memcpy(lanes, integers, sizeof(lanes));
  return W::load(lanes);
}

template <class W>
inline int64_t lanes_of(int64_t begin, int64_t channels) {
  constexpr int64_t kLanes = sizeof(typename W::V) / sizeof(typename W::T);
  return channels - begin < kLanes ? channels - begin : kLanes;
}

// Calls body(index) with an index of the type that has so many bytes.
template <class Body>
inline void with_index(int bytes, const Body& body) {
  if (bytes == 1)
    body(uint8_t());
  else if (bytes == 2)
    body(uint16_t());
  else
    body(int32_t());
}

// 1, but not a constant for the compiler.
template <class T>
const volatile T kSomeOne = 1;

// A comparison with a select treats denormals as zeros but does not change them. A maximum instruction, by which
// compilers may replace it, flushes them. So the result is multiplied by 1, which always flushes it.
template <class S>
void max_pool(const MaxPoolArgs<typename S::T>& args) {
  using T = typename S::T;
  const T one = kSomeOne<T>;
  const auto pool = [&](auto index, auto saves, auto propagates_nan) {
    constexpr bool kPropagatesNan = decltype(propagates_nan)::value;
    for_each_vector<S, S::kTiles.side_by_side>(args.channels, [&](auto vocabulary, int64_t c, auto load, auto store) {
      using W = decltype(vocabulary);
      using V = typename W::V;
      V greatest = W::set(kPropagatesNan ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest());
      V taken = positions<W>(args.position);
      const T* row = args.first + c;
      for (int64_t i = 0; i < args.count; ++i, row += args.stride) {
        const V x = load(row);
        const auto greater = kPropagatesNan ? W::less_or_nan(greatest, x) : W::less(greatest, x);
        greatest = W::select(greater, x, greatest);
        if constexpr (decltype(saves)::value) taken = W::select(greater, positions<W>(args.position + i), taken);
      }
      store(args.out + c, W::mul(greatest, W::set(one)));
      if constexpr (decltype(saves)::value)
        store_positions<W, decltype(index)>(args.argmax, c, lanes_of<W>(c, args.channels), taken);
    });
  };
  const auto pool_all = [&](auto propagates_nan) {
    if (args.argmax)
      with_index(args.index_bytes, [&](auto index) { pool(index, std::true_type(), propagates_nan); });
    else
      pool(uint8_t(), std::false_type(), propagates_nan);
  };
  if (args.propagate_nan)
    pool_all(std::true_type());
  else
    pool_all(std::false_type());
}

template <class S>
void max_pool_backward(const MaxPoolBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  with_index(args.index_bytes, [&](auto index) {
    for_each_vector<S, S::kTiles.side_by_side>(args.channels, [&](auto vocabulary, int64_t c, auto load, auto store) {
      using W = decltype(vocabulary);
      using V = typename W::V;
      const V dout = load(args.dout + c);
      const V taken = load_positions<W, decltype(index)>(args.argmax, c, lanes_of<W>(c, args.channels));
      T* row = args.first + c;
      for (int64_t i = 0; i < args.count; ++i, row += args.stride) {
        const V drow = W::select(W::same_bits(taken, positions<W>(args.position + i)), dout, W::set(0));
        store(row, args.add ? W::add(load(row), drow) : drow);
      }
    });
  });
}

template <class S>
void average_pool(const AveragePoolArgs<typename S::T>& args) {
  using T = typename S::T;
  for_each_vector<S, S::kTiles.side_by_side>(args.channels, [&](auto vocabulary, int64_t c, auto load, auto store) {
    using W = decltype(vocabulary);
    typename W::V sum = load(args.first + c);
    for (int64_t i = 1; i < args.count; ++i) sum = W::add(sum, load(args.first + i * args.stride + c));
    store(args.out + c, W::div(sum, W::set(static_cast<T>(args.count))));
  });
}

template <class S>
void average_pool_backward(const AveragePoolBackwardArgs<typename S::T>& args) {
  using T = typename S::T;
  for_each_vector<S, S::kTiles.side_by_side>(args.channels, [&](auto vocabulary, int64_t c, auto load, auto store) {
    using W = decltype(vocabulary);
    using V = typename W::V;
    const V drow = W::div(load(args.dout + c), W::set(static_cast<T>(args.divisor)));
    T* row = args.first + c;
    for (int64_t i = 0; i < args.count; ++i, row += args.stride) store(row, args.add ? W::add(load(row), drow) : drow);
  });
}

}  // namespace
}  // namespace fastseq

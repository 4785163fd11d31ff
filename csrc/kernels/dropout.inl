// Dropout. For a block of elements at a time, it draws random words, then computes the elements. Only drawing and the
// masks of bits use the vector vocabulary; the rest are plain loops, which compilers vectorise.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels.h"
#include "philox.inl"

namespace fastseq {
namespace {

// All ones if noise element i is kept, else zero. Its random bits are the last bits of one word, or of two.
inline uint32_t mask(const DropoutArgs<float>& args, const uint32_t* words, int64_t i) {
  const auto drawn = static_cast<int32_t>(words[i] & static_cast<uint32_t>(args.bits));
  return drawn >= static_cast<int32_t>(args.threshold) ? ~uint32_t{0} : 0;
}
inline uint64_t mask(const DropoutArgs<double>& args, const uint32_t* words, int64_t i) {
  const auto drawn = static_cast<int64_t>(uint64_t{words[2 * i]} << 32 | words[2 * i + 1]) & args.bits;
  return drawn >= args.threshold ? ~uint64_t{0} : 0;
}

// A bitwise and, so that even a NaN becomes zero. (With a select of floats, GCC does not vectorise the loop.)
template <class T, class Mask>
inline T masked(T y, Mask mask) {
  Mask bits;
  std::memcpy(&bits, &y, sizeof(bits));
  bits &= mask;
  std::memcpy(&y, &bits, sizeof(y));
  return y;
}

// `args` is a copy: otherwise the compiler must assume that a store to y could change it.
template <class T>
inline __attribute__((always_inline)) void drop(const DropoutArgs<T> args, const uint32_t* words, int64_t count,
                                                const T* x, T* y) {
  if (args.repeat == 1) {
    for (int64_t i = 0; i < count; ++i) y[i] = masked(x[i] * args.scale, mask(args, words, i));
    return;
  }
  for (int64_t i = 0; i < count; ++i, x += args.repeat, y += args.repeat) {
    const auto one = mask(args, words, i);
    for (int64_t j = 0; j < args.repeat; ++j) y[j] = masked(x[j] * args.scale, one);
  }
}

// 16 bits: 1 where the noise element is kept.
template <class W>
inline uint32_t kept(const DropoutArgs<float>& args, const uint32_t* words) {
  return W::reached(words, static_cast<uint32_t>(args.bits), static_cast<int32_t>(args.threshold));
}
template <class W>
inline uint32_t kept(const DropoutArgs<double>& args, const uint32_t* words) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i) bits |= static_cast<uint32_t>(mask(args, words, i) & 1) << i;
  return bits;
}

// The words after the last element may have any value.
template <class W, class T>
inline void save_mask(const DropoutArgs<T>& args, const uint32_t* words, int64_t count, uint8_t* to) {
  constexpr int64_t kPerElement = sizeof(T) / sizeof(uint32_t);
  uint16_t bits[kDropoutBlock / 16];
  for (int64_t i = 0; i < count; i += 16) bits[i / 16] = static_cast<uint16_t>(kept<W>(args, words + i * kPerElement));
  if (count % 16 > 0) bits[count / 16] &= static_cast<uint16_t>((1U << count % 16) - 1);
  std::memcpy(to, bits, static_cast<size_t>((count + 7) / 8));
}

template <class S>
void dropout(const DropoutArgs<typename S::T>& args) {
  using T = typename S::T;
  using W = typename S::Words;
  constexpr int64_t kVector = 4 * W::kLanes;  // words that are drawn at once
  // The number of words in the buffer; their counters have the same high word. With 1024 words, loading x has to wait
  // for drawing, which costs a tenth of the time if x is in no cache.
  constexpr int64_t kChunk = kDropoutBlock;
  constexpr int64_t kPerElement = sizeof(T) / sizeof(uint32_t);
  alignas(64) uint32_t words[kChunk];
  for (int64_t begin = 0, count = 0; begin < args.count; begin += count) {
    const int64_t first = (args.first + begin) * kPerElement;
    const int64_t from = first % kChunk;
    const int64_t room = (kChunk - from) / kPerElement;
    count = args.count - begin < room ? args.count - begin : room;
    const auto high = W::set(static_cast<uint32_t>(static_cast<uint64_t>(first - from) / 4 >> 32));
    for (int64_t w = from / kVector * kVector; w < from + count * kPerElement; w += kVector) {
      const auto counter = static_cast<uint64_t>((first - from + w) / 4);
      typename W::V drawn[4] = {W::count_from(static_cast<uint32_t>(counter)), high, W::set(args.counter[0]),
                                W::set(args.counter[1])};
      philox<W>(args.key, drawn);
      W::store(drawn, words + w);
    }
    if (args.mask) save_mask<W>(args, words, count, args.mask + begin / 8);
    for (int64_t row = 0; row < args.rows; ++row) {
      const int64_t offset = row * args.stride + begin * args.repeat;
      T* y = args.y + offset;
      // Separate loops for x and y being the same array or different ones: Clang's code for both cases is half as fast
      // if they are the same.
      if (args.x == args.y)
        drop<T>(args, words + from, count, y, y);
      else
        drop<T>(args, words + from, count, args.x + offset, y);
    }
  }
}

// The inverse of kept: 16 masks from 16 bits. A mask is all ones where its bit is 1, else zero.
template <class W>
inline void spread(uint32_t bits, uint32_t* masks) {
  W::spread(bits, masks);
}
template <class W>
inline void spread(uint32_t bits, uint64_t* masks) {
  for (int i = 0; i < 16; ++i) masks[i] = -uint64_t{bits >> i & 1};
}

template <class T, class Mask>
inline __attribute__((always_inline)) void apply(const Mask* masks, int64_t count, T scale, const T* x, T* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = masked(x[i] * scale, masks[i]);
}

template <class S>
void dropout_gradient(int64_t count, const uint8_t* mask, typename S::T scale, const typename S::T* dy,
                      typename S::T* dx) {
  using Mask = std::conditional_t<sizeof(dy[0]) == 8, uint64_t, uint32_t>;
  alignas(64) Mask masks[kDropoutBlock];
  for (int64_t begin = 0; begin < count; begin += kDropoutBlock) {
    const int64_t size = count - begin < kDropoutBlock ? count - begin : kDropoutBlock;
    for (int64_t i = 0; i < size; i += 16) {
      const uint8_t* bytes = mask + (begin + i) / 8;
      const uint32_t high = size - i > 8 ? bytes[1] : 0;
      spread<typename S::Words>(high << 8 | bytes[0], masks + i);
    }
    // Separate loops, for the same reason as above.
    if (dx == dy)
      apply(masks, size, scale, dx + begin, dx + begin);
    else
      apply(masks, size, scale, dy + begin, dx + begin);
  }
}

}  // namespace
}  // namespace fastseq

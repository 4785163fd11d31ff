// Random booleans from Threefry2x32-20 (Salmon et al. 2011). There is no vector vocabulary in it: the rounds are
// additions, exclusive ors and rotations of 32-bit words, and compilers vectorise the loop over a block of counters.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace fastseq {
namespace {

inline __attribute__((always_inline)) void four_rounds(uint32_t& x0, uint32_t& x1, const int (&rotations)[4]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x0 += x1;
    x1 = x1 << rotations[i] | x1 >> (32 - rotations[i]);
    x1 ^= x0;
  }
}

// The exclusive or of the two words to which the generator maps a counter.
inline __attribute__((always_inline)) uint32_t threefry(const uint32_t (&keys)[3], uint32_t high, uint32_t low) {
  constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  uint32_t x0 = high + keys[0];
  uint32_t x1 = low + keys[1];
#pragma GCC unroll 5
  for (int i = 0; i < 5; ++i) {
    four_rounds(x0, x1, kRotations[i % 2]);
    x0 += keys[(i + 1) % 3];
    x1 += keys[(i + 2) % 3] + static_cast<uint32_t>(i + 1);
  }
  return x0 ^ x1;
}

template <class S>
void bernoulli(const BernoulliArgs& args) {
  constexpr int64_t kBlock = 256;  // the counters of a block have the same high word
  const uint32_t keys[3] = {args.key[0], args.key[1], args.key[0] ^ args.key[1] ^ 0x1BD11BDAU};
  const uint32_t threshold = args.threshold;
  for (int64_t done = 0, size = 0; done < args.count; done += size) {
    const uint64_t first = args.first + static_cast<uint64_t>(done);
    const auto room = static_cast<int64_t>(kBlock - first % kBlock);
    size = args.count - done < room ? args.count - done : room;
    const auto high = static_cast<uint32_t>(first >> 32);
    const auto low = static_cast<uint32_t>(first);
    uint32_t words[kBlock];
    for (uint32_t i = 0; i < kBlock; ++i) words[i] = threefry(keys, high, low + i);
    bool* to = args.outputs + done;
    for (int64_t i = 0; i < size; ++i) to[i] = words[i] >> 9 < threshold;
  }
}

}  // namespace
}  // namespace fastseq

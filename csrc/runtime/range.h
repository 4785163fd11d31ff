// Ranges of integers, and their division into parts.
#pragma once

#include <cstdint>

namespace fastseq {

struct Range {
  int64_t begin;
  int64_t end;
};

// Part `index` of [0, count), divided into `parts` parts whose sizes differ by at most one.
inline Range split(int64_t count, int64_t parts, int64_t index) {
  const int64_t base = count / parts;
  const int64_t extra = count % parts;
  const int64_t begin = index * base + (index < extra ? index : extra);
  return {begin, begin + base + (index < extra ? 1 : 0)};
}

}  // namespace fastseq

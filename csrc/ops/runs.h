// Copies of runs of bytes that lie at equal distances.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {

// The distances of runs: run (o, i) begins at o * outer + i * inner, in bytes.
struct RunStrides {
  int64_t outer;
  int64_t inner;
};

// outer x count runs of `bytes` bytes each.
struct Runs {
  int64_t outer;
  int64_t count;
  int64_t bytes;
};

// The number of threads for results of this size.
inline int threads_for_copies(int64_t bytes) { return threads_for_bytes(2.0 * static_cast<double>(bytes)); }

// Copies runs; with a null `from`, sets them to zero.
inline void copy_runs(const Runs& runs, int threads, const char* from, RunStrides from_strides, char* to,
                      RunStrides to_strides) {
  for_each_part(runs.outer * runs.count * runs.bytes, threads, [&](const Range& part) {
    int64_t first = part.begin % runs.bytes;  // within the run; only the first and the last one are divided
    int64_t i = part.begin / runs.bytes % runs.count;
    int64_t o = part.begin / runs.bytes / runs.count;
    for (int64_t left = part.end - part.begin; left > 0;) {
      const int64_t bytes = std::min(left, runs.bytes - first);
      char* target = to + o * to_strides.outer + i * to_strides.inner + first;
      if (from)
        std::memcpy(target, from + o * from_strides.outer + i * from_strides.inner + first, static_cast<size_t>(bytes));
      else
        std::memset(target, 0, static_cast<size_t>(bytes));
      left -= bytes;
      first = 0;
      if (++i < runs.count) continue;
      i = 0;
      ++o;
    }
  });
}

}  // namespace fastseq

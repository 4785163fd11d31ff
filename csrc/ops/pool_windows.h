// The windows of a pooling and the timesteps that they have.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fastseq/pool.h"
#include "runtime/team.h"

namespace fastseq {

class PoolWindows {
 public:
  PoolWindows(const PoolDims& dims, const PoolOptions& options) : dims_(dims), options_(options) {}

  // The timesteps of window p, including those in the padding.
  Range whole(int64_t p) const {
    const int64_t begin = p * options_.strides - dims_.before;
    return {begin, begin + options_.pool_size};
  }
  // The timesteps of window p that are in the sequence; there is at least one.
  Range inside(int64_t p) const { return cut(whole(p), {0, dims_.timesteps}); }
  // The windows that have some of the timesteps. `timesteps` is not empty.
  Range windows_of(const Range& timesteps) const {
    // The last position in the padded sequence at which a window begins that ends before the timesteps.
    const int64_t too_early = timesteps.begin + dims_.before - options_.pool_size;
    const int64_t begin = too_early < 0 ? 0 : too_early / options_.strides + 1;
    const int64_t end = (timesteps.end - 1 + dims_.before) / options_.strides + 1;
    return {std::min(begin, dims_.pooled), std::min(end, dims_.pooled)};
  }
  bool overlap() const { return options_.strides < options_.pool_size; }

  // Calls body(p, mine, position, inside) for every window p that has some of the timesteps. `mine` are the timesteps
  // of both, `position` is the position of the first of them in the window, and `inside` is how many timesteps of the
  // window are in the sequence. Calls zero(range) for the timesteps that no window has and, if windows overlap, for all
  // timesteps, before the first body that has them.
  template <class Zero, class Body>
  void for_each_of(const Range& timesteps, const Zero& zero, const Body& body) const {
    int64_t written = timesteps.begin;
    const auto zero_until = [&](int64_t end) {
      if (end > written) zero(Range{written, end});
    };
    const Range some = windows_of(timesteps);
    for (int64_t p = some.begin; p < some.end; ++p) {
      const Range all = inside(p);
      const Range mine = cut(all, timesteps);
      zero_until(overlap() ? mine.end : mine.begin);
      written = mine.end;
      body(p, mine, mine.begin - whole(p).begin, all.end - all.begin);
    }
    zero_until(timesteps.end);
  }

  static Range cut(const Range& range, const Range& by) {
    return {std::max(range.begin, by.begin), std::min(range.end, by.end)};
  }

 private:
  PoolDims dims_;
  PoolOptions options_;
};

}  // namespace fastseq

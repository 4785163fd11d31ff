// Where the windows of a pooling lie in the sequence.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fastseq/pool.h"
#include "runtime/team.h"

namespace fastseq {

class PoolWindows {
 public:
  PoolWindows(const PoolDims& dims, const PoolOptions& options) : dims_(dims), options_(options) {}

  // The timesteps of window p, also of the padding.
  Range whole(int64_t p) const {
    const int64_t begin = p * options_.strides - dims_.before;
    return {begin, begin + options_.pool_size};
  }
  // Those of the sequence: at least one.
  Range inside(int64_t p) const { return cut(whole(p), {0, dims_.timesteps}); }
  // The windows that have some of the timesteps, of which there is one at least.
  Range windows_of(const Range& timesteps) const {
    const int64_t too_early = timesteps.begin + dims_.before - options_.pool_size;  // the last begin that is
    const int64_t begin = too_early < 0 ? 0 : too_early / options_.strides + 1;
    const int64_t end = (timesteps.end - 1 + dims_.before) / options_.strides + 1;
    return {std::min(begin, dims_.pooled), std::min(end, dims_.pooled)};
  }
  bool overlap() const { return options_.strides < options_.pool_size; }

  // Calls body(p, mine, position, inside) for the windows that have some of the timesteps: `mine` are those, the first
  // of which is at `position` in the window, which has `inside` timesteps in the sequence. Before that, zero(range) for
  // the timesteps that no window has yet and that body is to add to or leave out.
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

// The shards of the batch in a backward pass.
//
// Each shard has separate sums of the weight gradients; they are added up in the end. So the result does not depend on
// the number of threads, and the sums of a shard stay in the caches of the threads that compute it. The number of
// shards depends only on the call's dimensions. The team is split into one subteam for each shard. If its threads
// cannot be divided evenly, it stays whole and computes the shards one after the other.
#pragma once

#include <cstdint>

#include "runtime/team.h"
#include "vectors.h"

namespace fastseq {

// `pays`: whether separate sums are worth the time of adding them up.
inline int batch_shards(int64_t batch, bool pays) { return pays && batch > 1 ? 2 : 1; }

// `threads` may also be a number of groups of threads.
inline int subteams_for(int threads, int shards) { return threads % shards == 0 ? shards : 1; }

// Adds the thread's share of the second shard's `count` sums to those of the first.
template <class T>
void add_sums(const Team& team, int64_t count, const T* second, T* first) {
  const Range share = team.share(count);
  add_to(share.end - share.begin, second + share.begin, first + share.begin);
}

}  // namespace fastseq

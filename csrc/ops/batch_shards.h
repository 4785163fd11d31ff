// The shards of the batch in a backward pass.
//
// Each shard has sums of its own for the weight gradients, which are added up in the end. That makes the sums the same
// whoever computes them, and lets a thread compute a shard, or its share of one, from its own cache. How many there are
// follows from the call's dimensions alone. The team is split into as many subteams, each of which has shards of its
// own; it stays one where its threads cannot be dealt evenly.
#pragma once

#include <cstdint>

#include "runtime/team.h"
#include "vectors.h"

namespace fastseq {

// `pays`: whether sums of its own repay a shard for adding them up.
inline int batch_shards(int64_t batch, bool pays) { return pays && batch > 1 ? 2 : 1; }

// Of so many threads, or groups of them.
inline int subteams_for(int threads, int shards) { return threads % shards == 0 ? shards : 1; }

// Adds a thread's share of `count` sums of the second shard to those of the first.
template <class T>
void add_sums(const Team& team, int64_t count, const T* second, T* first) {
  const Range share = team.share(count);
  add_to(share.end - share.begin, second + share.begin, first + share.begin);
}

}  // namespace fastseq

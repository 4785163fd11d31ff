// The shards of the batch in a backward pass.
//
// Each shard has separate sums of the weight gradients; they are added up in the end. So the result does not depend on
// the number of threads, and the sums of a shard stay in the caches of the threads that compute it. The number of
// shards depends only on the call's dimensions. The team is split into subteams, which compute different shards.
// Threads of different subteams share nothing until the end, while those of a subteam read each other's dz in every
// chunk.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "runtime/team.h"
#include "vectors.h"

namespace fastseq {

// The number of shards of a batch with `cells` timesteps in all its sequences. A shard has `sums` sums, of so many
// bytes each. The number is a power of two, so that it is divided evenly by most numbers of cores.
inline int batch_shards(int64_t batch, int64_t cells, int64_t sums, size_t element_bytes) {
  constexpr int64_t kMostShards = 64;
  constexpr int64_t kLeastCells = 256;              // fewer are not worth adding up the sums
  constexpr int64_t kLeastRows = 32;                // fewer make products slower
  constexpr int64_t kNearSums = 256 * 1024;         // so many stay in a thread's cache
  constexpr int64_t kLeastRowsOfFarSums = 128;      // others are read and written for every block of rows
  constexpr int64_t kMostBytes = 16 * 1024 * 1024;  // of the sums of all shards but the first
  const bool near = sums <= kNearSums;
  const int64_t bytes = std::max<int64_t>(1, sums * static_cast<int64_t>(element_bytes));
  int64_t most = std::min(
      {kMostShards, cells / kLeastCells, batch / (near ? kLeastRows : kLeastRowsOfFarSums), 1 + kMostBytes / bytes});
  // Two are worth it for any batch: they gain most where threads are few.
  if (near && batch > 1 && cells >= kLeastCells) most = std::max<int64_t>(most, 2);
  int shards = 1;
  while (2 * shards <= most) shards *= 2;
  return shards;
}

// The number of subteams, which divide the threads evenly and the shards as evenly as possible. `threads` may also be a
// number of groups of threads.
inline int subteams_for(int threads, int shards) {
  constexpr double kSharing = 0.4;  // the time of reading what many other threads computed, relative to computing
  int best = 1;
  double least = 0;
  for (int subteams = 1; subteams <= std::min(threads, shards); ++subteams) {
    if (threads % subteams != 0) continue;
    const int most = (shards + subteams - 1) / subteams;  // shards of one subteam
    const double others = 1.0 - static_cast<double>(subteams) / threads;
    const double time = most * subteams * (1.0 + kSharing * others);
    if (subteams > 1 && time > least) continue;
    best = subteams;
    least = time;
  }
  return best;
}

// Adds the thread's share of another shard's `count` sums.
template <class T>
void add_sums(const Team& team, int64_t count, const T* other, T* sums) {
  const Range share = team.share(count);
  add_to(share.end - share.begin, other + share.begin, sums + share.begin);
}

}  // namespace fastseq

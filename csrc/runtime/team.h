// A team of threads over OpenMP: one parallel region an op, barriers of our own inside it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "range.h"

namespace fastseq {

// Where the members of a team, or a part of it, wait for each other. They spin for a short while, as the waits inside
// an op are short, then sleep: the one that all wait for may need this very CPU. Each has cache lines of its own.
class alignas(64) Barrier {
 public:
  void reset(int members) { members_ = members; }
  void wait();

 private:
  int members_ = 1;
  std::atomic<int> waiting_{0};
  std::atomic<unsigned> passed_{0};  // how often all have met
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable all_met_;
};

// groups x group_size members. Groups are dealt to the subteams in turn.
struct TeamShape {
  int groups;
  int group_size;
  int subteams;  // a divisor of groups
  int members() const { return groups * group_size; }
};

// A member of a team: `rank` of `size`, each a thread of its own.
struct Team {
  int rank;
  int size;
  TeamShape shape;
  Barrier* barriers;       // of the team; behind it, those of its groups; then of its subteams
  std::atomic<int>* cpus;  // where each member started
  Range share(int64_t count) const { return split(count, size, rank); }
  void wait() const { barriers[0].wait(); }
  Barrier& group() const { return barriers[1 + rank / shape.group_size]; }
  int subteam() const { return rank / shape.group_size % shape.subteams; }
  int subteam_size() const { return size / shape.subteams; }
  int rank_in_subteam() const {
    return rank / shape.group_size / shape.subteams * shape.group_size + rank % shape.group_size;
  }
  void wait_for_subteam() const { barriers[1 + shape.groups + subteam()].wait(); }
  // This member as another one with the ranks in the order of CPUs, known to all once they have waited. What it leaves
  // in its caches is then most likely to be there when the next op asks for the same share.
  Team by_cpu() const;
};

// Calls body(team, context) for every member of a team, at the same time; false, with nothing called, where
// OpenMP does not give that many threads (a nested region, OMP_THREAD_LIMIT). A team of one is the caller itself, with
// no OpenMP in between. The body must not throw.
bool run_team(const TeamShape& shape, void (*body)(const Team&, void*), void* context);

template <class Body>
bool run_team(const TeamShape& shape, const Body& body) {
  return run_team(
      shape, [](const Team& team, void* opaque) { (*static_cast<const Body*>(opaque))(team); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// The same for so many members without groups or subteams, or one where OpenMP does not give that many.
template <class Body>
void run_threads(int threads, const Body& body) {
  if (!run_team({threads, 1, 1}, body)) run_team({1, 1, 1}, body);
}

// Calls body(range) for parts of [0, count) that together are all of it, each on a thread of its own. Which part an
// element is in must not matter. The body must not throw.
template <class Body>
void for_each_part(int64_t count, int threads, const Body& body) {
  run_threads(threads, [&](const Team& team) {
    const Range range = team.share(count);
    if (range.begin < range.end) body(range);
  });
}

}  // namespace fastseq

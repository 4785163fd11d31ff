// Teams of threads: one OpenMP parallel region for each op. Its threads wait for each other at the barriers below, not
// at OpenMP's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "range.h"

namespace fastseq {

// A barrier for the threads of a team, or of a part of it. A thread that waits spins for a short while, since waits
// inside an op are short. Then it sleeps, since the thread that all wait for may need this CPU. A barrier shares no
// cache line with another one.
class alignas(64) Barrier {
 public:
  void reset(int threads) { threads_ = threads; }
  void wait();

 private:
  int threads_ = 1;
  std::atomic<int> waiting_{0};
  std::atomic<unsigned> passed_{0};  // how often all threads have met
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable all_met_;
};

// A team has groups x group_size threads. Group g belongs to subteam g mod subteams.
struct TeamShape {
  int groups;
  int group_size;
  int subteams;  // a divisor of groups
  int threads() const { return groups * group_size; }
};

// A thread's view of its team: the thread is number `rank` of `size`.
struct Team {
  int rank;
  int size;
  TeamShape shape;
  Barrier* barriers;       // the team's, then one for each group, then one for each subteam
  std::atomic<int>* cpus;  // the CPU on which each thread started
  Range share(int64_t count) const { return split(count, size, rank); }
  void wait() const { barriers[0].wait(); }
  Barrier& group() const { return barriers[1 + rank / shape.group_size]; }
  int subteam() const { return rank / shape.group_size % shape.subteams; }
  int subteam_size() const { return size / shape.subteams; }
  int rank_in_subteam() const {
    return rank / shape.group_size / shape.subteams * shape.group_size + rank % shape.group_size;
  }
  void wait_for_subteam() const { barriers[1 + shape.groups + subteam()].wait(); }
  // The same team with the ranks in the order of the threads' CPUs, which all threads know after the first wait. Then
  // the next op most likely finds a share's data in the caches of the CPU that had the same share.
  Team by_cpu() const;
};

// Calls body(team, context) on every thread of a team at the same time. Returns false, with no call, if OpenMP does not
// give that many threads (a nested region, OMP_THREAD_LIMIT). A team of one thread is the caller's thread, without
// OpenMP. The body must not throw.
bool run_team(const TeamShape& shape, void (*body)(const Team&, void*), void* context);

template <class Body>
bool run_team(const TeamShape& shape, const Body& body) {
  return run_team(
      shape, [](const Team& team, void* opaque) { (*static_cast<const Body*>(opaque))(team); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// The same for a team without groups or subteams. If OpenMP does not give that many threads, the team has one.
template <class Body>
void run_threads(int threads, const Body& body) {
  if (!run_team({threads, 1, 1}, body)) run_team({1, 1, 1}, body);
}

// Divides [0, count) among threads, and calls body(range) on each. Results must not depend on the division. The body
// must not throw.
template <class Body>
void for_each_part(int64_t count, int threads, const Body& body) {
  run_threads(threads, [&](const Team& team) {
    const Range range = team.share(count);
    if (range.begin < range.end) body(range);
  });
}

}  // namespace fastseq

// The team over OpenMP and its barriers.
#include "team.h"

#include <omp.h>
#include <sched.h>

#include <chrono>
#include <memory>

#include "denormals.h"

namespace fastseq {
namespace {

int current_cpu() {
#ifdef __linux__
  return sched_getcpu();
#else
  return 0;
#endif
}

// Tells the CPU that the thread is waiting for memory to change.
void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

void Barrier::wait() {
  const unsigned round = passed_.load(std::memory_order_relaxed);
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
    waiting_.store(0, std::memory_order_relaxed);
    passed_.store(round + 1);
    if (sleeping_.load() > 0) {
      const std::lock_guard<std::mutex> lock(mutex_);
      all_met_.notify_all();
    }
    return;
  }
  const auto met = [&] { return passed_.load() != round; };
  // About twice what a sleeping thread takes to wake, so that a member that comes late to the first meeting does not
  // find the others asleep.
  constexpr std::chrono::microseconds kSpin(100);
  const auto began = std::chrono::steady_clock::now();
  do {
    for (int spin = 0; spin < 64; ++spin) {
      if (met()) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() - began < kSpin);
  // Either the last member sees that somebody sleeps, or that somebody sees that all have met.
  std::unique_lock<std::mutex> lock(mutex_);
  sleeping_.fetch_add(1);
  all_met_.wait(lock, met);
  sleeping_.fetch_sub(1);
}

Team Team::by_cpu() const {
  Team ordered = *this;
  ordered.rank = 0;
  const int cpu = cpus[rank].load(std::memory_order_relaxed);
  for (int other = 0; other < size; ++other) {
    const int at = cpus[other].load(std::memory_order_relaxed);
    if (at < cpu || (at == cpu && other < rank)) ++ordered.rank;
  }
  return ordered;
}

bool run_team(const TeamShape& shape, void (*body)(const Team&, void*), void* context) {
  const int members = shape.members();
  const std::unique_ptr<Barrier[]> barriers(new Barrier[static_cast<size_t>(1 + shape.groups + shape.subteams)]);
  Barrier* next = barriers.get();
  (next++)->reset(members);
  for (int group = 0; group < shape.groups; ++group) (next++)->reset(shape.group_size);
  for (int subteam = 0; subteam < shape.subteams; ++subteam) (next++)->reset(members / shape.subteams);
  const std::unique_ptr<std::atomic<int>[]> cpus(new std::atomic<int>[static_cast<size_t>(members)]);
  cpus[0] = 0;
  const auto member = [&](int rank) { return Team{rank, members, shape, barriers.get(), cpus.get()}; };
  if (members == 1) {
    const FlushDenormals flush;
    body(member(0), context);
    return true;
  }
  bool complete = true;
#pragma omp parallel num_threads(members)
  {
    if (omp_get_num_threads() != members) {
      // All come to the same conclusion.
#pragma omp single nowait
      complete = false;
    } else {
      const FlushDenormals flush;
      const int rank = omp_get_thread_num();
      cpus[static_cast<size_t>(rank)].store(current_cpu(), std::memory_order_relaxed);
      body(member(rank), context);
    }
  }
  return complete;
}

}  // namespace fastseq

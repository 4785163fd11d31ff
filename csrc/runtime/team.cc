// Teams of OpenMP threads, and their barriers.
#include "team.h"

#include <omp.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <chrono>
#include <memory>

#include "denormals.h"
#include "span_recorder.h"

namespace fastseq {
namespace {

// Tells the CPU that the thread is waiting for memory to change.
void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// The CPUs of the threads of a team, in the order in which the threads begin.
class TakenCpus {
 public:
  explicit TakenCpus(int threads) : cpus_(new std::atomic<int>[static_cast<size_t>(threads)]) {
    for (int i = 0; i < threads; ++i) cpus_[static_cast<size_t>(i)].store(kNone, std::memory_order_relaxed);
  }

  // Moves the calling thread to another CPU if a thread of the team is on its CPU already. The system mostly wakes a
  // thread on a CPU that is idle. But a framework's idle threads may spin there. Then two threads of a team share a CPU
  // until the system moves one, which can take longer than the whole operation. Returns the thread's CPU.
  int take() {
    const int before = begun_.fetch_add(1);
    std::atomic<int>& own = cpus_[static_cast<size_t>(before)];
    own.store(current_cpu());
    if (is_taken(own.load(), before)) {
      leave_taken_cpus(before);
      own.store(current_cpu());
    }
    return own.load();
  }

 private:
  static constexpr int kNone = -1;

  bool is_taken(int cpu, int before) const {
    for (int i = 0; i < before; ++i)
      if (cpus_[static_cast<size_t>(i)].load() == cpu) return true;
    return false;
  }

  void leave_taken_cpus(int before) const {
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
    cpu_set_t free = allowed;
    for (int i = 0; i < before; ++i) {
      const int cpu = cpus_[static_cast<size_t>(i)].load();
      if (cpu != kNone) CPU_CLR(static_cast<size_t>(cpu), &free);
    }
    // The first call moves the thread at once; the second lets it be moved again.
    if (CPU_COUNT(&free) > 0 && sched_setaffinity(0, sizeof(free), &free) == 0)
      (void)sched_setaffinity(0, sizeof(allowed), &allowed);
#else
    (void)before;
#endif
  }

  std::atomic<int> begun_{0};
  const std::unique_ptr<std::atomic<int>[]> cpus_;
};

}  // namespace

void Barrier::wait() {
  const unsigned round = passed_.load(std::memory_order_relaxed);
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    waiting_.store(0, std::memory_order_relaxed);
    passed_.store(round + 1);
    if (sleeping_.load() > 0) {
      const std::lock_guard<std::mutex> lock(mutex_);
      all_met_.notify_all();
    }
    return;
  }
  const SpanRecorder recorder(Span::Kind::kWait, -1);
  const auto met = [&] { return passed_.load() != round; };
  // About twice the time that a sleeping thread takes to wake, so that the others are still awake if a thread comes
  // late to the first meeting.
  constexpr std::chrono::microseconds kSpin(100);
  const auto began = std::chrono::steady_clock::now();
  do {
    for (int spin = 0; spin < 64; ++spin) {
      if (met()) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() - began < kSpin);
  // Either the last thread sees that this one sleeps, or this one sees that all have met.
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
  const int threads = shape.threads();
  const std::unique_ptr<Barrier[]> barriers(new Barrier[static_cast<size_t>(1 + shape.groups + shape.subteams)]);
  Barrier* next = barriers.get();
  (next++)->reset(threads);
  for (int group = 0; group < shape.groups; ++group) (next++)->reset(shape.group_size);
  for (int subteam = 0; subteam < shape.subteams; ++subteam) (next++)->reset(threads / shape.subteams);
  const std::unique_ptr<std::atomic<int>[]> cpus(new std::atomic<int>[static_cast<size_t>(threads)]);
  cpus[0] = 0;
  const auto team_of = [&](int rank) { return Team{rank, threads, shape, barriers.get(), cpus.get()}; };
  if (threads == 1) {
    const FlushDenormals flush;
    const SpanRecorder recorder(Span::Kind::kWork, 0);
    body(team_of(0), context);
    return true;
  }
  TakenCpus taken(threads);
  bool complete = true;
#pragma omp parallel num_threads(threads)
  {
    if (omp_get_num_threads() != threads) {
      // All threads come to this conclusion.
#pragma omp single nowait
      complete = false;
    } else {
      const FlushDenormals flush;
      const int rank = omp_get_thread_num();
      const SpanRecorder recorder(Span::Kind::kWork, rank);
      cpus[static_cast<size_t>(rank)].store(taken.take(), std::memory_order_relaxed);
      body(team_of(rank), context);
    }
  }
  return complete;
}

}  // namespace fastseq

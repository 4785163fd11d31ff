// Teams of OpenMP threads, and their barriers.
#include "team.h"

#include <omp.h>

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
      cpus[static_cast<size_t>(rank)].store(current_cpu(), std::memory_order_relaxed);
      body(team_of(rank), context);
    }
  }
  return complete;
}

}  // namespace fastseq

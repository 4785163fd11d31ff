// The record of spans: an array that threads fill, each span at an index of its own.
#include "fastseq/trace.h"

#ifdef __linux__
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <chrono>

#include "span_recorder.h"

namespace fastseq {
namespace {

std::vector<Span> spans;
std::atomic<size_t> recorded{0};

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t current_thread() {
#ifdef __linux__
  return syscall(SYS_gettid);
#else
  return 0;
#endif
}

int64_t page_faults() {
#ifdef __linux__
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
#else
  return 0;
#endif
}

}  // namespace

std::atomic<bool> tracing{false};

int current_cpu() {
#ifdef __linux__
  return sched_getcpu();
#else
  return 0;
#endif
}

void SpanRecorder::begin(Span::Kind kind, int rank) {
  span_ = {kind, current_thread(), rank, now(), 0, current_cpu(), 0, page_faults()};
}

void SpanRecorder::end() {
  span_.end = now();
  span_.last_cpu = current_cpu();
  span_.page_faults = page_faults() - span_.page_faults;
  const size_t index = recorded.fetch_add(1, std::memory_order_relaxed);
  if (index < spans.size()) spans[index] = span_;
}

void start_tracing(int64_t capacity) {
  spans.assign(static_cast<size_t>(std::max<int64_t>(capacity, 0)), Span{});
  recorded = 0;
  tracing = true;
}

std::vector<Span> stop_tracing(int64_t* lost) {
  tracing = false;
  const size_t all = recorded.exchange(0);
  const size_t kept = std::min(all, spans.size());
  *lost = static_cast<int64_t>(all - kept);
  spans.resize(kept);
  std::vector<Span> taken;
  taken.swap(spans);
  return taken;
}

}  // namespace fastseq

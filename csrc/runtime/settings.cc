// Threads and ISA: process-wide settings, safe to change from any thread at any time. A call reads them once, when it
// is planned.
#include "fastseq/runtime.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "control_groups.h"
#include "settings.h"

namespace fastseq {
namespace {

std::atomic<int> g_requested_threads{0};
thread_local int t_threads_of_calls = 0;
std::atomic<bool> g_oversubscription{false};
std::atomic<const Isa*> g_isa{nullptr};

// OpenMP runtimes do not survive a fork. If the parent has started threads, whether for fastseq or for another library
// with the same runtime, the child waits for ever for threads that were not copied. So a child uses one thread.
std::atomic<bool> g_forked{false};
[[maybe_unused]] const int g_at_fork =
    pthread_atfork(nullptr, nullptr, [] { g_forked.store(true, std::memory_order_relaxed); });

std::string names(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& name : list) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Status find_isa(const std::string& name, const char* where, const Isa** isa) {
  for (const Isa& candidate : compiled_isas()) {
    if (name != candidate.name) continue;
    if (!candidate.supported())
      return Status::invalid_argument(std::string(where) + " '" + name +
                                      "' is not supported by this machine; available: " + names(available_isas()));
    *isa = &candidate;
    return {};
  }
  return Status::invalid_argument(std::string(where) + " must be one of " + names(available_isas()) + ", got '" + name +
                                  "'");
}

// The CPU limit of the process's control groups; it is read once.
int cpu_quota() {
  static const int quota = ControlGroups::of_this_process().cpus();
  return quota;
}

}  // namespace

int requested_threads() { return g_requested_threads.load(std::memory_order_relaxed); }

int num_threads() {
  if (g_forked.load(std::memory_order_relaxed)) return 1;
  const int requested = t_threads_of_calls > 0 ? t_threads_of_calls : requested_threads();
  return requested > 0 ? requested : std::min(omp_get_max_threads(), cpu_quota());
}

Status set_num_threads(int threads) {
  if (threads < 0) return Status::invalid_argument("threads must be 0 or more, got " + std::to_string(threads));
  g_requested_threads.store(threads, std::memory_order_relaxed);
  return {};
}

ThreadsOfCalls::ThreadsOfCalls(int threads) : before_(t_threads_of_calls) {
  if (threads > 0) t_threads_of_calls = threads;
}
ThreadsOfCalls::~ThreadsOfCalls() { t_threads_of_calls = before_; }

void allow_oversubscription(bool on) { g_oversubscription.store(on, std::memory_order_relaxed); }

int threads_for(double parts) {
  int most = num_threads();
  // OpenMP counts the CPUs, since it knows which ones this thread may use if it has bound the thread to some.
  if (!g_oversubscription.load(std::memory_order_relaxed)) most = std::min({most, omp_get_num_procs(), cpu_quota()});
  return static_cast<int>(std::max(1.0, std::min<double>(most, parts)));
}

int threads_for_operations(double operations) {
  constexpr double kOperationsPerThread = 1e7;
  return threads_for(operations / kOperationsPerThread);
}

int threads_for_bytes(double bytes) {
  constexpr double kBytesPerThread = 256 * 1024;
  return threads_for(bytes / kBytesPerThread);
}

std::vector<std::string> available_isas() {
  std::vector<std::string> available;
  for (const Isa& candidate : compiled_isas())
    if (candidate.supported()) available.emplace_back(candidate.name);
  return available;
}

Status current_isa(const Isa** isa) {
  *isa = g_isa.load(std::memory_order_acquire);
  if (*isa) return {};
  // Several threads may come here at once. All find the same ISA.
  const char* forced = std::getenv("FASTSEQ_ISA");
  if (forced && *forced) {
    FASTSEQ_RETURN_IF_ERROR(find_isa(forced, "FASTSEQ_ISA", isa));
  } else {
    for (const Isa& candidate : compiled_isas())
      if (candidate.supported()) *isa = &candidate;
  }
  const Isa* expected = nullptr;
  if (!g_isa.compare_exchange_strong(expected, *isa)) *isa = expected;
  return {};
}

Status isa(std::string* name) {
  const Isa* found = nullptr;
  FASTSEQ_RETURN_IF_ERROR(current_isa(&found));
  *name = found->name;
  return {};
}

Status set_isa(const std::string& name) {
  const Isa* found = nullptr;
  FASTSEQ_RETURN_IF_ERROR(find_isa(name, "isa", &found));
  g_isa.store(found, std::memory_order_release);
  return {};
}

BuildInfo build_info() {
#define FASTSEQ_TEXT_OF(x) #x
#define FASTSEQ_TEXT(x) FASTSEQ_TEXT_OF(x)
  return {FASTSEQ_VERSION, FASTSEQ_COMPILER, FASTSEQ_BUILD_TYPE, FASTSEQ_TEXT(_OPENMP), FASTSEQ_CUDA_TOOLKIT};
}

}  // namespace fastseq

// Measures the peak of multiply-adds: every thread runs the ISA's chains in a loop, and reads the clock now and then.
#include "fastseq/peak.h"

#include <chrono>
#include <numeric>
#include <vector>

#include "settings.h"
#include "team.h"

namespace fastseq {
namespace {

double measure(const KernelTable<float>& kernels, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kSteps = 2000;  // some microseconds between two readings of the clock
  // The chains converge to 2: no overflow, no denormals. Volatile, so that the compiler precomputes or omits nothing.
  volatile float factor = 0.5F, term = 1.0F, sink = 0;
  const auto began = Clock::now();
  double elapsed = 0;
  int64_t calls = 0;
  do {
    sink = sink + kernels.run_chains(kSteps, factor, term);
    ++calls;
    elapsed = std::chrono::duration<double>(Clock::now() - began).count();
  } while (elapsed < seconds);
  return 2.0 * static_cast<double>(kernels.chain_elements * kSteps * calls) / elapsed;
}

}  // namespace

Status fma_peak(int threads, double seconds, double* operations_per_second) {
  if (threads < 1) return Status::invalid_argument("threads must be at least 1, got " + std::to_string(threads));
  if (!(seconds > 0)) return Status::invalid_argument("seconds must be above 0, got " + std::to_string(seconds));
  const Isa* isa = nullptr;
  FASTSEQ_RETURN_IF_ERROR(current_isa(&isa));
  std::vector<double> rates(static_cast<size_t>(threads));
  run_threads(threads, [&](const Team& team) {
    team.wait();
    rates[static_cast<size_t>(team.rank)] = measure(kernels_of<float>(*isa), seconds);
  });
  *operations_per_second = std::accumulate(rates.begin(), rates.end(), 0.0);
  return {};
}

}  // namespace fastseq

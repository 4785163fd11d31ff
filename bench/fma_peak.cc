// The fused multiply-adds that this machine does in a second, on vectors of FASTSEQ_VECTOR_BYTES bytes of float.
//
// Every thread runs independent chains acc = acc * a + b that never leave registers. There are more chains than the
// units have operations in flight (latency times units: 8 to 10 on x86, 16 on ARM cores with four units), and as many
// as leave registers for a and b. Compiled at run time by peak.py.

#include <chrono>
#include <utility>

namespace {

using Vector = float __attribute__((vector_size(FASTSEQ_VECTOR_BYTES)));
constexpr int kLanes = FASTSEQ_VECTOR_BYTES / sizeof(float);

#if defined(__aarch64__) || defined(__AVX512F__)
constexpr int kChains = 24;  // of 32 registers
#else
constexpr int kChains = 12;  // of 16
#endif

// The chains are unrolled by the pack, so that all are named registers to the compiler. They start from different
// values: equal ones could be computed once. The sum keeps them all alive.
template <int... I>
__attribute__((noinline)) float run_chains(long steps, float factor, float term, std::integer_sequence<int, I...>) {
  const Vector a = Vector{} + factor;
  const Vector b = Vector{} + term;
  Vector acc[kChains] = {(Vector{} + static_cast<float>(I))...};
  for (long step = 0; step < steps; ++step) ((acc[I] = acc[I] * a + b), ...);
  const Vector sum = (acc[I] + ...);
  float total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  return total;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

// Floating-point operations a second of `threads` threads together, each measured over at least `duration` seconds.
extern "C" double fma_peak(int threads, double duration) {
  constexpr long kSteps = 2000;  // some microseconds between two looks at the clock
  double rate = 0;
  volatile float factor = 0.5F, term = 1.0F, sink = 0;  // the chains tend to 2: no overflow, no denormals
#pragma omp parallel num_threads(threads) reduction(+ : rate)
  {
    float total = 0;
    long calls = 0;
    const double began = seconds();
    double elapsed = 0;
    do {
      total += run_chains(kSteps, factor, term, std::make_integer_sequence<int, kChains>());
      ++calls;
      elapsed = seconds() - began;
    } while (elapsed < duration);
    rate += 2.0 * kLanes * kChains * kSteps * static_cast<double>(calls) / elapsed;
#pragma omp critical
    sink = sink + total;
  }
  return rate;
}

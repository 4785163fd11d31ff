// A team of threads over OpenMP: one parallel region an op, barriers between its phases.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

namespace fastseq {

// Flushes denormals to zero while alive, on the thread that made it: a recurrent network that decays towards zero would
// otherwise run tens of times slower. The caller's mode comes back.
class FlushDenormals {
 public:
#if defined(__x86_64__) || defined(__i386__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040U); }  // FTZ and DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FlushDenormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved_ | (uint64_t{1} << 24)));  // FZ
  }
  ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  uint64_t saved_;
#else
  FlushDenormals() {}
  ~FlushDenormals() {}

 private:
#endif
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

struct Range {
  int64_t begin;
  int64_t end;
};

// Part `index` of [0, count) in `parts` parts that differ by one at most.
inline Range part(int64_t count, int64_t parts, int64_t index) {
  const int64_t base = count / parts;
  const int64_t extra = count % parts;
  const int64_t begin = index * base + (index < extra ? index : extra);
  return {begin, begin + base + (index < extra ? 1 : 0)};
}

// A member of a team: `rank` of `size`. Work is divided by these alone, never by how many threads OpenMP really gave,
// so that scratch can be laid out beforehand.
struct Team {
  int rank;
  int size;
  Range share(int64_t count) const { return part(count, size, rank); }
};

void run_phases(int members, int phases, void (*body)(int phase, const Team&, void*), void* context);

// Calls each phase of `driver` once for every member of a team of `members`, all of one phase before any of the next.
// Phases must not throw. A team of one is the caller itself, with no OpenMP in between.
template <class Driver, int N>
void run_team(int members, Driver& driver, void (Driver::*const (&phases)[N])(const Team&)) {
  struct Context {
    Driver& driver;
    void (Driver::*const (&phases)[N])(const Team&);
  } context{driver, phases};
  run_phases(
      members, N,
      [](int phase, const Team& team, void* opaque) {
        Context& call = *static_cast<Context*>(opaque);
        (call.driver.*call.phases[phase])(team);
      },
      &context);
}

}  // namespace fastseq

// The list of ISAs that are compiled in, with tests whether this machine supports them. Built for the baseline.
#include "kernels.h"

namespace fastseq {
namespace {

bool always() { return true; }

// __builtin_cpu_supports reads CPUID and, for vector registers, XGETBV. So it is true only if the operating system also
// saves these registers.
#ifdef FASTSEQ_HAVE_AVX2
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
#ifdef FASTSEQ_HAVE_AVX512
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#endif

constexpr Isa kIsas[] = {
    {"scalar", always, &kScalarF32, &kScalarF64},
#ifdef FASTSEQ_HAVE_AVX2
    {"avx2", has_avx2, &kAvx2F32, &kScalarF64},
#endif
#ifdef FASTSEQ_HAVE_AVX512
    {"avx512", has_avx512, &kAvx512F32, &kScalarF64},
#endif
#ifdef FASTSEQ_HAVE_NEON
    {"neon", always, &kNeonF32, &kScalarF64},
#endif
};

}  // namespace

IsaList compiled_isas() { return {kIsas, static_cast<int>(sizeof(kIsas) / sizeof(kIsas[0]))}; }

}  // namespace fastseq

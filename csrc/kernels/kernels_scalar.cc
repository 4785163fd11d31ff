// Tile kernels without vector instructions: for any CPU, and the only ones for float64. Built for the baseline.
#include <cmath>

#include "activations.inl"
#include "simd_scalar.h"

namespace fastseq {
namespace {

// For double, the C library's functions: they are accurate to an ulp, and exp does the range reduction.
template <>
inline double sigmoid<ScalarF64>(double x) {
  const double e = std::exp(-std::fabs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

template <>
inline double tanh<ScalarF64>(double x) {
  return std::tanh(x);
}

}  // namespace
}  // namespace fastseq

#include "table.inl"

namespace fastseq {
const KernelTable<float> kScalarF32 = make_table<ScalarF32>();
const KernelTable<double> kScalarF64 = make_table<ScalarF64>();
}  // namespace fastseq

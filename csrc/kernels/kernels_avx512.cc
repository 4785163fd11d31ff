// Tile kernels for AVX-512.
#include "simd_avx512.h"
#include "table.inl"

namespace fastseq {
const KernelTable<float> kAvx512F32 = make_table<Avx512F32>();
}  // namespace fastseq

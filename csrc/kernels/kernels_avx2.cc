// Tile kernels for AVX2 with FMA.
#include "simd_avx2.h"
#include "table.inl"

namespace fastseq {
const KernelTable<float> kAvx2F32 = make_table<Avx2F32>();
}  // namespace fastseq

// Tile kernels for NEON.
#include "simd_neon.h"
#include "table.inl"

namespace fastseq {
const KernelTable<float> kNeonF32 = make_table<NeonF32>();
}  // namespace fastseq

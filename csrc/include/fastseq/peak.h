// The machine's peak of fused multiply-adds: the contract.
//
// Every thread runs independent chains acc = acc * a + b over vectors of the ISA in use, in registers only. No product
// can be faster. The share of the peak that a call reaches tells how well it uses the arithmetic units.
#pragma once

#include "fastseq/status.h"

namespace fastseq {

// Floating-point operations a second in float32, of `threads` threads together; a multiply-add is two operations. Every
// thread is measured for at least `seconds`. If OpenMP gives fewer threads, the result is that of one thread. The
// scalar ISA computes one multiply-add at a time, in several instructions where the baseline has no fused one.
Status fma_peak(int threads, double seconds, double* operations_per_second);

}  // namespace fastseq

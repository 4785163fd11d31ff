// How many multiply-adds this machine does in a second: the contract.
//
// Every thread runs independent chains acc = acc * a + b over vectors of the ISA in use, in registers alone. No product
// can be faster; what a call reaches of it says how well it uses the units.
#pragma once

#include "fastseq/status.h"

namespace fastseq {

// Floating-point operations a second of float32 (a multiply-add is two), of `threads` threads together, each measured
// over at least `seconds`. Where OpenMP gives fewer threads, of one. The scalar ISA does one at a time, and where the
// baseline has no fused multiply-add, in several instructions.
Status fma_peak(int threads, double seconds, double* operations_per_second);

}  // namespace fastseq

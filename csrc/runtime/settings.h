// What op drivers read of the process's settings (fastseq/runtime.h writes them).
#pragma once

#include "fastseq/status.h"
#include "kernels/kernels.h"

namespace fastseq {

Status current_isa(const Isa** isa);

// How many of num_threads() a call should use that has so many pieces of work, takes so many floating-point operations
// or, where it computes next to nothing, moves so many bytes. Waking a thread takes about 50 us. No more than there are
// CPUs: threads that share one divide the work into smaller products, and wait for each other.
int threads_for(double pieces);
int threads_for_operations(double operations);
int threads_for_bytes(double bytes);

template <class T>
const KernelTable<T>& kernels_of(const Isa& isa);
template <>
inline const KernelTable<float>& kernels_of<float>(const Isa& isa) {
  return *isa.f32;
}
template <>
inline const KernelTable<double>& kernels_of<double>(const Isa& isa) {
  return *isa.f64;
}

}  // namespace fastseq

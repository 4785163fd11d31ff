// The process's settings, as the drivers of ops read them. fastseq/runtime.h has the functions that change them.
#pragma once

#include "fastseq/status.h"
#include "kernels/kernels.h"

namespace fastseq {

Status current_isa(const Isa** isa);

// The number of threads for a call, at most num_threads(): for so many parts of work that each repay waking a thread,
// which takes about 50 us; for so many floating-point operations; or, for a call that hardly computes, for so many
// bytes of memory traffic. There are never more threads than CPUs: threads that share a CPU would only divide the work
// into smaller products and wait for each other.
int threads_for(double parts);
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

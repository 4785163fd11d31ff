// Kernels with one thread for each of many items.
#pragma once

#include <cstdint>

#include "launch.h"

namespace fastseq::cuda {

// Calls body(i) for this thread's part of `count` items, for any size of the grid.
template <class Body>
__device__ inline void for_each(int64_t count, const Body& body) {
  const int64_t grid = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += grid) body(i);
}

inline LaunchShape one_thread_for_each(int64_t count, unsigned threads = 256) {
  return {blocks_for(count, threads), threads};
}

}  // namespace fastseq::cuda

// All that kernels use of the machine beyond C++: one place, so that tests can put a CPU in its place.
#pragma once

#include <cooperative_groups.h>
#include <cuda_runtime.h>

namespace fastseq::cuda {

// The block's dynamic shared memory.
__device__ inline float* shared_memory() {
  extern __shared__ __align__(16) float memory[];
  return memory;
}

__device__ inline void sync_block() { __syncthreads(); }

// Of the lanes of a whole warp; the value of the lane whose number differs in these bits.
__device__ inline float exchange(float value, int lane_bits) { return __shfl_xor_sync(0xffffffffU, value, lane_bits); }

// What is written before, to any block's shared memory, is seen by all threads of the cluster after.
template <bool kCluster>
__device__ inline void sync_cluster() {
#if __CUDA_ARCH__ >= 900
  if constexpr (kCluster) {
    cooperative_groups::this_cluster().sync();
    return;
  }
#endif
  __syncthreads();
}

// The place in shared memory of another block of the cluster where `memory` is in this one's.
template <bool kCluster>
__device__ inline float* shared_of_block(float* memory, unsigned block) {
#if __CUDA_ARCH__ >= 900
  if constexpr (kCluster) return cooperative_groups::this_cluster().map_shared_rank(memory, block);
#endif
  (void)block;
  return memory;
}

}  // namespace fastseq::cuda

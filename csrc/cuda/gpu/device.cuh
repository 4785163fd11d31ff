// All that kernels use of the machine beyond C++: one place, so that tests can put a CPU in its place.
#pragma once

#include <cooperative_groups.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

namespace fastseq::cuda {

// The block's dynamic shared memory, aligned to 16 bytes.
__device__ inline float* shared_memory() {
  extern __shared__ __align__(16) float memory[];
  return memory;
}

__device__ inline void sync_block() { __syncthreads(); }

// Of the lanes of a whole warp; the value of the lane whose number differs in these bits.
__device__ inline float exchange(float value, int lane_bits) { return __shfl_xor_sync(0xffffffffU, value, lane_bits); }

// Of a cluster of so many blocks. What is written before, to any block's shared memory, all its threads see after.
__device__ inline void sync_cluster([[maybe_unused]] unsigned blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (blocks > 1) {
    cooperative_groups::this_cluster().sync();
    return;
  }
#endif
  __syncthreads();
}

// The place in the shared memory of another block of the cluster where `memory` is in this one's.
__device__ inline float* shared_of_block(float* memory, [[maybe_unused]] unsigned block,
                                         [[maybe_unused]] unsigned blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (blocks > 1) return cooperative_groups::this_cluster().map_shared_rank(memory, block);
#endif
  return memory;
}

// Copies to shared memory that go on beside what the thread does next. end_copies() closes a group of them;
// wait_for_copies<n>() waits for this thread's groups but the latest n.
__device__ inline void copy_ahead(float* shared, const float* global) {
  __pipeline_memcpy_async(shared, global, sizeof(float));
}
__device__ inline void end_copies() { __pipeline_commit(); }
template <int kLatest>
__device__ inline void wait_for_copies() {
  __pipeline_wait_prior(kLatest);
  asm volatile("" ::: "memory");  // no read of what was copied may be moved before it
}

}  // namespace fastseq::cuda

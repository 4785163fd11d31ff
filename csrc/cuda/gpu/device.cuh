// All functions of the GPU that kernels use beyond C++. They are in one file, so that tests can replace it by an
// emulation on the CPU.
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

// Exchanges values between the lanes of a whole warp: returns the value of the lane whose number differs in these bits.
__device__ inline float exchange(float value, int lane_bits) { return __shfl_xor_sync(0xffffffffU, value, lane_bits); }

// A barrier for a cluster of so many blocks. After it, all threads see all earlier writes to the shared memory of any
// of the blocks.
__device__ inline void sync_cluster([[maybe_unused]] unsigned blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (blocks > 1) {
    cooperative_groups::this_cluster().sync();
    return;
  }
#endif
  __syncthreads();
}

// The address in another block's shared memory that corresponds to `memory` in this block's.
__device__ inline float* shared_of_block(float* memory, [[maybe_unused]] unsigned block,
                                         [[maybe_unused]] unsigned blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (blocks > 1) return cooperative_groups::this_cluster().map_shared_rank(memory, block);
#endif
  return memory;
}

// Asynchronous copies to shared memory. end_copies() closes a group of copies; wait_for_copies<n>() waits for all of
// this thread's groups except the latest n.
__device__ inline void copy_ahead(float* shared, const float* global) {
  __pipeline_memcpy_async(shared, global, sizeof(float));
}
__device__ inline void end_copies() { __pipeline_commit(); }
template <int kLatest>
__device__ inline void wait_for_copies() {
  __pipeline_wait_prior(kLatest);
  asm volatile("" ::: "memory");  // the compiler must not move reads of the copies before this
}

}  // namespace fastseq::cuda

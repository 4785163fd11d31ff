// Kernel launches, and the conversion of CUDA's errors to Status.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "fastseq/cuda.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

// "recurrent kernel: too many resources requested for launch"
Status cuda_status(const char* what, cudaError_t error);

// Whether kernels can use clusters of blocks on a device: from compute capability 9.0 on, if this build has code for
// it.
Status has_clusters(int device, bool* has);

struct LaunchShape {
  dim3 grid = 1;
  unsigned threads = 1;  // threads in a block
  unsigned cluster = 1;  // blocks in a cluster, along the grid's x
  size_t shared_bytes = 0;
};

// The number of blocks for one thread for each of `count` items. It is limited by the largest grid, so kernels must
// loop.
unsigned blocks_for(int64_t count, unsigned threads);

template <class... Parameters, class... Arguments>
Status launch(const char* what, void (*kernel)(Parameters...), const LaunchShape& shape, Stream stream,
              const Arguments&... arguments) {
  constexpr size_t kSharedWithoutAsking = 48 * 1024;
  if (shape.shared_bytes > kSharedWithoutAsking) {
    // The device's maximum, not this launch's size: another thread may launch the same kernel with more.
    int device = 0;
    int most = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (error == cudaSuccess) error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    if (error != cudaSuccess) return cuda_status(what, error);
  }
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = shape.cluster;
  attribute.val.clusterDim.y = 1;
  attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = shape.cluster > 1 ? 1 : 0;
  return cuda_status(what, cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
}

}  // namespace fastseq::cuda

// The functions of cuBLAS that fastseq calls, from cuBLAS 12 on. They are declared here, and cuBLAS is loaded for the
// first product, so that neither the build nor the import of fastseq needs it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastseq/status.h"

namespace fastseq::cuda {

using CublasHandle = struct cublasContext*;
using CublasStream = struct CUstream_st*;

enum CublasStatus : int { kCublasSuccess = 0, kCublasAllocFailed = 3 };
enum CublasOperation : int { kCublasAsIs = 0, kCublasTransposed = 1 };
enum CublasMath : int { kCublasDefaultMath = 0, kCublasTf32Math = 3 };

struct Cublas {
  CublasStatus (*create)(CublasHandle* handle);
  CublasStatus (*set_stream)(CublasHandle handle, CublasStream stream);
  CublasStatus (*set_workspace)(CublasHandle handle, void* workspace, size_t bytes);
  CublasStatus (*set_math_mode)(CublasHandle handle, CublasMath mode);
  // Column-major c (m, n) = alpha a' b' + beta c
  CublasStatus (*sgemm)(CublasHandle handle, CublasOperation a_is, CublasOperation b_is, int64_t m, int64_t n,
                        int64_t k, const float* alpha, const float* a, int64_t lda, const float* b, int64_t ldb,
                        const float* beta, float* c, int64_t ldc);
};

// Loads cuBLAS: the library that the process has already loaded, or else the first one found.
Status load_cublas(const Cublas** functions);

}  // namespace fastseq::cuda

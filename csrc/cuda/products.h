// Matrix products by cuBLAS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cublas.h"
#include "fastseq/cuda.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

// The size of cuBLAS's workspace in device memory, aligned to 256 bytes: the size that cuBLAS recommends for the
// largest devices. With a separate workspace, the bits of a product do not depend on other uses of cuBLAS.
constexpr size_t kProductsWorkspace = size_t{32} << 20;

// A row-major float32 matrix, or the transpose of one.
struct Matrix {
  const float* data;
  int64_t ld;  // distance of rows in memory, in elements
  bool transposed = false;
};

// The products of one call, on its stream and the current device.
class Products {
 public:
  static Status begin(Stream stream, Precision precision, void* workspace, std::unique_ptr<Products>* products);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  // Sets the precision of later products.
  Status set_precision(Precision precision);

  // Row-major c (m, n) = a (m, k) b (k, n) + beta c, where beta is 0 (c is not read) or 1. Any size may be 0.
  Status multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float beta, float* c, int64_t ldc);

 private:
  Products(const Cublas& cublas, int device, CublasHandle handle, Stream stream)
      : cublas_(cublas), device_(device), handle_(handle), stream_(stream) {}

  const Cublas& cublas_;
  int device_;
  CublasHandle handle_;  // taken from the idle handles; the destructor returns it
  Stream stream_;
};

}  // namespace fastseq::cuda

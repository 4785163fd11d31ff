// Products of matrices outside the time loop, by cuBLAS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cublas.h"
#include "fastseq/cuda.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

// Of device memory, aligned to 256 bytes: what cuBLAS recommends for the largest devices. With one of our own, the bits
// of a product do not depend on what else uses cuBLAS.
constexpr size_t kProductsWorkspace = size_t{32} << 20;

// Row-major, in float32; or the transpose of what lies there.
struct Matrix {
  const float* data;
  int64_t ld;  // elements from row to row
  bool transposed = false;
};

// Those of one call, on its stream and the current device.
class Products {
 public:
  static Status begin(Stream stream, Precision precision, void* workspace, std::unique_ptr<Products>* products);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  // Of the products from here on.
  Status set_precision(Precision precision);

  // Row-major c (m, n) = a (m, k) b (k, n) + beta c, where beta is 0 (c is not read) or 1. Any size may be 0.
  Status multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float beta, float* c, int64_t ldc);

 private:
  Products(const Cublas& cublas, int device, CublasHandle handle, Stream stream)
      : cublas_(cublas), device_(device), handle_(handle), stream_(stream) {}

  const Cublas& cublas_;
  int device_;
  CublasHandle handle_;  // borrowed from those that are idle
  Stream stream_;
};

}  // namespace fastseq::cuda

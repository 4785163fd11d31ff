// Row-major products by cuBLAS, which is column-major: c' = b' a'.
#include "products.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "common/checks.h"
#include "launch.h"

namespace fastseq::cuda {
namespace {

// Making a handle takes milliseconds and memory, so idle handles are kept, by device. They are never destroyed, since
// the driver may already have shut down at the end of the process.
class IdleHandles {
 public:
  CublasHandle take(int device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<CublasHandle>& idle = handles_[device];
    if (idle.empty()) return nullptr;
    const CublasHandle handle = idle.back();
    idle.pop_back();
    return handle;
  }
  void give_back(int device, CublasHandle handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    handles_[device].push_back(handle);
  }

 private:
  std::mutex mutex_;
  std::map<int, std::vector<CublasHandle>> handles_;
};

IdleHandles& idle_handles() {
  static auto* const handles = new IdleHandles;
  return *handles;
}

Status cublas_status(const char* what, CublasStatus status) {
  if (status == kCublasSuccess) return {};
  const std::string message = std::string("cuBLAS, ") + what + ": status " + std::to_string(status);
  return status == kCublasAllocFailed ? Status::out_of_memory(message) : Status::unavailable(message);
}

CublasOperation as_it_lies(const Matrix& matrix) { return matrix.transposed ? kCublasTransposed : kCublasAsIs; }

}  // namespace

Status Products::begin(Stream stream, Precision precision, void* workspace, std::unique_ptr<Products>* products) {
  const Cublas* cublas = nullptr;
  FASTSEQ_RETURN_IF_ERROR(load_cublas(&cublas));
  int device = 0;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("current device", cudaGetDevice(&device)));
  CublasHandle handle = idle_handles().take(device);
  if (!handle) FASTSEQ_RETURN_IF_ERROR(cublas_status("creating a handle", cublas->create(&handle)));
  products->reset(new Products(*cublas, device, handle, stream));
  // In this order, since setting the stream resets the workspace to cuBLAS's own.
  FASTSEQ_RETURN_IF_ERROR(
      cublas_status("setting the stream", cublas->set_stream(handle, static_cast<CublasStream>(stream))));
  FASTSEQ_RETURN_IF_ERROR(
      cublas_status("setting the workspace", cublas->set_workspace(handle, workspace, kProductsWorkspace)));
  return (*products)->set_precision(precision);
}

Status Products::set_precision(Precision precision) {
  const CublasMath math = precision == Precision::kTf32 ? kCublasTf32Math : kCublasDefaultMath;
  return cublas_status("setting the precision", cublas_.set_math_mode(handle_, math));
}

Products::~Products() { idle_handles().give_back(device_, handle_); }

Status Products::multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float beta, float* c,
                          int64_t ldc) {
  if (m == 0 || n == 0 || (k == 0 && beta != 0)) return {};
  const auto bytes = [](int64_t elements) { return static_cast<size_t>(elements) * sizeof(float); };
  if (k == 0)
    return cuda_status("empty product", cudaMemset2DAsync(c, bytes(ldc), 0, bytes(n), static_cast<size_t>(m),
                                                          static_cast<cudaStream_t>(stream_)));
  const float alpha = 1;
  return cublas_status("product", cublas_.sgemm(handle_, as_it_lies(b), as_it_lies(a), n, m, k, &alpha, b.data, b.ld,
                                                a.data, a.ld, &beta, c, ldc));
}

}  // namespace fastseq::cuda

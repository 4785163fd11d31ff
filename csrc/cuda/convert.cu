// Half types to float32 and back, a thread an element.
#include "convert.cuh"

#include "launch.h"

namespace fastseq::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <class From, class To>
__global__ void convert(const From* from, int64_t count, To* to) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
    round_to(to_float(from[i]), &to[i]);
}

template <class From, class To>
Status launch_convert(const void* from, int64_t count, void* to, Stream stream) {
  if (count == 0) return {};
  LaunchShape shape;
  shape.grid = blocks_for(count, kThreads);
  shape.threads = kThreads;
  return launch("conversion", convert<From, To>, shape, stream, static_cast<const From*>(from), count,
                static_cast<To*>(to));
}

Status no_such_float() { return Status::invalid_dtype("only float32, float16 and bfloat16 are converted"); }

}  // namespace

Status convert_to_float(const void* from, DType dtype, int64_t count, float* to, Stream stream) {
  switch (dtype) {
    case DType::kFloat32:
      return launch_convert<float, float>(from, count, to, stream);
    case DType::kFloat16:
      return launch_convert<Float16, float>(from, count, to, stream);
    case DType::kBFloat16:
      return launch_convert<BFloat16, float>(from, count, to, stream);
    default:
      return no_such_float();
  }
}

Status convert_from_float(const float* from, DType dtype, int64_t count, void* to, Stream stream) {
  switch (dtype) {
    case DType::kFloat32:
      return launch_convert<float, float>(from, count, to, stream);
    case DType::kFloat16:
      return launch_convert<float, Float16>(from, count, to, stream);
    case DType::kBFloat16:
      return launch_convert<float, BFloat16>(from, count, to, stream);
    default:
      return no_such_float();
  }
}

}  // namespace fastseq::cuda

#include "rows.h"

#include "common/checks.h"
#include "device.cuh"
#include "each.cuh"
#include "float_types.h"

namespace fastseq::cuda {
namespace {

template <class T>
__global__ void make_operand_kernel(const Operand operand, float* to) {
  const int64_t width = operand.width;
  for_each(operand.batch * operand.timesteps * width, [&](int64_t i) {
    const int64_t cell = i / width;
    const int64_t column = i - cell * width;
    if (operand.mask && !operand.mask[cell]) {
      to[i] = 0.0F;
      return;
    }
    float value = to_float(static_cast<const T*>(operand.from)[cell * operand.stride + column]);
    if (operand.times) value *= operand.times[cell * operand.stride + column];
    if (operand.factors) value *= operand.factors[cell / operand.timesteps * width + column];
    to[i] = value;
  });
}

__global__ void add_scaled_kernel(int64_t batch, int64_t timesteps, int64_t width, const float* from,
                                  const float* factors, bool add, float* to) {
  for_each(batch * timesteps * width, [&](int64_t i) {
    const float value = from[i] * factors[i / width / timesteps * width + i % width];
    to[i] = add ? to[i] + value : value;
  });
}

// A block sums 32 columns of one part of the rows, 8 rows at the same time.
constexpr int kColumns = 32;
constexpr int kSideBySide = 8;
constexpr int kMostParts = 64;

__global__ void column_sums_kernel(int64_t rows, int64_t width, const float* from, float* to) {
  float* sums = shared_memory();
  const int thread = static_cast<int>(threadIdx.x);
  const int side = thread / kColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + thread % kColumns;
  const int64_t parts = gridDim.y;
  const int64_t part = blockIdx.y;
  float sum = 0.0F;
  if (column < width)
    for (int64_t row = part * kSideBySide + side; row < rows; row += parts * kSideBySide)
      sum += from[row * width + column];
  sums[thread] = sum;
  sync_block();
  if (side != 0 || column >= width) return;
  for (int other = 1; other < kSideBySide; ++other) sum += sums[other * kColumns + thread];
  to[part * width + column] = sum;
}

Status launch_column_sums(int64_t rows, int64_t width, const float* from, int64_t parts, float* to, Stream stream) {
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>((width + kColumns - 1) / kColumns), static_cast<unsigned>(parts));
  shape.threads = kColumns * kSideBySide;
  shape.shared_bytes = shape.threads * sizeof(float);
  return launch("column sums", column_sums_kernel, shape, stream, rows, width, from, to);
}

}  // namespace

Status make_operand(const Operand& operand, float* to, Stream stream) {
  const int64_t count = operand.batch * operand.timesteps * operand.width;
  if (count == 0) return {};
  return with_float_type(operand.dtype, [&](auto zero) {
    return launch("operand", make_operand_kernel<decltype(zero)>, one_thread_for_each(count), stream, operand, to);
  });
}

Status add_scaled(int64_t batch, int64_t timesteps, int64_t width, const float* from, const float* factors, bool add,
                  float* to, Stream stream) {
  const int64_t count = batch * timesteps * width;
  if (count == 0) return {};
  return launch("scaled sum", add_scaled_kernel, one_thread_for_each(count), stream, batch, timesteps, width, from,
                factors, add, to);
}

int64_t column_sums_parts(int64_t width) { return kMostParts * width; }

Status column_sums(int64_t rows, int64_t width, const float* from, float* parts, float* sums, Stream stream) {
  if (width == 0) return {};
  FASTSEQ_RETURN_IF_ERROR(launch_column_sums(rows, width, from, kMostParts, parts, stream));
  return launch_column_sums(kMostParts, width, parts, 1, sums, stream);
}

}  // namespace fastseq::cuda

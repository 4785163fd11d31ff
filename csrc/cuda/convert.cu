// Conversion of half types to float32 and back: one thread for each element.
#include "convert.cuh"

#include "each.cuh"
#include "float_types.h"

namespace fastseq::cuda {
namespace {

template <class From, class To>
__global__ void convert(const From* from, int64_t count, To* to) {
  for_each(count, [&](int64_t i) { round_to(to_float(from[i]), &to[i]); });
}

template <class From, class To>
Status launch_convert(const From* from, int64_t count, To* to, Stream stream) {
  if (count == 0) return {};
  return launch("conversion", convert<From, To>, one_thread_for_each(count), stream, from, count, to);
}

}  // namespace

Status convert_to_float(const void* from, DType dtype, int64_t count, float* to, Stream stream) {
  return with_float_type(
      dtype, [&](auto zero) { return launch_convert(static_cast<const decltype(zero)*>(from), count, to, stream); });
}

Status convert_from_float(const float* from, DType dtype, int64_t count, void* to, Stream stream) {
  return with_float_type(
      dtype, [&](auto zero) { return launch_convert(from, count, static_cast<decltype(zero)*>(to), stream); });
}

}  // namespace fastseq::cuda

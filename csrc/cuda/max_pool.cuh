// The kernels of max pooling: one thread for every output in forward, and for every element of dx in backward.
#pragma once

#include <cmath>
#include <cstdint>

#include "convert.cuh"
#include "device.cuh"
#include "each.cuh"
#include "fastseq/pool.h"

namespace fastseq::cuda {

// An array of positions in windows, of the dtype max_pool_index_dtype.
struct Positions {
  void* data;
  int bytes;  // size of a position

  __device__ int64_t at(int64_t i) const {
    if (bytes == 1) return static_cast<const uint8_t*>(data)[i];
    if (bytes == 2) return static_cast<const uint16_t*>(data)[i];
    return static_cast<const int32_t*>(data)[i];
  }
  __device__ void set(int64_t i, int64_t position) const {
    if (bytes == 1)
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(position);
    else if (bytes == 2)
      static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(position);
    else
      static_cast<int32_t*>(data)[i] = static_cast<int32_t>(position);
  }
};

inline Positions positions_of(const Array& argmax, const PoolOptions& options) {
  return {argmax.data, static_cast<int>(dtype_bytes(max_pool_index_dtype(options.pool_size)))};
}

struct Windows {
  int64_t batch, timesteps, channels, pooled;
  int64_t before, pool_size, strides;

  Windows(const PoolDims& d, const PoolOptions& options)
      : batch(d.batch),
        timesteps(d.timesteps),
        channels(d.channels),
        pooled(d.pooled),
        before(d.before),
        pool_size(options.pool_size),
        strides(options.strides) {}

  // The first timestep of window p; it may be in the padding.
  __device__ int64_t begin(int64_t p) const { return p * strides - before; }
  // The windows that have timestep t are [first_with(t), last_with(t)).
  __device__ int64_t first_with(int64_t t) const {
    // The last position in the padded sequence at which a window begins that ends before t.
    const int64_t too_early = t + before - pool_size;
    return too_early < 0 ? 0 : too_early / strides + 1;
  }
  __device__ int64_t last_with(int64_t t) const {
    const int64_t last = (t + before) / strides + 1;
    return last < pooled ? last : pooled;
  }
};

// The position of element i in an array (B, rows, C).
struct Element {
  int64_t batch, row, channel;

  __device__ Element(int64_t i, int64_t rows, int64_t channels)
      : batch(i / channels / rows), row(i / channels % rows), channel(i % channels) {}
};

// The lowest finite number.
template <class T>
constexpr float kLowest = -0x1.fffffep127F;
template <>
inline constexpr float kLowest<Float16> = -65504.0F;
template <>
inline constexpr float kLowest<BFloat16> = -0x1.fep127F;

template <class T, bool kPropagateNan>
__global__ void take_maxima(const Windows windows, const T* x, T* outputs, const Positions argmax) {
  const int64_t count = windows.batch * windows.pooled * windows.channels;
  for_each(count, [&](int64_t i) {
    const Element output(i, windows.pooled, windows.channels);
    const int64_t begin = windows.begin(output.row);
    const int64_t first = begin < 0 ? 0 : begin;
    const int64_t end = begin + windows.pool_size < windows.timesteps ? begin + windows.pool_size : windows.timesteps;
    float greatest = kPropagateNan ? -HUGE_VALF : kLowest<T>;
    int64_t taken = first;
    for (int64_t t = first; t < end; ++t) {
      const float value = to_float(x[(output.batch * windows.timesteps + t) * windows.channels + output.channel]);
      if (value > greatest || (kPropagateNan && value != value)) {
        greatest = value;
        taken = t;
      }
    }
    round_to(greatest, &outputs[i]);
    if (argmax.data) argmax.set(i, taken - begin);
  });
}

// gradient(i) is the gradient of the loss by output i, in float32. The gradients of several windows are added up window
// by window.
template <class Gradient, class T>
__global__ void give_to_maxima(const Windows windows, const Positions argmax, const Gradient gradient, T* dx) {
  const int64_t count = windows.batch * windows.timesteps * windows.channels;
  for_each(count, [&](int64_t i) {
    const Element at(i, windows.timesteps, windows.channels);
    const int64_t last = windows.last_with(at.row);
    float sum = 0.0F;
    for (int64_t p = windows.first_with(at.row); p < last; ++p) {
      const int64_t output = (at.batch * windows.pooled + p) * windows.channels + at.channel;
      if (argmax.at(output) == at.row - windows.begin(p)) sum += gradient(output);
    }
    round_to(sum, &dx[i]);
  });
}

template <class Gradient, class T>
Status run_give_to_maxima(const PoolDims& d, const PoolOptions& options, const Array& argmax, const Gradient& gradient,
                          T* dx, Stream stream) {
  const int64_t count = d.batch * d.timesteps * d.channels;
  if (count == 0) return {};
  return launch("max pooling's gradient", give_to_maxima<Gradient, T>, one_thread_for_each(count), stream,
                Windows(d, options), positions_of(argmax, options), gradient, dx);
}

}  // namespace fastseq::cuda

// The layout of a convolution's operands, and the choice of methods, for its plan and its two drivers.
//
// Both directions are products of patches and packed weights, without a matrix of patches in memory. A patch is a few
// rows of a sequence, and consecutive rows are contiguous in memory already. A patch is only copied (gathered) if it
// reaches over an end of the sequence, leaves rows out (dilation) or has a part of the channels (groups), and then a
// block of patches at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "batch_shards.h"
#include "driver.h"
#include "fastseq/conv1d.h"
#include "pool_windows.h"
#include "runtime/settings.h"
#include "vectors.h"

namespace fastseq {

constexpr int64_t kLanes = 16;  // lanes of the longest vectors

// The number of vectors for so many columns of a product.
inline int64_t whole_vectors(int64_t columns) { return (columns + kLanes - 1) / kLanes; }

inline int64_t conv1d_patch_elements(const Conv1dPlan& plan) {
  return plan.dims.width * (plan.dims.channels / plan.options.groups);
}

// Whether all taps are within x at all steps.
inline bool conv1d_all_within(const Conv1dPlan& plan) {
  const Conv1dDims& d = plan.dims;
  const int64_t reach = plan.options.dilation_rate * (d.width - 1);
  return d.padding_before == 0 && (d.convolved - 1) * plan.options.strides + reach < d.timesteps;
}

// The number of a patch's elements that are contiguous in x at every step: all of them, or those of one tap.
inline int64_t conv1d_tap_channels(const Conv1dPlan& plan) {
  const Conv1dDims& d = plan.dims;
  const Conv1dOptions& o = plan.options;
  const bool one = o.dilation_rate == 1 && o.groups == 1 && conv1d_all_within(plan);
  return one ? conv1d_patch_elements(plan) : d.channels / o.groups;
}

// Whether the kernel stays in a core's second-level cache. If not, it is read from further away for every block of
// rows, so blocks are larger.
inline bool conv1d_kernel_is_near(const Conv1dPlan& plan) {
  constexpr int64_t kNearElements = 256 * 1024;
  return conv1d_patch_elements(plan) * plan.dims.filters <= kNearElements;
}

// The number of rows in a product, of `rows` in all: so many that their patches, if gathered, fit a typical
// second-level cache.
inline int64_t conv1d_block_rows(const Conv1dPlan& plan, int64_t patch_elements, int64_t rows) {
  constexpr int64_t kBlockElements = 64 * 1024;
  constexpr int64_t kRowsOfFarKernel = 240;
  const int64_t most = conv1d_kernel_is_near(plan)
                           ? std::clamp<int64_t>(kBlockElements / std::max<int64_t>(1, patch_elements), 12, 120)
                           : kRowsOfFarKernel;
  return std::clamp<int64_t>(rows, 1, most);
}

// The number of sequences whose gradients are computed at once. It is more than one if each has few steps, since the
// sums of the weight gradients are read and written once for every block of steps, and the kernel is read for dx. It
// determines the order of the sums, so it must depend on the call's dimensions only.
inline int64_t conv1d_sequences(const Conv1dPlan& plan) {
  constexpr int64_t kRowsOfFarKernel = 4 * kDepthBlock;
  const int64_t rows = conv1d_kernel_is_near(plan) ? kDepthBlock : kRowsOfFarKernel;
  return std::clamp<int64_t>(rows / std::max<int64_t>(1, plan.dims.convolved), 1,
                             std::max<int64_t>(1, plan.dims.batch));
}

// The largest number of the convolution's timesteps that scratch must hold; 0 for an empty batch.
inline int64_t conv1d_scratch_timesteps(const Conv1dPlan& plan) {
  return plan.dims.batch > 0 ? plan.dims.convolved : 0;
}

// Whether the convolution has so few rows, compared to the size of its kernel, that packing the whole kernel costs more
// than it saves.
inline bool conv1d_few_rows(const Conv1dPlan& plan) {
  constexpr int64_t kMostRows = 240;
  constexpr int64_t kLeastElements = 64 * 1024;
  const Conv1dDims& d = plan.dims;
  return plan.options.groups == 1 && d.batch * d.convolved <= kMostRows &&
         conv1d_patch_elements(plan) * d.filters >= kLeastElements;
}

// The method by which backward sums the weight gradients (conv1d_weights.h). It depends on the call's dimensions only.
enum class WeightsWay { kDense, kTransposed, kGathered, kSparse };

inline WeightsWay conv1d_weights_way(const Conv1dPlan& plan) {
  // Sparse: from the elements of dz that are not zero. That is faster with windows of 3 timesteps or more, patches that
  // are long enough to repay the search for these elements, and sequences that are computed one by one. It is not
  // possible if windows overlap: then an element may come from two windows, and the sum of both would be rounded
  // differently.
  constexpr int64_t kLeastStrides = 3;
  constexpr int64_t kLeastPatch = 96;
  const PoolOptions& pool = plan.options.pool;
  if (plan.options.pooled && pool.strides >= std::max(pool.pool_size, kLeastStrides) &&
      conv1d_patch_elements(plan) >= kLeastPatch && plan.options.dilation_rate == 1 && conv1d_all_within(plan) &&
      conv1d_sequences(plan) == 1 && plan.dims.timesteps <= INT32_MAX)
    return WeightsWay::kSparse;
  // Gathering a patch costs as much as a few filters of the product.
  constexpr int64_t kLeastFilters = 64;
  const int64_t filters = plan.dims.filters / plan.options.groups;
  if (conv1d_sequences(plan) > 1 && filters >= kLeastFilters) return WeightsWay::kGathered;
  // Transposed: if that product has fewer vectors for each step. A row of 2 vectors or more has sums enough to keep the
  // multiply-adds busy as it is.
  const int64_t channels = conv1d_tap_channels(plan);
  const bool fewer = filters * whole_vectors(channels) <= channels * whole_vectors(filters);
  return filters < 2 * kLanes && fewer ? WeightsWay::kTransposed : WeightsWay::kDense;
}

// Calls body(index, sequence, step) for rows [rows.begin, rows.end) of sequences with `steps` rows each. `index` counts
// from rows.begin. There is no division for each row: with few channels, it would be most of a row's work.
template <class Body>
void for_rows(Range rows, int64_t steps, const Body& body) {
  if (rows.begin >= rows.end) return;
  int64_t sequence = rows.begin / steps;
  int64_t step = rows.begin % steps;
  for (int64_t index = 0; index < rows.end - rows.begin; ++index, ++step) {
    if (step == steps) {
      step = 0;
      ++sequence;
    }
    body(index, sequence, step);
  }
}

// Patches of a sequence: each has `width` elements of `taps` rows, which are `step` rows apart.
template <class T>
struct Patches {
  const T* sequence;  // (rows, ld), from the first element of a patch on
  int64_t rows;
  int64_t ld;
  int64_t width;
  int64_t taps;
  int64_t step;

  int64_t size() const { return taps * width; }

  // The patch whose first tap is row `start`, with zeros outside of the sequence: a pointer into the sequence where
  // possible, else a copy in `buffer`.
  const T* at(int64_t start, T* buffer) const { return part_at(start, {0, size()}, buffer); }

  // Elements [part.begin, part.end) of that patch, likewise.
  const T* part_at(int64_t start, Range part, T* buffer) const {
    const bool inside = start >= 0 && start + (taps - 1) * step < rows;
    if (inside && (taps == 1 || (step == 1 && width == ld))) return sequence + start * ld + part.begin;
    if (width == 0) return buffer;  // there may be billions of taps without elements
    T* to = buffer;
    int64_t first = part.begin % width;
    for (int64_t tap = part.begin / width, left = part.end - part.begin; left > 0; ++tap, first = 0) {
      const int64_t count = std::min(width - first, left);
      const int64_t row = start + tap * step;
      if (row >= 0 && row < rows)
        std::copy_n(sequence + row * ld + first, count, to);
      else
        std::fill_n(to, count, T(0));
      to += count;
      left -= count;
    }
    return buffer;
  }
};

// Row t of dx is the sum of dz[(t + p - k d) / s] kernel[k]^T over the taps k for which the index is an integer: t + p
// and k d must have the same remainder modulo s. Rows of dx with the same taps form a phase. If a phase has tap k, it
// also has tap k + s / gcd(s, d), and so on. So there are at most as many phases as taps. If there are fewer than s
// phases, the rows of dx in none of them have gradient zero.
struct Phase {
  int64_t first_tap;  // the least k; it is the number of the phase
  int64_t taps;
  int64_t tap_step;   // distance of one k from the next
  int64_t row_step;   // distance of one tap's row of dz from the next tap's; rows go down as k goes up
  int64_t remainder;  // (t + p) mod s

  Phase(const Conv1dDims& d, const Conv1dOptions& o, int64_t number)
      : first_tap(number),
        tap_step(o.strides / std::gcd(o.strides, o.dilation_rate)),
        row_step(o.dilation_rate / std::gcd(o.strides, o.dilation_rate)),
        remainder(number * o.dilation_rate % o.strides) {
    taps = (d.width - 1 - first_tap) / tap_step + 1;
  }
  int64_t last_tap() const { return first_tap + (taps - 1) * tap_step; }
  // The first timestep of a sequence in this phase, and the number of them; they are `strides` apart.
  int64_t first_step(const Conv1dPlan& plan) const {
    const int64_t strides = plan.options.strides;
    return (remainder - plan.dims.padding_before % strides + strides) % strides;
  }
  int64_t steps(const Conv1dPlan& plan) const {
    const int64_t first = first_step(plan);
    return first < plan.dims.timesteps ? (plan.dims.timesteps - 1 - first) / plan.options.strides + 1 : 0;
  }

  static int count(const Conv1dPlan& plan) {
    const Phase first(plan.dims, plan.options, 0);
    return static_cast<int>(std::min(plan.dims.width, first.tap_step));
  }
};

// The method by which backward computes dx: in phases, or by a method of conv1d_dx.h. It depends on the call's
// dimensions only.
enum class DxWay { kPhases, kFewRows, kAllTaps };

inline DxWay conv1d_dx_way(const Conv1dPlan& plan) {
  if (conv1d_few_rows(plan)) return DxWay::kFewRows;
  // One product for all taps has fewer vectors, unless the columns of a phase's product are all in the tail, which
  // wastes no lanes.
  const int64_t channels = plan.dims.channels;
  const int64_t depth = Phase(plan.dims, plan.options, 0).taps * plan.dims.filters;
  const bool fewer = 2 * whole_vectors(plan.dims.width * channels) <= plan.dims.width * whole_vectors(channels);
  const bool plain = plan.options.groups == 1 && plan.options.dilation_rate == 1;
  return plain && fewer && tail_columns(depth, channels, channels) != channels ? DxWay::kAllTaps : DxWay::kPhases;
}

// One packed matrix of this shape for each group of channels.
template <class T>
struct PackedGroups {
  PackedShape shape;
  int64_t size;  // elements of one matrix
  T* data;

  PackedGroups(const KernelTable<T>& kernels, int64_t groups, int64_t depth, int64_t columns, Scratch& scratch)
      : shape{depth, columns, tail_columns(depth, columns, columns)},
        size(kernels.packed_size(shape)),
        data(scratch.take<T>(groups * size)) {}
  T* group(int64_t g) const { return data + g * size; }
};

// The dimensions and inputs of a call, for both drivers.
template <class T>
struct Conv1dOperands {
  const Conv1dPlan plan;
  const KernelTable<T>& kernels;
  const int64_t batch, timesteps, channels, filters, width, convolved, outputs;
  const int64_t groups, group_channels, group_filters;
  const PoolWindows windows;  // used where pooled
  const int index_bytes;      // size of an element of argmax
  const T *x, *kernel, *bias;

  Conv1dOperands(const Conv1dPlan& the_plan, const Conv1dInputs& in)
      : plan(the_plan),
        kernels(kernels_of<T>(*plan.isa)),
        batch(plan.dims.batch),
        timesteps(plan.dims.timesteps),
        channels(plan.dims.channels),
        filters(plan.dims.filters),
        width(plan.dims.width),
        convolved(plan.dims.convolved),
        outputs(plan.dims.outputs),
        groups(plan.options.groups),
        group_channels(channels / groups),
        group_filters(filters / groups),
        windows(plan.dims.pool, plan.options.pool),
        index_bytes(static_cast<int>(dtype_bytes(max_pool_index_dtype(plan.options.pool.pool_size)))),
        x(in.x.as<T>()),
        kernel(in.kernel.as<T>()),
        bias(in.bias.as<T>()) {}

  // The patches of sequence b of x, for one group of channels.
  Patches<T> patches_of(int64_t b, int64_t g) const {
    return {x + b * timesteps * channels + g * group_channels,
            timesteps,
            channels,
            group_channels,
            width,
            plan.options.dilation_rate};
  }
  const T* kernel_row(int64_t k, int64_t c) const { return kernel + (k * group_channels + c) * filters; }
};

// The number of shards in backward (batch_shards.h). A shard is a range of sequences.
inline int conv1d_batch_shards(const Conv1dPlan& plan) {
  const Conv1dDims& d = plan.dims;
  if (!conv1d_kernel_is_near(plan)) return 1;
  return batch_shards(d.batch, d.batch * d.convolved, conv1d_patch_elements(plan) * d.filters, dtype_bytes(d.dtype));
}

inline int conv1d_subteams(const Conv1dPlan& plan) { return subteams_for(plan.threads, conv1d_batch_shards(plan)); }

inline TeamShape team_shape(const Conv1dPlan& plan) { return {plan.threads, 1, conv1d_subteams(plan)}; }

inline Conv1dPlan single_threaded(const Conv1dPlan& plan) {
  Conv1dPlan one = plan;
  one.threads = 1;
  return one;
}

size_t conv1d_forward_scratch_bytes(const Conv1dPlan& plan);
size_t conv1d_prepared_bytes(const Conv1dPlan& plan);
size_t conv1d_backward_scratch_bytes(const Conv1dPlan& plan);

}  // namespace fastseq

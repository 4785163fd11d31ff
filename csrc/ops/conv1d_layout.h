// What the plan of a convolution and its two drivers share: where its operands lie.
//
// Both directions are products of patches and packed weights, with no matrix of patches in memory: a patch is a few
// rows of a sequence side by side, and rows that follow each other are that already. Only patches that reach over an
// end of the sequence, leave rows out (dilation) or take a part of the channels (groups) are gathered, a block at a
// time.
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

constexpr int64_t kLanes = 16;  // of the longest vectors

// Vectors that so many columns of a product take.
inline int64_t whole_vectors(int64_t columns) { return (columns + kLanes - 1) / kLanes; }

inline int64_t conv1d_patch_elements(const Conv1dPlan& plan) {
  return plan.dims.width * (plan.dims.channels / plan.options.groups);
}

// Whether every tap is within x at every step.
inline bool conv1d_all_within(const Conv1dPlan& plan) {
  const Conv1dDims& d = plan.dims;
  const int64_t reach = plan.options.dilation_rate * (d.width - 1);
  return d.padding_before == 0 && (d.convolved - 1) * plan.options.strides + reach < d.timesteps;
}

// Elements of a patch that lie side by side in x at every step: all of it, or those of one tap.
inline int64_t conv1d_tap_channels(const Conv1dPlan& plan) {
  const Conv1dDims& d = plan.dims;
  const Conv1dOptions& o = plan.options;
  const bool one = o.dilation_rate == 1 && o.groups == 1 && conv1d_all_within(plan);
  return one ? conv1d_patch_elements(plan) : d.channels / o.groups;
}

// Whether the kernel stays in a core's second-level cache. Where it does not, it is read from further away for every
// block of rows, and blocks are large.
inline bool conv1d_kernel_is_near(const Conv1dPlan& plan) {
  constexpr int64_t kNearElements = 256 * 1024;
  return conv1d_patch_elements(plan) * plan.dims.filters <= kNearElements;
}

// Rows whose patches are multiplied at once, of `rows` in all: as many as keep them, gathered, in a typical
// second-level cache.
inline int64_t conv1d_block_rows(const Conv1dPlan& plan, int64_t patch_elements, int64_t rows) {
  constexpr int64_t kBlockElements = 64 * 1024;
  constexpr int64_t kRowsOfFarKernel = 240;
  const int64_t most = conv1d_kernel_is_near(plan)
                           ? std::clamp<int64_t>(kBlockElements / std::max<int64_t>(1, patch_elements), 12, 120)
                           : kRowsOfFarKernel;
  return std::clamp<int64_t>(rows, 1, most);
}

// Sequences whose gradients are computed at once: more than one where each has few steps. The weight gradients are read
// and written for every block of steps, and dx reads the kernel. It follows from dimensions alone: it is the order of
// the sums.
inline int64_t conv1d_sequences(const Conv1dPlan& plan) {
  constexpr int64_t kRowsOfFarKernel = 4 * kDepthBlock;
  const int64_t rows = conv1d_kernel_is_near(plan) ? kDepthBlock : kRowsOfFarKernel;
  return std::clamp<int64_t>(rows / std::max<int64_t>(1, plan.dims.convolved), 1,
                             std::max<int64_t>(1, plan.dims.batch));
}

// The most timesteps of the convolution that scratch is to hold: of an empty batch, none.
inline int64_t conv1d_scratch_timesteps(const Conv1dPlan& plan) {
  return plan.dims.batch > 0 ? plan.dims.convolved : 0;
}

// Whether the convolution has so few rows, for its kernel's size, that a packed copy of the whole kernel, written and
// read again, would cost more than it saves.
inline bool conv1d_few_rows(const Conv1dPlan& plan) {
  constexpr int64_t kMostRows = 240;
  constexpr int64_t kLeastElements = 64 * 1024;
  const Conv1dDims& d = plan.dims;
  return plan.options.groups == 1 && d.batch * d.convolved <= kMostRows &&
         conv1d_patch_elements(plan) * d.filters >= kLeastElements;
}

// How backward sums the weight gradients (conv1d_weights.h). It follows from dimensions alone.
enum class WeightsWay { kDense, kTransposed, kGathered, kSparse };

inline WeightsWay conv1d_weights_way(const Conv1dPlan& plan) {
  // What is not zero of dz: where that is faster, in windows of 3 timesteps or more, of patches long enough to make up
  // for finding it, and of sequences that are taken one by one. Windows that overlap may give an element twice, whose
  // sum is a rounding of its own.
  constexpr int64_t kLeastStrides = 3;
  constexpr int64_t kLeastPatch = 96;
  const PoolOptions& pool = plan.options.pool;
  if (plan.options.pooled && pool.strides >= std::max(pool.pool_size, kLeastStrides) &&
      conv1d_patch_elements(plan) >= kLeastPatch && plan.options.dilation_rate == 1 && conv1d_all_within(plan) &&
      conv1d_sequences(plan) == 1 && plan.dims.timesteps <= INT32_MAX)
    return WeightsWay::kSparse;
  // To gather a patch costs as much as a few filters of the product.
  constexpr int64_t kLeastFilters = 64;
  const int64_t filters = plan.dims.filters / plan.options.groups;
  if (conv1d_sequences(plan) > 1 && filters >= kLeastFilters) return WeightsWay::kGathered;
  // The way of a product that has fewer vectors for each step. Of 2 and more for each row, there are sums enough.
  const int64_t channels = conv1d_tap_channels(plan);
  const bool fewer = filters * whole_vectors(channels) <= channels * whole_vectors(filters);
  return filters < 2 * kLanes && fewer ? WeightsWay::kTransposed : WeightsWay::kDense;
}

// Calls body(index, sequence, step) for rows [rows.begin, rows.end) of sequences of `steps` each, counted from their
// first row; the index counts from rows.begin. Without a division for each: with few channels, that would be the most
// of a row's work.
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

// Patches of a sequence: `taps` of its rows, `step` rows apart, of each `width` elements.
template <class T>
struct Patches {
  const T* sequence;  // (rows, ld), from the first element to take on
  int64_t rows;
  int64_t ld;
  int64_t width;
  int64_t taps;
  int64_t step;

  int64_t size() const { return taps * width; }

  // The patch whose first tap is row `start`, zero outside of the sequence: where it lies, or gathered in `buffer`.
  const T* at(int64_t start, T* buffer) const { return part_at(start, {0, size()}, buffer); }

  // Elements [part.begin, part.end) of that patch, likewise.
  const T* part_at(int64_t start, Range part, T* buffer) const {
    const bool inside = start >= 0 && start + (taps - 1) * step < rows;
    if (inside && (taps == 1 || (step == 1 && width == ld))) return sequence + start * ld + part.begin;
    if (width == 0) return buffer;  // of nothing there can be billions
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

// Row t of dx gets dz[(t + p - k d) / s] kernel[k]^T from those k for which that is whole: t + p and k d leave the same
// remainder by s. Rows of dx with the same taps form a phase. With tap k, it has every s / gcd(s, d)-th from there on;
// so there are at most as many phases as taps, and where there are fewer than s, the rows in none have gradient zero.
struct Phase {
  int64_t first_tap;  // the least k: the phase's number
  int64_t taps;
  int64_t tap_step;   // from k to k
  int64_t row_step;   // from row to row of dz, the other way round
  int64_t remainder;  // of t + p by s

  Phase(const Conv1dDims& d, const Conv1dOptions& o, int64_t number)
      : first_tap(number),
        tap_step(o.strides / std::gcd(o.strides, o.dilation_rate)),
        row_step(o.dilation_rate / std::gcd(o.strides, o.dilation_rate)),
        remainder(number * o.dilation_rate % o.strides) {
    taps = (d.width - 1 - first_tap) / tap_step + 1;
  }
  int64_t last_tap() const { return first_tap + (taps - 1) * tap_step; }
  // Its steps of a sequence: the first, and how many there are, `strides` apart.
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

// How backward computes dx: in phases, or in one of the ways of conv1d_dx.h. It follows from dimensions alone.
enum class DxWay { kPhases, kFewRows, kAllTaps };

inline DxWay conv1d_dx_way(const Conv1dPlan& plan) {
  if (conv1d_few_rows(plan)) return DxWay::kFewRows;
  // With all taps in one, fewer vectors, as long as a phase's product is not one of a tail alone, which wastes none.
  const int64_t channels = plan.dims.channels;
  const int64_t depth = Phase(plan.dims, plan.options, 0).taps * plan.dims.filters;
  const bool fewer = 2 * whole_vectors(plan.dims.width * channels) <= plan.dims.width * whole_vectors(channels);
  const bool single_threaded = plan.options.groups == 1 && plan.options.dilation_rate == 1;
  return single_threaded && fewer && tail_columns(depth, channels, channels) != channels ? DxWay::kAllTaps
                                                                                         : DxWay::kPhases;
}

// One packed matrix for each group of channels, each `shape`.
template <class T>
struct PackedGroups {
  PackedShape shape;
  int64_t size;  // of one
  T* data;

  PackedGroups(const KernelTable<T>& kernels, int64_t groups, int64_t depth, int64_t columns, Scratch& scratch)
      : shape{depth, columns, tail_columns(depth, columns, columns)},
        size(kernels.packed_size(shape)),
        data(scratch.take<T>(groups * size)) {}
  T* group(int64_t g) const { return data + g * size; }
};

// What both drivers read of a call.
template <class T>
struct Conv1dOperands {
  const Conv1dPlan plan;
  const KernelTable<T>& kernels;
  const int64_t batch, timesteps, channels, filters, width, convolved, outputs;
  const int64_t groups, group_channels, group_filters;
  const PoolWindows windows;  // where pooled
  const int index_bytes;      // of each element of argmax
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

  // The patches of x's sequence b, of one group of channels.
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

// Of backward (batch_shards.h): runs of sequences.
inline int conv1d_batch_shards(const Conv1dPlan& plan) {
  constexpr int64_t kLeastRows = 256;
  const Conv1dDims& d = plan.dims;
  return batch_shards(d.batch, conv1d_kernel_is_near(plan) && d.batch * d.convolved >= kLeastRows);
}

inline int conv1d_subteams(const Conv1dPlan& plan) { return subteams_for(plan.threads, conv1d_batch_shards(plan)); }

inline TeamShape team_shape(const Conv1dPlan& plan) { return {plan.threads, 1, conv1d_subteams(plan)}; }

inline Conv1dPlan single_threaded(const Conv1dPlan& plan) {
  Conv1dPlan one = plan;
  one.threads = 1;
  return one;
}

size_t conv1d_forward_scratch_bytes(const Conv1dPlan& plan);
size_t conv1d_backward_scratch_bytes(const Conv1dPlan& plan);

}  // namespace fastseq

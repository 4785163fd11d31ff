// Methods for the gradient by the kernel, x^T dz for every tap: from all of dz, sequence by sequence or several
// sequences at once, or from the nonzero elements of dz; and NoWeights, which computes none.
//
// Every thread of a subteam makes such an object for one shard of the batch. It calls start(); then, for every run of
// sequences, bring_near(b, buffer) with the run's first sequence b, waits for the subteam, and calls
// add(run, buffer, dz); and at last finish(). `buffer` is 0 and 1 in turn.
#pragma once

#include "conv1d_layout.h"
#include "conv1d_nonzeros.h"

namespace fastseq {

// The thread's share of work that the subteam divides.
struct SubteamShare {
  int64_t threads;
  int64_t rank;
  Range of(int64_t count) const { return split(count, threads, rank); }
};

struct NoWeights {
  void start() const {}
  void bring_near(int64_t, int64_t) const {}
  template <class T>
  void add(Range, int64_t, const T*) const {}
  void finish() const {}
};

// The common part of the methods that read x in place, sequence by sequence. Threads divide the rows of the kernel. The
// steps of a tap are those at which it is within x.
template <class T>
class InPlaceTaps {
 public:
  void bring_near(int64_t, int64_t) const {}

 protected:
  // Some channels of tap k, at the steps at which it is within x.
  struct Tap {
    int64_t k;
    int64_t g;
    Range c;      // channels of the group
    const T* x;   // the group's first channel at the first step
    const T* dz;  // the group's first filter at the first step
    int64_t steps;
  };

  InPlaceTaps(const Conv1dOperands<T>& operands, const SubteamShare& share)
      : o_(operands),
        tap_channels_(conv1d_tap_channels(o_.plan)),
        rows_(share.of(o_.width * o_.groups * o_.group_channels)) {}

  // Calls body(k, group, channels of the group) for the thread's rows of the kernel. Taps that are contiguous in memory
  // are treated as one.
  template <class Body>
  void for_rows(const Body& body) const {
    for (int64_t row = rows_.begin; row < rows_.end;) {
      const int64_t c = row % tap_channels_;
      const int64_t end = std::min(tap_channels_, c + rows_.end - row);
      body(row / tap_channels_ / o_.groups, row / tap_channels_ % o_.groups, Range{c, end});
      row += end - c;
    }
  }

  // Calls body(Tap) for every sequence of a run. `dz` is that of the first sequence.
  template <class Body>
  void for_taps(Range run, const T* dz, const Body& body) const {
    const int64_t strides = o_.plan.options.strides;
    for (int64_t b = run.begin; b < run.end; ++b, dz += o_.convolved * o_.filters) {
      const T* x = o_.x + b * o_.timesteps * o_.channels;
      fetch(x, o_.timesteps * o_.channels);
      for_rows([&](int64_t k, int64_t g, Range c) {
        const int64_t offset = k * o_.plan.options.dilation_rate - o_.plan.dims.padding_before;
        const int64_t begin = offset < 0 ? (-offset + strides - 1) / strides : 0;
        const int64_t last = o_.timesteps - 1 - offset;
        const int64_t end = last < 0 ? 0 : std::min(o_.convolved, last / strides + 1);
        if (begin >= end) return;
        body(Tap{k, g, c, x + (begin * strides + offset) * o_.channels + g * o_.group_channels,
                 dz + begin * o_.filters + g * o_.group_filters, end - begin});
      });
    }
  }

  // The row of the kernel, within the group, for a channel of a tap.
  int64_t kernel_row(int64_t k, int64_t channel) const { return k * tap_channels_ + channel; }

  const Conv1dOperands<T>& o_;

 private:
  // Prefetches a sequence. The sums read it with strides that are too wide for the CPU's own prefetching. With 500
  // channels this saves a tenth of the whole backward pass.
  static void fetch(const T* sequence, int64_t count) {
    constexpr int64_t kNear = (int64_t{1} << 20) / sizeof(T);
    constexpr int64_t kLine = 64 / sizeof(T);
    if (count > kNear) return;
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(sequence + i);
  }

  const int64_t tap_channels_;
  const Range rows_;
};

// Products of columns of x with dz: x^T dz.
template <class T>
class DenseWeights : public InPlaceTaps<T> {
 public:
  // Scratch of one thread, for at most M rows.
  struct ThreadScratch {
    const T** operands;  // (M)
    T** results;         // (M)

    ThreadScratch(const Conv1dPlan& plan, Scratch& scratch) {
      const int64_t rows = conv1d_weights_way(plan) == WeightsWay::kDense ? conv1d_tap_channels(plan) : 0;
      operands = scratch.take<const T*>(rows);
      results = scratch.take<T*>(rows);
    }
  };

  DenseWeights(const Conv1dOperands<T>& operands, const SubteamShare& share, const ThreadScratch& local, T* dkernel)
      : InPlaceTaps<T>(operands, share), local_(local), dkernel_(dkernel) {}

  void start() const {
    this->for_rows([&](int64_t k, int64_t g, Range c) {
      for (int64_t channel = c.begin; channel < c.end; ++channel)
        std::fill_n(result(k, g, channel), o_.group_filters, T(0));
    });
  }
  void add(Range run, int64_t, const T* dz) const {
    this->for_taps(run, dz, [&](const auto& tap) {
      for (int64_t channel = tap.c.begin; channel < tap.c.end; ++channel) {
        local_.operands[channel - tap.c.begin] = tap.x + channel;
        local_.results[channel - tap.c.begin] = result(tap.k, tap.g, channel);
      }
      o_.kernels.product({tap.c.end - tap.c.begin,
                          {tap.steps, o_.group_filters, 0},
                          local_.operands,
                          o_.plan.options.strides * o_.channels,
                          tap.dz,
                          o_.filters,
                          local_.results,
                          local_.results});
    });
  }
  void finish() const {}

 private:
  using InPlaceTaps<T>::o_;

  T* result(int64_t k, int64_t g, int64_t channel) const {
    return dkernel_ + this->kernel_row(k, channel) * o_.filters + g * o_.group_filters;
  }

  const ThreadScratch local_;
  T* const dkernel_;
};

// Products of columns of dz with x: dz^T x. For filters that are too few to fill the vectors of a product. The sums are
// the transpose of those of DenseWeights, with the same bits.
template <class T>
class TransposedWeights : public InPlaceTaps<T> {
 public:
  // Scratch of a subteam.
  struct SubteamScratch {
    T* sums;  // (F, K C/G)

    SubteamScratch(const Conv1dPlan& plan, Scratch& scratch) {
      const bool used = conv1d_weights_way(plan) == WeightsWay::kTransposed;
      sums = scratch.take<T>(used ? plan.dims.filters * conv1d_patch_elements(plan) : 0);
    }
  };

  // Scratch of one thread.
  struct ThreadScratch {
    const T** operands;  // (F/G)
    T** results;         // (F/G)
    T* last_columns;     // (T', kLanes)

    ThreadScratch(const Conv1dPlan& plan, Scratch& scratch) {
      const bool used = conv1d_weights_way(plan) == WeightsWay::kTransposed;
      const int64_t rows = used ? plan.dims.filters / plan.options.groups : 0;
      operands = scratch.take<const T*>(rows);
      results = scratch.take<T*>(rows);
      last_columns = scratch.take<T>(used ? conv1d_scratch_timesteps(plan) * kLanes : 0);
    }
  };

  TransposedWeights(const Conv1dOperands<T>& operands, const SubteamShare& share, const ThreadScratch& local,
                    const SubteamScratch& subteam, T* dkernel)
      : InPlaceTaps<T>(operands, share), local_(local), subteam_(subteam), dkernel_(dkernel) {}

  void start() const {
    this->for_rows([&](int64_t k, int64_t g, Range c) {
      for (int64_t f = 0; f < o_.group_filters; ++f) std::fill_n(result(k, g, f, c.begin), c.end - c.begin, T(0));
    });
  }

  void add(Range run, int64_t, const T* dz) const {
    const int64_t stride = o_.plan.options.strides * o_.channels;
    const T* const end_of_x = o_.x + o_.batch * o_.timesteps * o_.channels;
    this->for_taps(run, dz, [&](const auto& tap) {
      const int64_t columns = tap.c.end - tap.c.begin;
      const int64_t beyond = columns % kLanes;
      const T* x = tap.x + tap.c.begin;
      // A product reads whole vectors of x. Vectors that would reach over the end of x are read from a copy.
      const bool fits = beyond == 0 || end_of_x - (x + (tap.steps - 1) * stride) >= columns - beyond + kLanes;
      const int64_t in_place = fits ? columns : columns - beyond;
      multiply(tap, tap.c.begin, in_place, x, stride);
      if (fits) return;
      for (int64_t step = 0; step < tap.steps; ++step)
        std::copy_n(x + in_place + step * stride, beyond, local_.last_columns + step * kLanes);
      multiply(tap, tap.c.begin + in_place, beyond, local_.last_columns, kLanes);
    });
  }

  void finish() const {
    this->for_rows([&](int64_t k, int64_t g, Range c) {
      for (int64_t channel = c.begin; channel < c.end; ++channel) {
        T* row = dkernel_ + this->kernel_row(k, channel) * o_.filters + g * o_.group_filters;
        for (int64_t f = 0; f < o_.group_filters; ++f) row[f] = *result(k, g, f, channel);
      }
    });
  }

 private:
  using InPlaceTaps<T>::o_;
  using typename InPlaceTaps<T>::Tap;

  T* result(int64_t k, int64_t g, int64_t f, int64_t channel) const {
    const int64_t row = g * o_.group_filters + f;
    return subteam_.sums + row * o_.width * o_.group_channels + this->kernel_row(k, channel);
  }

  // Adds to the sums of `columns` channels from `first` on. The rows of x are `stride` elements apart.
  void multiply(const Tap& tap, int64_t first, int64_t columns, const T* x, int64_t stride) const {
    if (columns == 0) return;
    for (int64_t f = 0; f < o_.group_filters; ++f) {
      local_.operands[f] = tap.dz + f;
      local_.results[f] = result(tap.k, tap.g, f, first);
    }
    o_.kernels.product({o_.group_filters,
                        {tap.steps, columns, 0},
                        local_.operands,
                        o_.filters,
                        x,
                        stride,
                        local_.results,
                        local_.results});
  }

  const ThreadScratch local_;
  const SubteamScratch subteam_;
  T* const dkernel_;
};

// Products of packed patches of x with dz. For runs of several short sequences: the steps of all of them are one sum,
// so that the sums are read and written once for many steps. Threads divide the rows of the kernel.
template <class T>
class GatheredWeights {
 public:
  // The number of the kernel's rows in a product. With kDepthBlock steps they fit the second-level cache.
  static constexpr int64_t kBlockRows = 192;

  // Scratch of one thread.
  struct ThreadScratch {
    T* patch;               // (kBlockRows)
    T* columns;             // (kBlockRows, kDepthBlock), packed by tiles
    const T** column_rows;  // (kBlockRows)
    T** results;            // (kBlockRows)

    ThreadScratch(const Conv1dPlan& plan, Scratch& scratch) {
      const bool used = conv1d_weights_way(plan) == WeightsWay::kGathered;
      const int64_t rows = used ? kBlockRows : 0;
      const int64_t tile = kernels_of<T>(*plan.isa).tile_rows;
      patch = scratch.take<T>(rows);
      columns = scratch.take<T>(used ? (rows / tile + 1) * column_tile_stride<T>(tile) : 0);
      column_rows = scratch.take<const T*>(rows);
      results = scratch.take<T*>(rows);
    }
  };

  GatheredWeights(const Conv1dOperands<T>& operands, const SubteamShare& share, const ThreadScratch& local, T* dkernel)
      : o_(operands),
        group_rows_(o_.width * o_.group_channels),
        rows_(share.of(o_.groups * group_rows_)),
        local_(local),
        dkernel_(dkernel) {
    const int64_t tile = o_.kernels.tile_rows;
    for (int64_t i = 0; i < kBlockRows; ++i)
      local_.column_rows[i] = local_.columns + i / tile * column_tile_stride<T>(tile) + i % tile;
  }

  void start() const {
    for_blocks([&](int64_t g, Range rows) {
      for (int64_t row = rows.begin; row < rows.end; ++row) std::fill_n(result(g, row), o_.group_filters, T(0));
    });
  }
  void bring_near(int64_t, int64_t) const {}
  void add(Range run, int64_t, const T* dz) const {
    for_blocks([&](int64_t g, Range rows) { add_block(run, g, rows, dz); });
  }
  void finish() const {}

 private:
  T* result(int64_t g, int64_t row) const { return dkernel_ + row * o_.filters + g * o_.group_filters; }

  // Calls body(group, rows of the kernel) for the thread's rows, in blocks.
  template <class Body>
  void for_blocks(const Body& body) const {
    for (int64_t row = rows_.begin; row < rows_.end;) {
      const int64_t first = row % group_rows_;
      const int64_t count = std::min({kBlockRows, group_rows_ - first, rows_.end - row});
      body(row / group_rows_, Range{first, first + count});
      row += count;
    }
  }

  void add_block(Range run, int64_t g, Range rows, const T* dz) const {
    const int64_t count = rows.end - rows.begin;
    for (int64_t i = 0; i < count; ++i) local_.results[i] = result(g, rows.begin + i);
    const DepthBlocks blocks((run.end - run.begin) * o_.convolved);
    int64_t first = 0;
    for (int64_t block = 0; block < blocks.count; ++block) {
      const int64_t size = blocks.size(block);
      for (int64_t k = 0; k < size; ++k)
        o_.kernels.pack_column(k, count, patch(run.begin, first + k, g, rows), local_.columns);
      o_.kernels.product({count,
                          {size, o_.group_filters, 0},
                          local_.column_rows,
                          o_.kernels.tile_rows,
                          dz + first * o_.filters + g * o_.group_filters,
                          o_.filters,
                          local_.results,
                          local_.results});
      first += size;
    }
  }

  // Elements `rows` of the patch of a step, counted from the first step of sequence b.
  const T* patch(int64_t b, int64_t step, int64_t g, Range rows) const {
    const int64_t t = step % o_.convolved * o_.plan.options.strides - o_.plan.dims.padding_before;
    return o_.patches_of(b + step / o_.convolved, g).part_at(t, rows, local_.patch);
  }

  const Conv1dOperands<T>& o_;
  const int64_t group_rows_;
  const Range rows_;
  const ThreadScratch local_;
  T* const dkernel_;
};

// The channels of a group are divided into panels. A panel is a packed matrix of some columns of x, padded with zeros
// after the last channel. In a panel the taps of a step are contiguous and aligned. The width of a panel is chosen so
// that its sums for one filter fit the registers of AVX-512, which needs some ten sums at a time to keep its
// multiply-adds busy, and so that its rows for a block of the sum fit the first-level cache.
class ChannelPanels {
 public:
  explicit ChannelPanels(const Conv1dPlan& plan) : vectors_(whole_vectors(plan.dims.channels / plan.options.groups)) {
    constexpr int64_t kRegisters = 16;
    constexpr int64_t kMostVectors = 3;
    const int64_t most = std::clamp<int64_t>(kRegisters / plan.dims.width, 1, kMostVectors);
    count_ = (vectors_ + most - 1) / most;
  }
  int64_t count() const { return count_; }
  int64_t channels() const { return vectors_ * kLanes; }  // in all panels
  Range channels_of(int64_t panel) const {
    const Range of = split(vectors_, count_, panel);
    return {of.begin * kLanes, of.end * kLanes};
  }

 private:
  int64_t vectors_;
  int64_t count_;
};

// Sums of the patches at the nonzero elements of dz, weighted by them, for runs of one sequence. The order of the sums,
// and so the bits, are those of DenseWeights, except where x is not finite: products of x with a zero of dz are left
// out. Threads divide the filters.
template <class T>
class SparseWeights {
 public:
  // Scratch of a subteam.
  struct SubteamScratch {
    T* packed[2];  // x of a sequence: (G, panels, T, channels of the panel)
    T* sums;       // (panels, F, K, channels of the panel)

    SubteamScratch(const Conv1dPlan& plan, Scratch& scratch) {
      const int64_t channels = conv1d_weights_way(plan) == WeightsWay::kSparse ? ChannelPanels(plan).channels() : 0;
      const int64_t steps = plan.dims.batch > 0 ? plan.dims.timesteps : 0;
      for (T*& buffer : packed) buffer = scratch.take<T>(plan.options.groups * steps * channels);
      sums = scratch.take<T>(plan.dims.filters * plan.dims.width * channels);
    }
  };

  SparseWeights(const Conv1dOperands<T>& operands, const SubteamShare& share, const Nonzeros<T>& nonzeros,
                const SubteamScratch& subteam, const void* argmax, T* dkernel)
      : o_(operands),
        panels_(o_.plan),
        steps_(share.of(o_.timesteps)),
        filters_(share.of(o_.filters)),
        nonzeros_(nonzeros),
        subteam_(subteam),
        argmax_(argmax),
        dkernel_(dkernel) {}

  void start() const {
    for_sums([&](int64_t, T* sums, int64_t columns, Range) { std::fill_n(sums, o_.width * columns, T(0)); });
  }

  void bring_near(int64_t b, int64_t buffer) const {
    T* to = subteam_.packed[buffer];
    for (int64_t g = 0; g < o_.groups; ++g)
      for (int64_t panel = 0; panel < panels_.count(); ++panel) {
        const Range c = panels_.channels_of(panel);
        const int64_t columns = c.end - c.begin;
        const int64_t within = std::min(o_.group_channels, c.end) - c.begin;
        const T* row = o_.x + (b * o_.timesteps + steps_.begin) * o_.channels + g * o_.group_channels + c.begin;
        for (int64_t step = steps_.begin; step < steps_.end; ++step, row += o_.channels) {
          T* packed = to + step * columns;
          std::copy_n(row, within, packed);
          std::fill(packed + within, packed + columns, T(0));
        }
        to += o_.timesteps * columns;
      }
  }

  void add(Range run, int64_t buffer, const T* dz) const {
    nonzeros_.find(o_, argmax_, run.begin, filters_, dz);
    WeightedRowsArgs<T> args = {};
    for (int64_t f = filters_.begin, end; f < filters_.end; f = end) {
      const int64_t g = f / o_.group_filters;
      end = std::min(filters_.end, (g + 1) * o_.group_filters);
      for (int64_t panel = 0; panel < panels_.count(); ++panel) {
        const Range c = panels_.channels_of(panel);
        args.rows = subteam_.packed[buffer] + (g * panels_.channels() + c.begin) * o_.timesteps;
        args.stride = o_.plan.options.strides * (c.end - c.begin);
        args.columns = o_.width * (c.end - c.begin);
        args.sums = subteam_.sums + c.begin * o_.width * o_.filters + f * args.columns;
        nonzeros_.add(o_.kernels, {f - filters_.begin, end - filters_.begin}, args, args.columns);
      }
    }
  }

  void finish() const {
    for_sums([&](int64_t f, const T* sums, int64_t columns, Range c) {
      for (int64_t k = 0; k < o_.width; ++k)
        for (int64_t channel = c.begin; channel < std::min(o_.group_channels, c.end); ++channel)
          dkernel_[(k * o_.group_channels + channel) * o_.filters + f] = sums[k * columns + channel - c.begin];
    });
  }

 private:
  // Calls body(f, sums, columns, c) for every filter f of the thread and every panel, which has the channels c. The
  // sums have `columns` columns for each tap.
  template <class Body>
  void for_sums(const Body& body) const {
    for (int64_t panel = 0; panel < panels_.count(); ++panel) {
      const Range c = panels_.channels_of(panel);
      const int64_t columns = c.end - c.begin;
      for (int64_t f = filters_.begin; f < filters_.end; ++f)
        body(f, subteam_.sums + (c.begin * o_.filters + f * columns) * o_.width, columns, c);
    }
  }

  const Conv1dOperands<T>& o_;
  const ChannelPanels panels_;
  const Range steps_;
  const Range filters_;
  const Nonzeros<T> nonzeros_;
  const SubteamScratch subteam_;
  const void* const argmax_;
  T* const dkernel_;
};

}  // namespace fastseq

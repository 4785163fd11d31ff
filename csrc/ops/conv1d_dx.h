// Methods for the gradient dx by the input, other than phases (conv1d_layout.h): products of dz with the kernel's taps,
// whose results are added to the taps' rows of dx.
#pragma once

#include "conv1d_layout.h"
#include "conv1d_weights.h"

namespace fastseq {

// Scratch for a product: its results (rows, columns), and pointers to its operands and results (rows).
template <class T>
struct ProductRows {
  T* products;
  const T** operands;
  T** results;

  ProductRows(int64_t rows, int64_t columns, Scratch& scratch)
      : products(scratch.take<T>(rows * columns)),
        operands(scratch.take<const T*>(rows)),
        results(scratch.take<T*>(rows)) {}
};

// For few rows and a large kernel: the rows of the kernel, read once and not packed, times dz transposed. Threads
// divide the channels. Phases would transpose and pack the kernel first, which costs more than so few rows can repay.
template <class T>
class FewRowsDx {
 public:
  static constexpr int64_t kBlockRows = 48;  // rows of the kernel in a product

  // Scratch of a subteam.
  struct SubteamScratch {
    T* packed;  // dz of a run, transposed: (F, R)

    SubteamScratch(const Conv1dPlan& plan, Scratch& scratch) {
      const auto shape = shape_of(plan, most_rows(plan));
      packed =
          scratch.take<T>(conv1d_dx_way(plan) == DxWay::kFewRows ? kernels_of<T>(*plan.isa).packed_size(shape) : 0);
    }
  };

  // Scratch of one thread.
  struct ThreadScratch : ProductRows<T> {
    ThreadScratch(const Conv1dPlan& plan, Scratch& scratch)  // products: (kBlockRows, R)
        : ProductRows<T>(conv1d_dx_way(plan) == DxWay::kFewRows ? kBlockRows : 0, most_rows(plan), scratch) {}
  };

  FewRowsDx(const Conv1dOperands<T>& operands, const SubteamShare& share, const ThreadScratch& local,
            const SubteamScratch& subteam, T* dx)
      : o_(operands), share_(share), channels_(share.of(o_.channels)), local_(local), subteam_(subteam), dx_(dx) {}

  // Packs the thread's share of dz. The subteam must wait between pack() and find().
  void pack(Range run, const T* dz) const {
    const int64_t rows = (run.end - run.begin) * o_.convolved;
    const Range columns = share_.of(rows);
    if (columns.begin == columns.end) return;
    const PackedShape shape = shape_of(o_.plan, rows);
    o_.kernels.pack_transposed(columns.begin, columns.end, 0, shape.depth, shape, dz, o_.filters, subteam_.packed);
  }

  // Computes the thread's channels of dx for a run.
  void find(Range run) const {
    for (int64_t row = run.begin * o_.timesteps; row < run.end * o_.timesteps; ++row)
      std::fill(dx_ + row * o_.channels + channels_.begin, dx_ + row * o_.channels + channels_.end, T(0));
    for (int64_t c = channels_.begin; c < channels_.end; c += kBlockRows)
      for (int64_t k = 0; k < o_.width; ++k) add_tap(run, k, {c, std::min(c + kBlockRows, channels_.end)});
  }

 private:
  static int64_t most_rows(const Conv1dPlan& plan) { return conv1d_sequences(plan) * conv1d_scratch_timesteps(plan); }
  static PackedShape shape_of(const Conv1dPlan& plan, int64_t rows) {
    return {plan.dims.filters, rows, tail_columns(plan.dims.filters, rows, rows)};
  }

  void add_tap(Range run, int64_t k, Range c) const {
    const int64_t rows = (run.end - run.begin) * o_.convolved;
    const int64_t count = c.end - c.begin;
    for (int64_t i = 0; i < count; ++i) {
      local_.operands[i] = o_.kernel_row(k, c.begin + i);
      local_.results[i] = local_.products + i * rows;
    }
    o_.kernels.product(
        {count, shape_of(o_.plan, rows), local_.operands, 1, subteam_.packed, 0, nullptr, local_.results});
    const int64_t offset = k * o_.plan.options.dilation_rate - o_.plan.dims.padding_before;
    for_rows({0, rows}, o_.convolved, [&](int64_t row, int64_t sequence, int64_t step) {
      const int64_t t = step * o_.plan.options.strides + offset;
      if (t < 0 || t >= o_.timesteps) return;
      T* to = dx_ + ((run.begin + sequence) * o_.timesteps + t) * o_.channels + c.begin;
      for (int64_t i = 0; i < count; ++i) to[i] += local_.products[i * rows + row];
    });
  }

  const Conv1dOperands<T>& o_;
  const SubteamShare share_;
  const Range channels_;
  const ThreadScratch local_;
  const SubteamScratch subteam_;
  T* const dx_;
};

// For few channels: dz times the kernel transposed, as one product for all taps, so that their channels fill vectors.
// Threads divide the steps. A row of dz whose taps belong to two threads is multiplied by both.
template <class T>
class AllTapsDx {
 public:
  static constexpr int64_t kBlockRows = 48;  // rows of dz in a product

  // Scratch of the whole team.
  struct Packed {
    PackedShape shape;  // the kernel, transposed: (F, K C)
    T* data;

    Packed(const Conv1dPlan& plan, Scratch& scratch) : shape{plan.dims.filters, conv1d_patch_elements(plan), 0} {
      shape.tail = tail_columns(shape.depth, shape.columns, shape.columns);
      const bool used = conv1d_dx_way(plan) == DxWay::kAllTaps;
      data = scratch.take<T>(used ? kernels_of<T>(*plan.isa).packed_size(shape) : 0);
    }
  };

  // Scratch of one thread.
  struct ThreadScratch : ProductRows<T> {
    ThreadScratch(const Conv1dPlan& plan, Scratch& scratch)  // products: (kBlockRows, K C)
        : ProductRows<T>(conv1d_dx_way(plan) == DxWay::kAllTaps ? kBlockRows : 0, conv1d_patch_elements(plan),
                         scratch) {}
  };

  AllTapsDx(const Conv1dOperands<T>& operands, const Packed& packed, const ThreadScratch& local, T* dx)
      : o_(operands), packed_(packed), local_(local), dx_(dx) {}

  // Packs these columns. The whole team divides them.
  static void pack(const Conv1dOperands<T>& o, const Packed& packed, Range columns) {
    o.kernels.pack_transposed(columns.begin, columns.end, 0, packed.shape.depth, packed.shape, o.kernel, o.filters,
                              packed.data);
  }

  // Computes dx for the thread's share of the steps of a run. `dz` is that of the run's first sequence.
  void find(Range run, const SubteamShare& share, const T* dz) const {
    const Range steps = share.of((run.end - run.begin) * o_.timesteps);
    for (int64_t b = run.begin; b < run.end; ++b, dz += o_.convolved * o_.filters) {
      const int64_t first = (b - run.begin) * o_.timesteps;
      const Range t{std::max<int64_t>(0, steps.begin - first), std::min(o_.timesteps, steps.end - first)};
      if (t.begin < t.end) find_steps(t, dz, dx_ + b * o_.timesteps * o_.channels);
    }
  }

 private:
  // Computes steps [t.begin, t.end) of one sequence.
  void find_steps(Range t, const T* dz, T* dx) const {
    const int64_t strides = o_.plan.options.strides;
    const int64_t padding = o_.plan.dims.padding_before;
    std::fill(dx + t.begin * o_.channels, dx + t.end * o_.channels, T(0));
    // Rows of dz with a tap at one of the steps.
    const int64_t begin = std::max<int64_t>(0, t.begin + padding - o_.width + strides) / strides;
    const int64_t end = std::min(o_.convolved, (t.end - 1 + padding) / strides + 1);
    for (int64_t row = begin; row < end; row += kBlockRows) {
      const int64_t count = std::min(kBlockRows, end - row);
      for (int64_t m = 0; m < count; ++m) {
        local_.operands[m] = dz + (row + m) * o_.filters;
        local_.results[m] = local_.products + m * packed_.shape.columns;
      }
      o_.kernels.product({count, packed_.shape, local_.operands, 1, packed_.data, 0, nullptr, local_.results});
      for (int64_t m = 0; m < count; ++m) {
        const int64_t first = (row + m) * strides - padding;  // the step of the first tap
        const Range taps{std::max(first, t.begin), std::min(first + o_.width, t.end)};
        add_to((taps.end - taps.begin) * o_.channels, local_.results[m] + (taps.begin - first) * o_.channels,
               dx + taps.begin * o_.channels);
      }
    }
  }

  const Conv1dOperands<T>& o_;
  const Packed packed_;
  const ThreadScratch local_;
  T* const dx_;
};

}  // namespace fastseq

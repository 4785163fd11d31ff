// The nonzero elements of dz where the convolution is pooled. There are few: a window has at most one for each filter.
#pragma once

#include "conv1d_layout.h"

namespace fastseq {

// The nonzero elements of dz of one sequence, for some filters: filter by filter, and in the order of the steps.
template <class T>
class Nonzeros {
 public:
  Nonzeros(const Conv1dPlan& plan, Scratch& scratch) : blocks_(plan.dims.convolved) {
    const int64_t filters = conv1d_weights_way(plan) == WeightsWay::kSparse ? plan.dims.filters : 0;
    most_ = plan.dims.outputs;
    counts_ = scratch.take<int64_t>(filters);
    ends_ = scratch.take<int64_t>(filters * blocks_.count);
    found_ = scratch.take<WeightedRow<T>>(filters * most_);
  }

  // Finds the nonzero elements of filters [f.begin, f.end) in sequence b. `argmax` has the positions of the maxima.
  void find(const Conv1dOperands<T>& operands, const void* argmax, int64_t b, Range f, const T* dz) const {
    if (operands.index_bytes == 1)
      find(operands, static_cast<const uint8_t*>(argmax), b, f, dz);
    else if (operands.index_bytes == 2)
      find(operands, static_cast<const uint16_t*>(argmax), b, f, dz);
    else
      find(operands, static_cast<const int32_t*>(argmax), b, f, dz);
  }

  // Adds the rows of the elements' steps, weighted by the elements, to the sums of the filters in `filters`, which are
  // counted from the first one of find(). `args` has the rows and the sums of the first filter; the sums of the next
  // ones follow, `sums_ld` elements apart.
  void add(const KernelTable<T>& kernels, Range filters, const WeightedRowsArgs<T>& args, int64_t sums_ld) const {
    // Block by block, so that a block's rows stay in the cache for all filters.
    for (int64_t block = 0; block < blocks_.count; ++block) {
      WeightedRowsArgs<T> local = args;
      for (int64_t i = filters.begin; i < filters.end; ++i, local.sums += sums_ld) {
        const int64_t* ends = ends_ + i * blocks_.count;
        const int64_t begin = block > 0 ? ends[block - 1] : 0;
        local.of = found_ + i * most_ + begin;
        local.count = ends[block] - begin;
        if (local.count > 0) kernels.add_weighted_rows(local);
      }
    }
  }

 private:
  // A position that is not in the window is ignored.
  template <class Index>
  void find(const Conv1dOperands<T>& operands, const Index* argmax, int64_t b, Range f, const T* dz) const {
    const int64_t count = f.end - f.begin;
    std::fill_n(counts_, count, 0);
    for (int64_t p = 0; p < operands.outputs; ++p) {
      const int64_t at = (b * operands.outputs + p) * operands.filters + f.begin;
      const int64_t begin = operands.windows.whole(p).begin;
      const Range inside = operands.windows.inside(p);
      WeightedRow<T>* found = found_;
      for (int64_t i = 0; i < count; ++i, found += most_) {
        const int64_t step = begin + static_cast<int64_t>(argmax[at + i]);
        const bool within = (step >= inside.begin) & (step < inside.end);
        const T element = dz[(within ? step : inside.begin) * operands.filters + f.begin + i];
        found[counts_[i]] = {static_cast<int32_t>(step), element};
        // No branch, since it could not be predicted.
        counts_[i] += static_cast<int64_t>(within) & (element != 0);
      }
    }
    for (int64_t i = 0; i < count; ++i) find_ends(i);
  }

  // For filter i, finds the ends of the blocks of the sum over the steps, as indices of the elements found.
  void find_ends(int64_t i) const {
    const WeightedRow<T>* found = found_ + i * most_;
    int64_t end = 0;
    int64_t next = 0;
    for (int64_t block = 0; block < blocks_.count; ++block) {
      end += blocks_.size(block);
      while (next < counts_[i] && found[next].row < end) ++next;
      ends_[i * blocks_.count + block] = next;
    }
  }

  DepthBlocks blocks_;     // blocks of the sum over the steps
  int64_t most_;           // the largest number of elements for a filter
  int64_t* counts_;        // (F)
  int64_t* ends_;          // (F, blocks)
  WeightedRow<T>* found_;  // (F, most)
};

}  // namespace fastseq

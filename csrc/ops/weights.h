// Weight matrices packed for the product kernel, and dropout factors.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/cell.h"
#include "common/scratch.h"
#include "kernels/kernels.h"
#include "runtime/team.h"
#include "vectors.h"

namespace fastseq {

// A matrix (rows, G * units), of which every group of gates is packed separately. Forward multiplies by the matrix: the
// depth is `rows`, and of every gate the columns in `part` are packed (the units of one thread). Backward multiplies by
// the transpose: the depth is the number of the group's columns, and the rows in `part` are packed.
template <class T>
class PackedWeights {
 public:
  PackedWeights(const KernelTable<T>& kernels, int64_t rows, int64_t units, int64_t gates, const GateGroups& groups,
                bool transposed, Range part, int sharers, Scratch& scratch)
      : kernels_(kernels),
        groups_(groups),
        rows_(rows),
        units_(units),
        gates_(gates),
        transposed_(transposed),
        part_(part),
        sharers_(sharers) {
    int64_t size = 0;
    for (const GateGroup& group : groups_) size += kernels.packed_size(shape(group));
    data_ = scratch.take<T>(size);
    rows_of_part_ = scratch.take<T>(transposed || width() == units ? 0 : sharers * gates * width());
  }

  const GateGroups& groups() const { return groups_; }
  PackedShape shape(const GateGroup& group) const {
    const int64_t gate_columns = group.count * units_;
    const int64_t depth = transposed_ ? gate_columns : rows_;
    // The tail follows from the whole matrix, not from this part; in forward it is in the last gate.
    const int64_t last = transposed_ ? rows_ : units_;
    const int64_t tail = tail_columns(depth, transposed_ ? rows_ : gate_columns, last);
    const int64_t ours = part_.end - std::clamp(last - tail, part_.begin, part_.end);
    return {depth, transposed_ ? width() : group.count * width(), ours};
  }
  int64_t width() const { return part_.end - part_.begin; }
  const T* data(const GateGroup& group) const { return data_ + offset(group); }

  // Packs share `index` of the part; the threads that use the part divide the packing.
  void pack(const T* matrix, int index) const {
    const int64_t ld = gates_ * units_;
    for (const GateGroup& group : groups_) {
      T* to = data_ + offset(group);
      const int64_t first = group.first * units_;
      if (transposed_) {
        const Range share = fastseq::split(width(), sharers_, index);
        if (share.begin == share.end) continue;  // a matrix without rows may have a null pointer
        kernels_.pack_transposed(share.begin, share.end, 0, shape(group).depth, shape(group),
                                 matrix + part_.begin * ld + first, ld, to);
        continue;
      }
      const Range share = fastseq::split(rows_, sharers_, index);
      for (int64_t k = share.begin; k < share.end; ++k) {
        const T* row = matrix + k * ld + first;
        if (width() < units_) {
          T* gathered = rows_of_part_ + index * gates_ * width();
          gather_units(row, group.count, gathered);
          row = gathered;
        }
        kernels_.pack_row(k, shape(group), row, to);
      }
    }
  }

  // Copies the part's units of each of `count` gates.
  void gather_units(const T* gates, int64_t count, T* to) const {
    for (int64_t g = 0; g < count; ++g) to = std::copy_n(gates + g * units_ + part_.begin, width(), to);
  }

 private:
  int64_t offset(const GateGroup& wanted) const {
    int64_t at = 0;
    for (const GateGroup& group : groups_) {
      if (group.first == wanted.first) break;
      at += kernels_.packed_size(shape(group));
    }
    return at;
  }

  const KernelTable<T>& kernels_;
  GateGroups groups_;
  int64_t rows_;
  int64_t units_;
  int64_t gates_;
  bool transposed_;
  Range part_;
  int sharers_;
  T* data_;
  T* rows_of_part_;
};

// Dropout factors of shape (1 or G, B, width); there are none if data is null.
template <class T>
struct DropoutFactors {
  const T* data;
  int count;  // the first dimension
  int64_t batch;
  int64_t width;

  // The factors of row b for a group of gates; null without. A single set of factors is used for all gates.
  const T* row(const GateGroup& group, int64_t b) const {
    return data ? data + ((count == 1 ? 0 : group.first) * batch + b) * width : nullptr;
  }
};

}  // namespace fastseq

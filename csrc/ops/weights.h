// A weight matrix packed for the product kernel, split by gates where each gate has operands of its own.
//
// Dropout masks come in one group (all gates see the same masked operand) or four (each gate its own). `groups` is 1
// or 4; group g covers columns [g * gate_columns, (g + 1) * gate_columns) of the matrix, gate_columns = 4U / groups.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "parallel.h"
#include "scratch.h"

namespace fastseq {

template <class T>
class PackedWeights {
 public:
  // matrix (rows, 4U). Not transposed: depth rows, columns 4U / groups. Transposed: depth 4U / groups, columns rows.
  PackedWeights(const KernelTable<T>& kernels, int64_t rows, int64_t all_columns, int dropout_groups, bool transposed,
                Scratch& scratch)
      : kernels_(kernels),
        rows_(rows),
        all_columns_(all_columns),
        groups_(dropout_groups == 4 ? 4 : 1),
        transposed_(transposed),
        data_(scratch.take<T>(groups_ * kernels.packed_size(depth(), columns()))) {}

  int groups() const { return groups_; }
  int64_t gate_columns() const { return all_columns_ / groups_; }
  int64_t depth() const { return transposed_ ? gate_columns() : rows_; }
  int64_t columns() const { return transposed_ ? rows_ : gate_columns(); }
  T* group(int g) const { return data_ + g * kernels_.packed_size(depth(), columns()); }

  // Each thread its share of the matrix's rows; in a phase of its own before it is used.
  void pack(const Team& team, const T* matrix) {
    const Range share = team.share(rows_);
    for (int g = 0; g < groups_; ++g) {
      T* to = group(g);
      const T* from = matrix + g * gate_columns();
      if (transposed_) {
        kernels_.pack_transposed(share.begin, share.end, depth(), columns(), from, all_columns_, to);
      } else {
        for (int64_t k = share.begin; k < share.end; ++k)
          kernels_.pack_row(k, depth(), columns(), from + k * all_columns_, to);
      }
    }
  }

 private:
  const KernelTable<T>& kernels_;
  int64_t rows_;
  int64_t all_columns_;
  int groups_;
  bool transposed_;
  T* data_;
};

// Dropout factors of shape (groups, B, width); none when data is null.
template <class T>
struct DropoutFactors {
  const T* data;
  int groups;
  int64_t batch;
  int64_t width;

  // One group of factors serves all gates.
  const T* row(int gate_group, int64_t b) const {
    return data ? data + ((groups == 1 ? 0 : gate_group) * batch + b) * width : nullptr;
  }
};

template <class T>
inline void multiply(int64_t n, const T* a, const T* b, T* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

template <class T>
inline void add_to(int64_t n, const T* a, T* out) {
  for (int64_t i = 0; i < n; ++i) out[i] += a[i];
}

}  // namespace fastseq

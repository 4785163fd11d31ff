// The unmasked steps of every batch row, in the order in which they are taken.
//
// Rows are independent of each other. So each row is treated as a shorter sequence of its unmasked steps: outside of
// this file a mask of any pattern costs nothing, and masked steps are no work. Step j of row b has the timestep
// time(b, j), j < count(b). The rows are ordered by falling count, so that the rows that have a step j come first in
// every thread's list.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/scratch.h"
#include "runtime/range.h"

namespace fastseq {

class Steps {
 public:
  Steps(int64_t batch, int64_t timesteps, bool go_backwards, bool masked, Scratch& scratch)
      : batch_(batch), timesteps_(timesteps), go_backwards_(go_backwards), masked_(masked) {
    if (!masked) return;
    times_ = scratch.take<int64_t>(batch * timesteps);
    counts_ = scratch.take<int64_t>(batch);
    order_ = scratch.take<int64_t>(batch);
  }

  // Lists the steps of these rows. Threads divide the rows, before any other function is called.
  void list(const uint8_t* mask, Range rows) const {
    if (!masked_) return;
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      int64_t count = 0;
      for (int64_t s = 0; s < timesteps_; ++s) {
        const int64_t t = flip(s);
        // Written also where masked, and overwritten then: no branch on the mask.
        times_[b * timesteps_ + count] = t;
        count += mask[b * timesteps_ + t] ? 1 : 0;
      }
      counts_[b] = count;
      order_[b] = b;
    }
  }

  // Orders the rows, once the steps of all are listed. One thread calls this.
  void order() const {
    if (!masked_) return;
    std::sort(order_, order_ + batch_,
              [this](int64_t a, int64_t b) { return counts_[a] != counts_[b] ? counts_[a] > counts_[b] : a < b; });
  }

  int64_t count(int64_t row) const { return masked_ ? counts_[row] : timesteps_; }
  int64_t time(int64_t row, int64_t step) const { return masked_ ? times_[row * timesteps_ + step] : flip(step); }
  // The row of x, as a matrix (B T, D).
  int64_t row_of_x(int64_t row, int64_t step) const { return row * timesteps_ + time(row, step); }
  // The position of the step's output: its position among all steps, including masked ones, in the order in which they
  // are taken.
  int64_t place(int64_t row, int64_t step) const { return flip(time(row, step)); }
  int64_t ordered_row(int64_t index) const { return masked_ ? order_[index] : index; }
  // From a position in the order of all steps to the timestep, and back.
  int64_t flip(int64_t place) const { return go_backwards_ ? timesteps_ - 1 - place : place; }

 private:
  int64_t batch_;
  int64_t timesteps_;
  bool go_backwards_;
  bool masked_;
  int64_t* times_ = nullptr;
  int64_t* counts_ = nullptr;
  int64_t* order_ = nullptr;
};

}  // namespace fastseq

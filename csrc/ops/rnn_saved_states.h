// What backward reads of the states of a recurrent op.
#pragma once

#include "rnn_layout.h"

namespace fastseq {

// Steps are those of a row's unmasked ones; the state before the first is the initial one, or zeros.
template <class T>
class SavedStates {
 public:
  SavedStates(const RnnOperands<T>& operands, const Steps& steps, const T* workspace, const T* zeros)
      : o_(operands), steps_(steps), workspace_(workspace), zeros_(zeros) {}

  // All that forward saved of a step.
  const T* row(int64_t b, int64_t step) const {
    return workspace_ + (b * o_.timesteps + steps_.time(b, step)) * o_.cell.saved * o_.units;
  }
  // h_{t-1}.
  const T* hidden_before(int64_t b, int64_t step) const {
    return step == 0 ? initial(o_.h0, b) : row(b, step - 1) + o_.cell.hidden_at * o_.units;
  }
  // What the elementwise part needs of the step before: c of LSTM, else h.
  const T* previous(int64_t b, int64_t step) const {
    if (!o_.cell.has_c()) return hidden_before(b, step);
    return step == 0 ? initial(o_.c0, b) : row(b, step - 1) + o_.cell.c_at * o_.units;
  }

 private:
  const T* initial(const T* state, int64_t b) const { return state ? state + b * o_.units : zeros_; }

  const RnnOperands<T>& o_;
  const Steps& steps_;
  const T* const workspace_;
  const T* const zeros_;
};

}  // namespace fastseq

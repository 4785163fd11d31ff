// The states of a recurrent op, as forward has saved them for backward.
#pragma once

#include "rnn_layout.h"

namespace fastseq {

// Steps count a row's unmasked timesteps. Before the first step, the state is the initial state, or zero without one.
template <class T>
class SavedStates {
 public:
  SavedStates(const RnnOperands<T>& operands, const Steps& steps, const T* workspace, const T* zeros)
      : o_(operands), steps_(steps), workspace_(workspace), zeros_(zeros) {}

  // The values that forward saved for a step.
  const T* row(int64_t b, int64_t step) const {
    return workspace_ + (b * o_.timesteps + steps_.time(b, step)) * o_.cell.saved * o_.units;
  }
  // h_{t-1}.
  const T* hidden_before(int64_t b, int64_t step) const {
    return step == 0 ? initial(o_.h0, b) : row(b, step - 1) + o_.cell.hidden_at * o_.units;
  }
  // The state before the step that the elementwise part needs: c_{t-1} for LSTM, else h_{t-1}.
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

// What the LSTM's plan and its two drivers share.
#pragma once

#include <cstddef>

#include "fastseq/lstm.h"
#include "scratch.h"

namespace fastseq {

inline int64_t lstm_rows_per_member(const LstmPlan& plan) {
  return (plan.dims.batch + plan.threads - 1) / plan.threads;
}

// One `Member` of scratch for each member of the team, laid out alike.
template <class Member>
class MemberScratch {
 public:
  MemberScratch(const LstmPlan& plan, Scratch& scratch) {
    Scratch measure(nullptr);
    const Member member(plan, measure);
    (void)member;
    bytes_ = static_cast<int64_t>(measure.used());
    base_ = scratch.take<char>(plan.threads * bytes_);
  }
  Member at(const LstmPlan& plan, int rank) const {
    Scratch carve(base_ + rank * bytes_);
    return Member(plan, carve);
  }

 private:
  char* base_;
  int64_t bytes_;
};

size_t lstm_forward_scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs);
size_t lstm_backward_scratch_bytes(const LstmPlan& plan, const LstmInputs& inputs);

}  // namespace fastseq

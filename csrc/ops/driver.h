// The common part of the drivers: the layout of scratch for a plan, and the team that runs the driver.
//
// An op has two functions of its plan: team_shape(plan), the threads that it asks for, and single_threaded(plan), the
// plan of the same call for one thread, which is used if OpenMP gives fewer threads.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/scratch.h"
#include "dtypes.h"
#include "fastseq/array.h"
#include "runtime/team.h"

namespace fastseq {

// Scratch for `count` objects Item(plan, index, scratch), with as much memory for each as the largest one needs.
template <class Plan, class Item>
class Repeated {
 public:
  Repeated(const Plan& plan, int count, Scratch& scratch) : plan_(plan) {
    for (int index = 0; index < count; ++index) {
      Scratch measure(nullptr);
      (void)Item(plan, index, measure);
      bytes_ = std::max(bytes_, static_cast<int64_t>(measure.used()));
    }
    base_ = scratch.take<char>(count * bytes_);
  }
  Item at(int index) const {
    Scratch carve(base_ + index * bytes_);
    return Item(plan_, index, carve);
  }

 private:
  const Plan& plan_;
  char* base_;
  int64_t bytes_ = 0;
};

// Layout(plan, scratch, more...) in the memory that the caller has provided.
template <class Layout>
struct Carved : Layout {
  template <class Plan, class... More>
  Carved(const Plan& plan, void* memory, const More&... more) : Carved(plan, Scratch(memory), more...) {}

 private:
  template <class Plan, class... More>
  Carved(const Plan& plan, Scratch&& scratch, const More&... more) : Layout(plan, scratch, more...) {}
};

// The size of Layout<T>(plan, scratch), or of the same layout for one thread if that is larger.
template <template <class> class Layout, class Plan>
size_t scratch_bytes(const Plan& plan) {
  const auto bytes = [](const Plan& of) {
    Scratch measure(nullptr);
    with_float_type(of.dims.dtype, [&](auto zero) { (void)Layout<decltype(zero)>(of, measure); });
    return measure.used();
  };
  return team_shape(plan).threads() == 1 ? bytes(plan) : std::max(bytes(plan), bytes(single_threaded(plan)));
}

// Runs Driver<T>(plan, scratch, arguments...) on every thread of the team that the plan asks for, or on one thread if
// OpenMP does not give as many.
template <template <class> class Driver, class Plan, class... Arguments>
void run_driver(const Plan& plan, void* scratch, const Arguments&... arguments) {
  const auto run = [&](const Plan& with) {
    return with_float_type(with.dims.dtype, [&](auto zero) {
      const Driver<decltype(zero)> driver(with, scratch, arguments...);
      return run_team(team_shape(with), [&](const Team& team) { driver.run(team); });
    });
  };
  if (!run(plan)) run(single_threaded(plan));
}

}  // namespace fastseq

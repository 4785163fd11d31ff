// Operations that move elements and compute nothing: the contract. elementary.h says what all of them share. Arrays are
// floats, integers or bools.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "fastseq/elementary.h"

namespace fastseq {

// The base of operations with one array.
struct MovesElements : Elementary {
  Array x;

  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", Input::kAnyRank, Holds::kAny), x);
  }
};

// Axis i of the result is axis permutation[i] of x.
struct Transpose : MovesElements {
  std::vector<int64_t> permutation;  // of 0, ..., rank - 1

  static const char* name() { return "transpose"; }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("permutation", permutation);
  }
  Status make_plan();
  Status run(void*) const;
};

// Along the axis, every element of x comes `count` times in succession.
struct Repeat : MovesElements {
  int64_t axis = 0;
  int64_t count = 1;

  static const char* name() { return "repeat"; }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("axis", axis);
    visit("count", count);
  }
  Status make_plan();
  Status run(void*) const;
};

// x[begin:end] along the axis, as in Python: a negative bound counts from the end, and bounds beyond the array are
// moved to its ends. With flip, the result is in reverse order.
struct Slice : MovesElements {
  int64_t axis = 0;
  int64_t begin = 0;
  int64_t end = std::numeric_limits<int64_t>::max();
  bool flip = false;

  static const char* name() { return "slice"; }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("axis", axis);
    visit("begin", begin);
    visit("end", end);
    visit("flip", flip);
  }
  Status make_plan();
  Status run(void*) const;
};

// Along the axis, `before` zeros (or false) come before x, and `after` zeros after it.
struct Pad : MovesElements {
  int64_t axis = 0;
  int64_t before = 0;
  int64_t after = 0;

  static const char* name() { return "pad"; }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("axis", axis);
    visit("before", before);
    visit("after", after);
  }
  Status make_plan();
  Status run(void*) const;
};

// a, then b, along the axis.
struct Concatenate : Elementary {
  Array a;
  Array b;  // of a's dtype, and of its shape but for the axis
  int64_t axis = 0;

  static const char* name() { return "concatenate"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("a", Input::kAnyRank, Holds::kAny), a);
    visit(Input::required("b", Input::kAnyRank, Holds::kAny), b);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("axis", axis);
  }
  Status make_plan();
  Status run(void*) const;
};

// The same elements in another shape: the first `keep` sizes of `like`, or of x if it is absent; then `shape`; then the
// last `tail` sizes of x. One size in `shape` may be -1: it follows from the number of elements.
struct Reshape : Elementary {
  static constexpr bool kIsView = true;  // in a program, the result is x itself

  Array x;
  Array like;  // of any shape and dtype, optional
  int64_t keep = 1;
  std::vector<int64_t> shape;
  int64_t tail = 0;

  static const char* name() { return "reshape"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x", Input::kAnyRank, Holds::kAny), x);
    visit(Input::optional("like", Holds::kAny), like);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("keep", keep);
    visit("shape", shape);
    visit("tail", tail);
  }
  Status make_plan();
  Status run(void*) const;
};

}  // namespace fastseq

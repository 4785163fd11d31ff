// Unit tests: TEST(name) { CHECK(condition); CHECK_EQUAL(got, expected); ... }. check_main.cc runs a program's tests.
#pragma once

#include <cmath>
#include <functional>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "fastseq/runtime.h"
#include "guarded_arrays.h"

namespace fastseq::test {

struct Test {
  const char* name;
  void (*run)();
};
std::vector<Test>& all_tests();

struct Registered {
  Registered(const char* name, void (*run)()) { all_tests().push_back({name, run}); }
};

#define TEST(name)                                 \
  void name();                                     \
  const Registered registered_##name{#name, name}; \
  void name()

inline std::string place(const char* file, int line) { return std::string(file) + ":" + std::to_string(line) + ": "; }

#define CHECK(condition)                                            \
  do {                                                              \
    if (!(condition)) fail(place(__FILE__, __LINE__) + #condition); \
  } while (false)

// Those of an operation's gradients that are wanted alone are the same as when all are.
template <class Gradients, class Backward>
void check_alone(Arrays& arrays, const Gradients& all, std::initializer_list<Array Gradients::*> wanted,
                 const Backward& backward) {
  Gradients some;
  for (const auto gradient : wanted) some.*gradient = make_like(arrays, "again", all.*gradient);
  backward(some);
  for (const auto gradient : wanted) CHECK(same_bytes(some.*gradient, all.*gradient));
}

template <class Got, class Expected>
void check_equal(const std::string& where, const Got& got, const Expected& expected) {
  if (got == expected) return;
  std::ostringstream text;
  text << where << " is " << got << ", expected " << expected;
  fail(text.str());
}
#define CHECK_EQUAL(got, expected) check_equal(place(__FILE__, __LINE__) + #got, got, expected)

// `index` tells elements apart.
inline void check_near(const std::string& where, int64_t index, double got, double expected, double tolerance) {
  if (std::fabs(got - expected) <= tolerance) return;
  std::ostringstream text;
  text.precision(17);
  text << where << "[" << index << "] is " << got << ", expected " << expected << " within " << tolerance;
  fail(text.str());
}
#define CHECK_NEAR(got, index, expected, tolerance) \
  check_near(place(__FILE__, __LINE__) + #got, index, static_cast<double>(got[index]), expected, tolerance)

inline void check_error(const std::string& where, const Status& status, StatusCode code, const std::string& message) {
  check_equal(where, status.message(), message);
  if (status.code() != code) fail(where + " has another code");
}
#define CHECK_INVALID(status, message) \
  check_error(place(__FILE__, __LINE__) + #status, status, StatusCode::kInvalidArgument, message)
#define CHECK_DTYPE(status, message) \
  check_error(place(__FILE__, __LINE__) + #status, status, StatusCode::kInvalidDtype, message)

// An array of this shape that has no memory: what a plan that reads no elements may be made from. As callers do, of a
// rank too high it keeps the first sizes.
inline Array shaped(DType dtype, const std::vector<int64_t>& shape) {
  Array array;
  array.present = true;
  array.dtype = dtype;
  for (const int64_t length : shape) {
    if (array.rank < Array::kMaxRank) array.shape[array.rank] = length;
    ++array.rank;
  }
  return array;
}

// Numbers in [-spread, spread).
template <class T>
Array random_numbers(Arrays& arrays, Random& random, const char* name, const std::vector<int64_t>& shape,
                     double spread = 1.0) {
  const Array array = arrays.make(name, kDType<T>, shape);
  const size_t count = arrays.all().back().size;
  for (size_t i = 0; i < count; ++i) array.as<T>()[i] = static_cast<T>(spread * static_cast<double>(random.number()));
  return array;
}

// On every ISA, with one thread and with three.
inline void on_every_isa(const std::function<void()>& body) {
  for (const std::string& isa : available_isas()) {
    for (const int threads : {1, 3}) {
      require(set_isa(isa));
      require(set_num_threads(threads));
      body();
    }
  }
}

}  // namespace fastseq::test

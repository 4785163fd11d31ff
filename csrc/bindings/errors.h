// The core's errors as Python's, and calls of it without Python's lock.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <stdexcept>

#include "fastseq/status.h"

namespace fastseq::bindings {

namespace py = pybind11;

inline void raise_if_error(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return;
    case StatusCode::kInvalidArgument:
      throw py::value_error(status.message());
    case StatusCode::kInvalidDtype:
      throw py::type_error(status.message());
    case StatusCode::kOutOfMemory:
      PyErr_SetString(PyExc_MemoryError, status.message().c_str());
      throw py::error_already_set();
    case StatusCode::kUnavailable:
      throw std::runtime_error(status.message());
  }
}

// Gives the GIL away while alive. Before 3.14 Python ends a thread that wants it back when the interpreter has
// finished, such as a daemon's: that would unwind frames which may not be left so, and abort the process. It sleeps
// instead until the process has ended.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) ::pause();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Runs an op, which touches no Python object, and raises what it returns.
template <class Op>
void without_gil(const Op& op) {
  Status status;
  {
    const Unlocked unlocked;
    status = op();
  }
  raise_if_error(status);
}

}  // namespace fastseq::bindings

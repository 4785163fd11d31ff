// Turns the core's errors into Python exceptions, and calls the core without the GIL.
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

// Releases the GIL for the object's lifetime. Before 3.14, Python ends a thread that asks for the GIL after the
// interpreter has finished, such as a daemon thread. It does so by unwinding the stack, which would abort the process
// here. So such a thread sleeps until the process ends.
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

// Runs an op, which must use no Python object, and raises its error.
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

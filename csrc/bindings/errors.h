// The core's errors as Python's.
#pragma once

#include <pybind11/pybind11.h>

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

// Runs an op, which touches no Python object, and raises what it returns.
template <class Op>
void without_gil(const Op& op) {
  Status status;
  {
    const py::gil_scoped_release release;
    status = op();
  }
  raise_if_error(status);
}

}  // namespace fastseq::bindings

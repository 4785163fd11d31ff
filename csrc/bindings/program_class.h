// The class fastseq._core.Program: a program over NumPy arrays.
#pragma once

#include <pybind11/pybind11.h>

namespace fastseq::bindings {

void define_program(pybind11::module_& module);

}  // namespace fastseq::bindings

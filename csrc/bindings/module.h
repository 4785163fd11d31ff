#pragma once

#include <pybind11/pybind11.h>

namespace fastseq::bindings {

class Cpu;

void bind_adam(pybind11::class_<Cpu>& cpu);
void bind_average_pool(pybind11::module_& module, pybind11::class_<Cpu>& cpu);
void bind_embedding(pybind11::class_<Cpu>& cpu);
void bind_dropout(pybind11::class_<Cpu>& cpu);

}  // namespace fastseq::bindings

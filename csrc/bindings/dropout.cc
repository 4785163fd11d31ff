// Dropout over NumPy arrays: check, allocate, drop the GIL, call.
#include "fastseq/dropout.h"

#include <pybind11/stl.h>

#include "arrays.h"
#include "module.h"

namespace fastseq::bindings {
namespace {

py::array dropout_numpy(const Cpu&, const py::object& x, double rate, std::pair<int64_t, int64_t> seed,
                        std::vector<int64_t> noise_shape) {
  const Array input = view("x", x);
  DropoutOptions options;
  options.rate = rate;
  options.seed[0] = seed.first;
  options.seed[1] = seed.second;
  options.noise_shape = std::move(noise_shape);
  DropoutPlan plan;
  raise_if_error(dropout_plan(input, options, &plan));
  Array output;
  py::array y = make_array(input.dtype, {input.shape, input.shape + input.rank}, &output);
  without_gil([&] { return dropout(plan, input, output); });
  return y;
}

}  // namespace

void bind_dropout(py::class_<Cpu>& cpu) {
  cpu.def("dropout", &dropout_numpy, py::arg("x"), py::arg("rate"), py::arg("seed"), py::arg("noise_shape"));
}

}  // namespace fastseq::bindings

// Adam over NumPy arrays: check, allocate, drop the GIL, call.
#include "fastseq/adam.h"

#include "arrays.h"
#include "module.h"

namespace fastseq::bindings {
namespace {

py::tuple adam_numpy(const Cpu&, const py::object& variable, const py::object& momentum, const py::object& velocity,
                     const py::object& velocity_hat, const py::object& gradient, const py::object& indices,
                     double alpha, double beta_1, double beta_2, double epsilon) {
  const AdamState state{view("variable", variable), view("momentum", momentum), view("velocity", velocity),
                        view("velocity_hat", velocity_hat)};
  const AdamGradient slices{view("gradient", gradient), view("indices", indices, "int32 or int64")};
  AdamPlan plan;
  raise_if_error(adam_plan(state, slices, {alpha, beta_1, beta_2, epsilon}, &plan));
  const auto make_like = [&](const Array& array, Array* made) -> py::object {
    if (!array.present) return py::none();
    return make_array(array.dtype, {array.shape, array.shape + array.rank}, made);
  };
  AdamState updated;
  py::tuple result = py::make_tuple(
      make_like(state.variable, &updated.variable), make_like(state.momentum, &updated.momentum),
      make_like(state.velocity, &updated.velocity), make_like(state.velocity_hat, &updated.velocity_hat));
  const Memory scratch(plan.scratch_bytes);
  without_gil([&] { return adam(plan, state, slices, updated, scratch.get()); });
  return result;
}

}  // namespace

void bind_adam(py::class_<Cpu>& cpu) {
  cpu.def("adam", &adam_numpy, py::arg("variable"), py::arg("momentum"), py::arg("velocity"), py::arg("velocity_hat"),
          py::arg("gradient"), py::arg("indices"), py::arg("alpha"), py::arg("beta_1"), py::arg("beta_2"),
          py::arg("epsilon"));
}

}  // namespace fastseq::bindings

// The extension module fastseq._core: process settings here, one file per op beside it. Ops that have kernels for GPUs
// too are in headers, which the module _cuda (cuda.cc) shares.
#include "module.h"

#include <pybind11/stl.h>

#include "arrays.h"
#include "conv1d.h"
#include "fastseq/peak.h"
#include "fastseq/runtime.h"
#include "pool.h"
#include "rnn.h"

namespace fastseq::bindings {

PYBIND11_MODULE(_core, module) {
  module.def("num_threads", &num_threads);
  module.def("requested_threads", &requested_threads);
  module.def("set_num_threads", [](int threads) { raise_if_error(set_num_threads(threads)); }, py::arg("threads"));
  module.def("allow_oversubscription", &allow_oversubscription, py::arg("on"));
  module.def("isa", [] {
    std::string name;
    raise_if_error(isa(&name));
    return name;
  });
  module.def("set_isa", [](const std::string& name) { raise_if_error(set_isa(name)); }, py::arg("name"));
  module.def("available_isas", &available_isas);
  module.def("build_info", [] {
    const BuildInfo info = build_info();
    py::dict result;
    result["version"] = info.version;
    result["compiler"] = info.compiler;
    result["build_type"] = info.build_type;
    result["openmp"] = info.openmp;
    result["cuda"] = info.cuda;
    return result;
  });
  module.def(
      "fma_peak",
      [](int threads, double seconds) {
        double rate = 0;
        without_gil([&] { return fma_peak(threads, seconds, &rate); });
        return rate;
      },
      py::arg("threads"), py::arg("seconds"));
  module.def("idle_memory", &idle_memory);
  module.def("release_idle_memory", &release_idle_memory);
  module.def("poison_fresh_memory", &poison_fresh_memory, py::arg("on"));
  py::class_<Cpu> cpu(module, "Cpu");
  bind_adam(cpu);
  bind_average_pool(module, cpu);
  bind_conv1d(cpu);
  bind_dropout(cpu);
  bind_embedding(cpu);
  bind_max_pool(cpu);
  bind_rnn(cpu);
  module.attr("cpu") = Cpu();
}

}  // namespace fastseq::bindings

// The extension module fastseq._core: process settings, and the operations over NumPy arrays.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "arrays.h"
#include "fastseq/peak.h"
#include "fastseq/runtime.h"
#include "fastseq/trace.h"
#include "operations.h"
#include "program_class.h"

namespace fastseq::bindings {
namespace {

// How the plan of a recurrent operation divides it. Arguments are those of output_shapes.
py::dict rnn_division(const std::string& name, const py::dict& arguments) {
  py::dict division;
  find<CpuOperations>(name, [&](auto* null) {
    const auto operation = read_and_plan<std::remove_pointer_t<decltype(null)>>(ShapesOnly(), arguments);
    if constexpr (std::is_same_v<std::decay_t<decltype(operation.plan)>, RnnPlan>) {
      division["row_groups"] = operation.plan.row_groups;
      division["unit_groups"] = operation.plan.unit_groups;
      division["shards"] = operation.plan.shards;
      division["subteams"] = operation.plan.subteams;
      division["chunk"] = operation.plan.chunk;
    } else {
      throw py::value_error(name + " is not a recurrent operation");
    }
  });
  return division;
}

}  // namespace

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
  module.def("start_tracing", &start_tracing, py::arg("capacity"));
  module.def("stop_tracing", [] {
    int64_t lost = 0;
    py::list spans;
    for (const Span& span : stop_tracing(&lost)) {
      py::dict one;
      one["kind"] = span.kind == Span::Kind::kWork ? "work" : "wait";
      one["thread"] = span.thread;
      one["rank"] = span.rank;
      one["begin"] = span.begin;
      one["end"] = span.end;
      one["first_cpu"] = span.first_cpu;
      one["last_cpu"] = span.last_cpu;
      one["page_faults"] = span.page_faults;
      spans.append(one);
    }
    return std::pair(spans, lost);
  });
  module.def("idle_memory", &idle_memory);
  module.def("release_idle_memory", &release_idle_memory);
  module.def("poison_fresh_memory", &poison_fresh_memory, py::arg("on"));
  module.def(
      "pooled_timesteps",
      [](int64_t timesteps, int64_t pool_size, int64_t strides, const std::string& padding) {
        PoolOptions options{pool_size, strides, {}};
        raise_if_error(parse_option("padding", padding, &options.padding));
        int64_t pooled = 0;
        raise_if_error(pooled_timesteps(options, timesteps, &pooled));
        return pooled;
      },
      py::arg("timesteps"), py::arg("pool_size"), py::arg("strides"), py::arg("padding"));

  module.def(
      "compute",
      [](const std::string& operation, const py::dict& arguments) {
        return compute<AllOperations>(Cpu(), operation, arguments);
      },
      py::arg("operation"), py::arg("arguments"));
  module.def("output_shapes", &output_shapes<ShapesOnly, AllOperations>, py::arg("operation"), py::arg("arguments"));
  module.def("rnn_division", &rnn_division, py::arg("operation"), py::arg("arguments"));
  module.def("statement", &statement<AllOperations>, py::arg("operation"));
  module.def("operations", &CpuOperations::names);
  module.def("prediction_operations", &PredictionOperations::names);
  define_program(module);
  module.def("xla_handlers", &xla_handlers<xla::Cpu, DifferentiableOperations<Bernoulli>>);
}

}  // namespace fastseq::bindings

// Embedding over NumPy arrays: check, allocate, drop the GIL, call.
#include "fastseq/embedding.h"

#include "arrays.h"
#include "module.h"

namespace fastseq::bindings {
namespace {

Array view_ids(const py::object& ids) { return view("ids", ids, "int32 or int64"); }

py::array embedding_forward_numpy(const Cpu&, const py::object& ids, const py::object& embeddings) {
  const Array ids_view = view_ids(ids);
  const Array table = view("embeddings", embeddings);
  EmbeddingPlan plan;
  raise_if_error(embedding_plan_forward(ids_view, table, &plan));
  std::vector<int64_t> shape(ids_view.shape, ids_view.shape + ids_view.rank);
  shape.push_back(plan.output_dim);
  Array outputs_view;
  py::array outputs = make_array(plan.dtype, shape, &outputs_view);
  without_gil([&] { return embedding_forward(plan, ids_view, table, outputs_view); });
  return outputs;
}

py::array embedding_backward_numpy(const Cpu&, const py::object& ids, const py::object& doutputs, int64_t input_dim,
                                   bool squared) {
  const Array ids_view = view_ids(ids);
  const Array doutputs_view = view("doutputs", doutputs);
  EmbeddingPlan plan;
  raise_if_error(embedding_plan_backward(ids_view, doutputs_view, input_dim, &plan));
  Array table;
  py::array dembeddings = make_array(plan.dtype, {plan.input_dim, plan.output_dim}, &table);
  const Memory scratch(plan.scratch_bytes);
  without_gil([&] { return embedding_backward(plan, ids_view, doutputs_view, squared, table, scratch.get()); });
  return dembeddings;
}

}  // namespace

void bind_embedding(py::class_<Cpu>& cpu) {
  cpu.def("embedding_forward", &embedding_forward_numpy, py::arg("ids"), py::arg("embeddings"));
  cpu.def("embedding_backward", &embedding_backward_numpy, py::arg("ids"), py::arg("doutputs"), py::arg("input_dim"),
          py::arg("squared"));
}

}  // namespace fastseq::bindings

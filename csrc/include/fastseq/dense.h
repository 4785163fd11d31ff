// A dense layer, for prediction: the contract.
//
// x (..., D), kernel (D, U), bias (U), optional; all float32 or all float64. With a = activation:
//
//   outputs[..., u] = a(bias[u] + sum over d of x[..., d] kernel[d, u])
//
// It is a convolution (conv1d.h) of width 1 over all rows of x.
#pragma once

#include <cstddef>

#include "fastseq/activation.h"
#include "fastseq/array.h"
#include "fastseq/conv1d.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq {

struct Dense : Preparing {
  Activation activation = Activation::kLinear;
  Array x, kernel, bias, outputs;
  Conv1dPlan plan;

  static const char* name() { return "dense"; }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("activation", activation);
  }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("x"), x);
    visit(Input::required("kernel", 2), kernel);
    visit(Input::optional("bias"), bias);
  }
  Status make_plan();
  template <class Visit>
  void for_each_output(const Visit& visit) {
    Array like = x;
    like.data = nullptr;
    if (like.rank > 0) like.shape[like.rank - 1] = kernel.shape[1];
    visit(Output::always("outputs"), outputs, like);
  }
  size_t prepared_bytes() const { return plan.prepared_bytes; }
  int prepared_for() const { return 0; }
  void prepare(void* memory) const { conv1d_prepare(plan, inputs(), memory); }
  Status run(void* scratch) const;

 private:
  Conv1dInputs inputs() const;
};

}  // namespace fastseq

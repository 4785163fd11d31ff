// A recurrent op forward: the products of x for all steps at once, then the time loop.
#include "cell.h"
#include "products.h"
#include "rnn_checks.h"
#include "rnn_loop.h"
#include "rnn_scratch.h"
#include "rows.h"

namespace fastseq::cuda {
namespace {

struct Pieces {
  Pieces(const RnnPlan& plan, RnnScratch& scratch) {
    const RnnDims& d = plan.dims;
    const int64_t cells = d.batch * d.timesteps;
    const int64_t columns = d.gates * d.units;
    const int64_t states = d.batch * d.units;
    products = scratch.take<char>(kProductsWorkspace);
    z = scratch.take<float>(cells * columns);
    x = plan.input_factors > 0 ? scratch.take<float>(cells * d.inputs) : scratch.take_if_half(cells * d.inputs);
    stepwise = plan.persistent ? nullptr : scratch.take<float>(stepwise_scratch(plan, false));
    kernel = scratch.take_if_half(d.inputs * columns);
    recurrent_kernel = scratch.take_if_half(d.units * columns);
    bias = scratch.take_if_half(2 * columns);
    h0 = scratch.take_if_half(states);
    c0 = scratch.take_if_half(states);
    dropout_mask = scratch.take_if_half(plan.input_factors * d.batch * d.inputs);
    recurrent_dropout_mask = scratch.take_if_half(plan.recurrent_factors * states);
    outputs = scratch.take_if_half(cells * d.units);
    last_output = scratch.take_if_half(states);
    h_n = scratch.take_if_half(states);
    c_n = scratch.take_if_half(states);
  }
  char* products;
  float *z, *x, *stepwise;
  float *kernel, *recurrent_kernel, *bias, *h0, *c0, *dropout_mask, *recurrent_dropout_mask;
  float *outputs, *last_output, *h_n, *c_n;
};

}  // namespace

size_t rnn_forward_scratch_bytes(const RnnPlan& plan) {
  RnnScratch scratch(plan, nullptr);
  (void)Pieces(plan, scratch);
  return scratch.used();
}

Status rnn_forward(const RnnPlan& plan, const RnnInputs& inputs, const RnnOutputs& outputs, void* scratch,
                   Stream stream) {
  const RnnDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(check_rnn_outputs(outputs, plan.options, d,
                                            {DType::kFloat32, cuda::rnn_workspace_width(plan.options, d.units)}));
  RnnScratch carve(plan, scratch);
  const Pieces pieces(plan, carve);

  ForwardLoop loop = {};
  loop.activation = plan.options.activation;
  loop.recurrent_activation = plan.options.recurrent_activation;
  loop.go_backwards = plan.options.go_backwards;
  loop.zero_output_for_mask = plan.options.zero_output_for_mask;
  loop.mask = inputs.mask.as<const uint8_t>();
  const float* kernel = nullptr;
  const float* dropout_mask = nullptr;
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.kernel, pieces.kernel, stream, &kernel));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.dropout_mask, pieces.dropout_mask, stream, &dropout_mask));
  FASTSEQ_RETURN_IF_ERROR(
      read_as_float(inputs.recurrent_kernel, pieces.recurrent_kernel, stream, &loop.recurrent_kernel));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.bias, pieces.bias, stream, &loop.bias));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.h0, pieces.h0, stream, &loop.h0));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.c0, pieces.c0, stream, &loop.c0));
  FASTSEQ_RETURN_IF_ERROR(
      read_as_float(inputs.recurrent_dropout_mask, pieces.recurrent_dropout_mask, stream, &loop.factors));
  loop.outputs = write_as_float(outputs.outputs, pieces.outputs);
  loop.last_output = write_as_float(outputs.last_output, pieces.last_output);
  loop.h_n = write_as_float(outputs.h_n, pieces.h_n);
  loop.c_n = write_as_float(outputs.c_n, pieces.c_n);
  loop.workspace = outputs.workspace.as<float>();

  std::unique_ptr<Products> products;
  FASTSEQ_RETURN_IF_ERROR(Products::begin(stream, plan.precision, pieces.products, &products));
  loop.z = pieces.z;
  for (const GateGroup& group : CellShape(plan.options).input_groups(plan.input_factors)) {
    const float* x = inputs.x.as<const float>();
    if (pieces.x) {
      const float* factors = dropout_mask ? dropout_mask + group.first * d.batch * d.inputs : nullptr;
      FASTSEQ_RETURN_IF_ERROR(make_operand({d.batch, d.timesteps, d.inputs, inputs.x.data, d.dtype, d.inputs, factors,
                                            nullptr, nullptr},
                                           pieces.x, stream));
      x = pieces.x;
    }
    FASTSEQ_RETURN_IF_ERROR(products->multiply(d.batch * d.timesteps, group.count * d.units, d.inputs, {x, d.inputs},
                                               {kernel + group.first * d.units, d.gates * d.units}, 0,
                                               pieces.z + group.first * d.units, d.gates * d.units));
  }
  if (d.batch > 0)
    FASTSEQ_RETURN_IF_ERROR(plan.persistent
                                ? persistent_forward(plan.shape, plan.options.cell, loop, stream)
                                : stepwise_forward(plan, loop, *products, pieces.stepwise, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(outputs.outputs, pieces.outputs, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(outputs.last_output, pieces.last_output, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(outputs.h_n, pieces.h_n, stream));
  return finish_write(outputs.c_n, pieces.c_n, stream);
}

}  // namespace fastseq::cuda

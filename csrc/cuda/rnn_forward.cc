// The forward pass of a recurrent op: the products of x for all steps at once, then the time loop.
#include "common/cell.h"
#include "common/rnn_checks.h"
#include "products.h"
#include "rnn_loop.h"
#include "rnn_scratch.h"
#include "rows.h"

namespace fastseq::cuda {
namespace {

struct CallScratch : SharedScratch {
  CallScratch(const RnnPlan& plan, RnnScratch& scratch) : SharedScratch(plan, false, scratch) {
    const RnnDims& d = plan.dims;
    z = scratch.take<float>(cells * columns);
    x = plan.input_factors > 0 ? scratch.take<float>(cells * d.inputs) : scratch.take_if_half(cells * d.inputs);
    bias = scratch.take_if_half(2 * columns);
    h0 = scratch.take_if_half(states);
    c0 = scratch.take_if_half(states);
    outputs = scratch.take_if_half(cells * d.units);
    last_output = scratch.take_if_half(states);
    h_n = scratch.take_if_half(states);
    c_n = scratch.take_if_half(states);
  }
  float *z, *x;
  float *bias, *h0, *c0;
  float *outputs, *last_output, *h_n, *c_n;
};

}  // namespace

size_t rnn_forward_scratch_bytes(const RnnPlan& plan) { return scratch_bytes<CallScratch>(plan); }

Status rnn_forward(const RnnPlan& plan, const RnnInputs& inputs, const RnnOutputs& outputs, void* scratch,
                   Stream stream) {
  const RnnDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(
      check_rnn_outputs(outputs, plan.options, d, {DType::kFloat32, cuda::rnn_workspace_width(plan.options, d.units)}));
  RnnScratch carve(plan, scratch);
  const CallScratch parts(plan, carve);

  ForwardLoop loop = {};
  SharedInputs shared;
  FASTSEQ_RETURN_IF_ERROR(read_shared(plan, inputs, parts, stream, &shared, &loop));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.bias, parts.bias, stream, &loop.bias));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.h0, parts.h0, stream, &loop.h0));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(inputs.c0, parts.c0, stream, &loop.c0));
  loop.outputs = write_as_float(outputs.outputs, parts.outputs);
  loop.last_output = write_as_float(outputs.last_output, parts.last_output);
  loop.h_n = write_as_float(outputs.h_n, parts.h_n);
  loop.c_n = write_as_float(outputs.c_n, parts.c_n);
  loop.workspace = outputs.workspace.as<float>();

  std::unique_ptr<Products> products;
  FASTSEQ_RETURN_IF_ERROR(Products::begin(stream, plan.precision, parts.products, &products));
  loop.z = parts.z;
  for (const GateGroup& group : CellShape(plan.options).input_groups(plan.input_factors)) {
    const float* x = inputs.x.as<const float>();
    if (parts.x) {
      const float* factors = shared.dropout_mask ? shared.dropout_mask + group.first * d.batch * d.inputs : nullptr;
      FASTSEQ_RETURN_IF_ERROR(
          make_operand({d.batch, d.timesteps, d.inputs, inputs.x.data, d.dtype, d.inputs, factors, nullptr, nullptr},
                       parts.x, stream));
      x = parts.x;
    }
    FASTSEQ_RETURN_IF_ERROR(products->multiply(d.batch * d.timesteps, group.count * d.units, d.inputs, {x, d.inputs},
                                               {shared.kernel + group.first * d.units, d.gates * d.units}, 0,
                                               parts.z + group.first * d.units, d.gates * d.units));
  }
  FASTSEQ_RETURN_IF_ERROR(products->set_precision(Precision::kFloat32));  // for the time loop
  if (d.batch > 0)
    FASTSEQ_RETURN_IF_ERROR(plan.persistent ? kPersistentForward.run(plan.shape, plan.options.cell, loop, stream)
                                            : stepwise_forward(plan, loop, *products, parts.stepwise, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(outputs.outputs, parts.outputs, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(outputs.last_output, parts.last_output, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(outputs.h_n, parts.h_n, stream));
  return finish_write(outputs.c_n, parts.c_n, stream);
}

}  // namespace fastseq::cuda

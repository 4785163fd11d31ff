#include "rnn_checks.h"

#include <string>

#include "cell.h"

namespace fastseq {
namespace {

// (1 or G, batch, width)
Status check_factors(const char* name, const Array& array, const RnnDims& dims, int64_t width) {
  if (!array.present) return {};
  FASTSEQ_RETURN_IF_ERROR(check_dtype(name, array, dims.dtype));
  const bool fits = array.rank == 3 && (array.shape[0] == 1 || array.shape[0] == dims.gates) &&
                    array.shape[1] == dims.batch && array.shape[2] == width;
  if (fits) return {};
  const std::string first = dims.gates == 1 ? "(1" : "(1 or " + std::to_string(dims.gates);
  return wrong_shape(name, first + ", " + std::to_string(dims.batch) + ", " + std::to_string(width) + ")", array);
}

// Shape (GU), for GRU with reset_after (2, 3U); an absent array passes.
Status check_bias(const char* name, const Array& array, const RnnOptions& options, const RnnDims& dims) {
  const int64_t columns = dims.gates * dims.units;
  if (options.cell == Cell::kGru && options.reset_after) return check_optional(name, array, dims.dtype, {2, columns});
  return check_optional(name, array, dims.dtype, {columns});
}

Status check_weight_gradients(const RnnGradients& gradients, const RnnOptions& options, const RnnDims& d) {
  const int64_t columns = d.gates * d.units;
  FASTSEQ_RETURN_IF_ERROR(check_bias("dbias", gradients.dbias, options, d));
  if (!gradients.dkernel.present && !gradients.drecurrent_kernel.present) {
    if (!gradients.dbias.present) return {};
    return Status::invalid_argument("dbias is given, but dkernel and drecurrent_kernel are not");
  }
  FASTSEQ_RETURN_IF_ERROR(check_array("dkernel", gradients.dkernel, d.dtype, {d.inputs, columns}));
  return check_array("drecurrent_kernel", gradients.drecurrent_kernel, d.dtype, {d.units, columns});
}

}  // namespace

Status check_rnn_inputs(const RnnInputs& inputs, const RnnOptions& options, Floats floats, RnnDims* dims) {
  dims->gates = CellShape(options).gates;
  const std::string letters =
      dims->gates == 1 ? "(units, units)" : "(units, " + std::to_string(dims->gates) + " * units)";
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", inputs.x, 3, "(batch, timesteps, inputs)", floats));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("recurrent_kernel", inputs.recurrent_kernel, 2, letters.c_str(), floats));
  dims->dtype = inputs.x.dtype;
  dims->batch = inputs.x.shape[0];
  dims->timesteps = inputs.x.shape[1];
  dims->inputs = inputs.x.shape[2];
  dims->units = inputs.recurrent_kernel.shape[0];
  const int64_t units = dims->units;
  const int64_t columns = dims->gates * units;
  if (units < 1) return Status::invalid_argument("recurrent_kernel must have at least 1 unit, got 0");
  FASTSEQ_RETURN_IF_ERROR(check_array("recurrent_kernel", inputs.recurrent_kernel, dims->dtype, {units, columns}));
  FASTSEQ_RETURN_IF_ERROR(check_array("kernel", inputs.kernel, dims->dtype, {dims->inputs, columns}));
  FASTSEQ_RETURN_IF_ERROR(check_sizes("workspace", {dims->batch, dims->timesteps, CellShape(options).saved * units}));
  FASTSEQ_RETURN_IF_ERROR(check_bias("bias", inputs.bias, options, *dims));
  FASTSEQ_RETURN_IF_ERROR(check_optional("h0", inputs.h0, dims->dtype, {dims->batch, units}));
  if (CellShape(options).has_c())
    FASTSEQ_RETURN_IF_ERROR(check_optional("c0", inputs.c0, dims->dtype, {dims->batch, units}));
  else if (inputs.c0.present)
    return Status::invalid_argument("c0 is the state of an LSTM; this cell has only h0");
  FASTSEQ_RETURN_IF_ERROR(check_optional("mask", inputs.mask, DType::kBool, {dims->batch, dims->timesteps}));
  FASTSEQ_RETURN_IF_ERROR(check_factors("dropout_mask", inputs.dropout_mask, *dims, dims->inputs));
  return check_factors("recurrent_dropout_mask", inputs.recurrent_dropout_mask, *dims, units);
}

Status check_rnn_outputs(const RnnOutputs& outputs, const RnnOptions& options, const RnnDims& d, const Saved& saved) {
  FASTSEQ_RETURN_IF_ERROR(check_optional("outputs", outputs.outputs, d.dtype, {d.batch, d.timesteps, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("last_output", outputs.last_output, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_array("h_n", outputs.h_n, d.dtype, {d.batch, d.units}));
  if (CellShape(options).has_c()) FASTSEQ_RETURN_IF_ERROR(check_array("c_n", outputs.c_n, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(
      check_optional("workspace", outputs.workspace, saved.dtype, {d.batch, d.timesteps, saved.width}));
  return {};
}

Status check_rnn_gradients(const Array& workspace, const RnnOutputGradients& doutputs, const RnnGradients& gradients,
                           const RnnOptions& options, const RnnDims& d, const Saved& saved) {
  FASTSEQ_RETURN_IF_ERROR(check_array("workspace", workspace, saved.dtype, {d.batch, d.timesteps, saved.width}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("doutputs", doutputs.doutputs, d.dtype, {d.batch, d.timesteps, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dlast_output", doutputs.dlast_output, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dh_n", doutputs.dh_n, d.dtype, {d.batch, d.units}));
  FASTSEQ_RETURN_IF_ERROR(check_optional("dx", gradients.dx, d.dtype, {d.batch, d.timesteps, d.inputs}));
  FASTSEQ_RETURN_IF_ERROR(check_weight_gradients(gradients, options, d));
  FASTSEQ_RETURN_IF_ERROR(check_array("dh0", gradients.dh0, d.dtype, {d.batch, d.units}));
  if (CellShape(options).has_c()) {
    FASTSEQ_RETURN_IF_ERROR(check_optional("dc_n", doutputs.dc_n, d.dtype, {d.batch, d.units}));
    FASTSEQ_RETURN_IF_ERROR(check_array("dc0", gradients.dc0, d.dtype, {d.batch, d.units}));
  } else if (doutputs.dc_n.present) {
    return Status::invalid_argument("dc_n is the gradient by an LSTM's state; this cell has only dh_n");
  }
  return {};
}

}  // namespace fastseq

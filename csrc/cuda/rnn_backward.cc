// The backward pass of a recurrent op. The time loop computes dz, the gradients by the gates' pre-activations. The
// other gradients are products of dz for all steps at once.
#include <cuda_runtime.h>

#include "common/cell.h"
#include "common/rnn_checks.h"
#include "launch.h"
#include "products.h"
#include "rnn_loop.h"
#include "rnn_scratch.h"
#include "rows.h"

namespace fastseq::cuda {
namespace {

struct CallScratch : SharedScratch {
  CallScratch(const RnnPlan& plan, RnnScratch& scratch) : SharedScratch(plan, true, scratch) {
    const RnnDims& d = plan.dims;
    const CellShape cell(plan.options);
    dz = scratch.take<float>(cells * cell.dz * d.units);
    sums = scratch.take<float>(column_sums_parts(cell.dz * d.units));
    summed = scratch.take<float>(cell.dz * d.units);
    const bool x_changes = plan.masked || plan.input_factors > 0;
    x = x_changes ? scratch.take<float>(cells * d.inputs) : scratch.take_if_half(cells * d.inputs);
    part_of_dx = plan.input_factors > 0 ? scratch.take<float>(cells * d.inputs) : nullptr;
    const bool h_changes = plan.recurrent_factors > 0 || cell.resets_operand;
    h = h_changes ? scratch.take<float>(cells * d.units) : nullptr;
    doutputs = scratch.take_if_half(cells * d.units);
    dlast_output = scratch.take_if_half(states);
    dh_n = scratch.take_if_half(states);
    dc_n = scratch.take_if_half(states);
    dx = scratch.take_if_half(cells * d.inputs);
    dkernel = scratch.take_if_half(d.inputs * columns);
    drecurrent_kernel = scratch.take_if_half(d.units * columns);
    dbias = scratch.take_if_half(2 * columns);
    dh0 = scratch.take_if_half(states);
    dc0 = scratch.take_if_half(states);
  }
  float *dz, *sums, *summed, *x, *part_of_dx, *h;
  float *doutputs, *dlast_output, *dh_n, *dc_n;
  float *dx, *dkernel, *drecurrent_kernel, *dbias, *dh0, *dc0;
};

class Backward {
 public:
  Backward(const RnnPlan& plan, const RnnInputs& inputs, const Array& workspace, const CallScratch& scratch,
           Products& products, Stream stream)
      : plan_(plan),
        d_(plan.dims),
        cell_(plan.options),
        inputs_(inputs),
        workspace_(workspace.as<const float>()),
        saved_(cuda::rnn_workspace_width(plan.options, d_.units)),
        cells_(d_.batch * d_.timesteps),
        columns_(d_.gates * d_.units),
        dz_width_(cell_.dz * d_.units),
        scratch_(scratch),
        products_(products),
        stream_(stream) {}

  // Computes the gradients by the kernel and by x, as far as they are wanted.
  Status by_x(const SharedInputs& shared, float* dkernel, float* dx) const {
    if (!dkernel && !dx) return {};
    for (const GateGroup& group : cell_.input_groups(plan_.input_factors)) {
      const float* factors = shared.dropout_mask ? shared.dropout_mask + group.first * d_.batch * d_.inputs : nullptr;
      const float* x = inputs_.x.as<const float>();
      if (scratch_.x) {
        FASTSEQ_RETURN_IF_ERROR(make_operand({d_.batch, d_.timesteps, d_.inputs, inputs_.x.data, d_.dtype, d_.inputs,
                                              factors, nullptr, inputs_.mask.as<const uint8_t>()},
                                             scratch_.x, stream_));
        x = scratch_.x;
      }
      const Matrix dz = {scratch_.dz + group.first * d_.units, dz_width_};
      const int64_t gates = group.count * d_.units;
      if (dkernel)
        FASTSEQ_RETURN_IF_ERROR(products_.multiply(d_.inputs, gates, cells_, {x, d_.inputs, true}, dz, 0,
                                                   dkernel + group.first * d_.units, columns_));
      if (!dx) continue;
      FASTSEQ_RETURN_IF_ERROR(products_.multiply(cells_, d_.inputs, gates, dz,
                                                 {shared.kernel + group.first * d_.units, columns_, true}, 0,
                                                 factors ? scratch_.part_of_dx : dx, d_.inputs));
      if (factors)
        FASTSEQ_RETURN_IF_ERROR(
            add_scaled(d_.batch, d_.timesteps, d_.inputs, scratch_.part_of_dx, factors, group.first > 0, dx, stream_));
    }
    return {};
  }

  // Computes the gradient by the recurrent kernel. In the workspace, the h before each step comes after the gates.
  Status by_h(const float* factors, float* drecurrent_kernel) const {
    if (!drecurrent_kernel) return {};
    for (const GateGroup& group : cell_.recurrent_groups(plan_.recurrent_factors, true)) {
      Matrix h = {workspace_ + columns_, saved_, true};
      if (scratch_.h) {
        const int64_t copy = plan_.recurrent_factors > 1 ? group.first : 0;
        const float* own = factors ? factors + copy * d_.batch * d_.units : nullptr;
        FASTSEQ_RETURN_IF_ERROR(
            make_operand({d_.batch, d_.timesteps, d_.units, h.data, DType::kFloat32, saved_, own,
                          group.reset ? workspace_ + d_.units : nullptr, inputs_.mask.as<const uint8_t>()},
                         scratch_.h, stream_));
        h = {scratch_.h, d_.units, true};
      }
      FASTSEQ_RETURN_IF_ERROR(products_.multiply(d_.units, group.count * d_.units, cells_, h,
                                                 {scratch_.dz + group.dz_first * d_.units, dz_width_}, 0,
                                                 drecurrent_kernel + group.first * d_.units, columns_));
    }
    return {};
  }

  Status by_bias(float* dbias) const {
    if (!dbias) return {};
    FASTSEQ_RETURN_IF_ERROR(column_sums(cells_, dz_width_, scratch_.dz, scratch_.sums, scratch_.summed, stream_));
    FASTSEQ_RETURN_IF_ERROR(copy(scratch_.summed, columns_, dbias));
    if (inputs_.bias.rank == 1) return {};
    // The candidate's recurrent bias is scaled by r. Its gradient is the last block of the sums.
    FASTSEQ_RETURN_IF_ERROR(copy(scratch_.summed, 2 * d_.units, dbias + columns_));
    return copy(scratch_.summed + columns_, d_.units, dbias + columns_ + 2 * d_.units);
  }

 private:
  Status copy(const float* from, int64_t count, float* to) const {
    return cuda_status("copying sums", cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(float),
                                                       cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream_)));
  }

  const RnnPlan& plan_;
  const RnnDims& d_;
  const CellShape cell_;
  const RnnInputs& inputs_;
  const float* workspace_;
  const int64_t saved_, cells_, columns_, dz_width_;
  const CallScratch& scratch_;
  Products& products_;
  Stream stream_;
};

}  // namespace

size_t rnn_backward_scratch_bytes(const RnnPlan& plan) { return scratch_bytes<CallScratch>(plan); }

Status rnn_backward(const RnnPlan& plan, const RnnInputs& inputs, const Array& workspace,
                    const RnnOutputGradients& doutputs, const RnnGradients& gradients, void* scratch, Stream stream) {
  const RnnDims& d = plan.dims;
  FASTSEQ_RETURN_IF_ERROR(check_rnn_gradients(workspace, doutputs, gradients, plan.options, d,
                                              {DType::kFloat32, cuda::rnn_workspace_width(plan.options, d.units)}));
  if (gradients.dbias.present && !inputs.bias.present)
    return Status::invalid_argument("dbias is given, but bias is not");
  RnnScratch carve(plan, scratch);
  const CallScratch parts(plan, carve);

  BackwardLoop loop = {};
  SharedInputs shared;
  FASTSEQ_RETURN_IF_ERROR(read_shared(plan, inputs, parts, stream, &shared, &loop));
  loop.workspace = workspace.as<const float>();
  loop.dz = parts.dz;
  FASTSEQ_RETURN_IF_ERROR(read_as_float(doutputs.doutputs, parts.doutputs, stream, &loop.doutputs));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(doutputs.dlast_output, parts.dlast_output, stream, &loop.dlast_output));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(doutputs.dh_n, parts.dh_n, stream, &loop.dh_n));
  FASTSEQ_RETURN_IF_ERROR(read_as_float(doutputs.dc_n, parts.dc_n, stream, &loop.dc_n));
  loop.dh0 = write_as_float(gradients.dh0, parts.dh0);
  loop.dc0 = write_as_float(gradients.dc0, parts.dc0);
  float* dkernel = write_as_float(gradients.dkernel, parts.dkernel);
  float* drecurrent_kernel = write_as_float(gradients.drecurrent_kernel, parts.drecurrent_kernel);

  std::unique_ptr<Products> products;
  FASTSEQ_RETURN_IF_ERROR(Products::begin(stream, Precision::kFloat32, parts.products, &products));
  if (d.batch > 0)
    FASTSEQ_RETURN_IF_ERROR(plan.persistent ? kPersistentBackward.run(plan.shape, plan.options.cell, loop, stream)
                                            : stepwise_backward(plan, loop, *products, parts.stepwise, stream));
  FASTSEQ_RETURN_IF_ERROR(products->set_precision(plan.precision));  // outside the time loop
  const Backward backward(plan, inputs, workspace, parts, *products, stream);
  FASTSEQ_RETURN_IF_ERROR(backward.by_x(shared, dkernel, write_as_float(gradients.dx, parts.dx)));
  FASTSEQ_RETURN_IF_ERROR(backward.by_h(loop.factors, drecurrent_kernel));
  FASTSEQ_RETURN_IF_ERROR(backward.by_bias(write_as_float(gradients.dbias, parts.dbias)));
  FASTSEQ_RETURN_IF_ERROR(finish_write(gradients.dx, parts.dx, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(gradients.dkernel, parts.dkernel, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(gradients.drecurrent_kernel, parts.drecurrent_kernel, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(gradients.dbias, parts.dbias, stream));
  FASTSEQ_RETURN_IF_ERROR(finish_write(gradients.dh0, parts.dh0, stream));
  return finish_write(gradients.dc0, parts.dc0, stream);
}

}  // namespace fastseq::cuda

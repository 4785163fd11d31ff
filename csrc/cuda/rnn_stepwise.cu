// The stepwise time loops: for every step a product by cuBLAS and an elementwise kernel. GRU without reset_after has
// two of each, since the candidate's product needs r.
#include <array>

#include "common/cell.h"
#include "common/checks.h"
#include "each.cuh"
#include "rnn_cells.cuh"
#include "rnn_loop.h"

namespace fastseq::cuda {
namespace {

constexpr unsigned kThreads = 128;

struct StepShape {
  int64_t batch, timesteps, units, gates;
  int factors;  // number of sets of factors of h: 0, 1, or one for each gate
  bool reset_after;
  int64_t saved;  // values of a unit in the workspace
  int64_t dz;     // values of a unit in dz
};

StepShape step_shape(const RnnPlan& plan) {
  const RnnDims& d = plan.dims;
  return {d.batch,
          d.timesteps,
          d.units,
          d.gates,
          plan.recurrent_factors,
          plan.options.reset_after,
          cuda::rnn_workspace_width(plan.options, 1),
          CellShape(plan.options).dz};
}

// One row and unit at one step. The indices are those of its elements in the arrays.
struct Place {
  StepShape shape;
  int64_t row, unit;
  int64_t cell;    // row of x, the mask and the workspace: (row, time)
  int64_t output;  // index in the outputs, which are in the order in which the steps are taken
  int64_t state;   // index in the states (row, unit)
  bool on;

  __device__ Place(const StepShape& the_shape, const LoopArguments& loop, int64_t index, int64_t step)
      : shape(the_shape),
        row(index / the_shape.units),
        unit(index % the_shape.units),
        cell(row * the_shape.timesteps + (loop.go_backwards ? the_shape.timesteps - 1 - step : step)),
        output((row * the_shape.timesteps + step) * the_shape.units + unit),
        state(index),
        on(!loop.mask || loop.mask[cell]) {}
  __device__ float factor(const float* factors, int64_t copy) const {
    return factors ? factors[copy * shape.batch * shape.units + state] : 1.0F;
  }
};

template <class Body>
__device__ inline void for_each_state(const StepShape& shape, const Body& body) {
  for_each(shape.batch * shape.units, body);
}

// Computes the operands (copies, B, U) of the next product: h times the factors, which are the same for all gates or
// different for each.
__device__ inline void make_operands(const StepShape& shape, const ForwardLoop& loop, const Place& at, float h,
                                     float* operands) {
  const int copies = shape.factors > 1 ? shape.factors : 1;
  for (int copy = 0; copy < copies; ++copy)
    operands[copy * shape.batch * shape.units + at.state] = h * at.factor(loop.factors, copy);
}

__global__ void begin_forward(StepShape shape, ForwardLoop loop, float* operands) {
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, 0);
    const float h = loop.h0 ? loop.h0[i] : 0.0F;
    loop.h_n[i] = h;
    if (loop.c_n) loop.c_n[i] = loop.c0 ? loop.c0[i] : 0.0F;
    loop.last_output[i] = loop.h0_as_first_output ? h : 0.0F;
    make_operands(shape, loop, at, h, operands);
  });
}

__device__ inline float of_x(const ForwardLoop& loop, const Place& at, int64_t gate) {
  const int64_t column = gate * at.shape.units + at.unit;
  return loop.z[at.cell * at.shape.gates * at.shape.units + column] + (loop.bias ? loop.bias[column] : 0.0F);
}

// Updates the states, which are kept in the arrays of the final states, and writes the output.
__device__ inline void end_step(const StepShape& shape, const ForwardLoop& loop, const Place& at, float new_h,
                                float* operands) {
  if (at.on) loop.h_n[at.state] = new_h;
  const float output = at.on ? new_h : loop.zero_output_for_mask ? 0.0F : loop.last_output[at.state];
  loop.last_output[at.state] = output;
  if (loop.outputs) loop.outputs[at.output] = output;
  make_operands(shape, loop, at, loop.h_n[at.state], operands);
}

__global__ void lstm_forward_step(StepShape shape, ForwardLoop loop, int64_t step, const float* sums, float* operands) {
  const CellOptions options{loop.activation, loop.recurrent_activation};
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, step);
    const auto gate = [&](int64_t g, Activation activation) {
      return activate(activation, sums[(at.row * 4 + g) * shape.units + at.unit] + of_x(loop, at, g));
    };
    const float values[4] = {gate(0, options.recurrent_activation), gate(1, options.recurrent_activation),
                             gate(2, options.activation), gate(3, options.recurrent_activation)};
    const float c = loop.c_n[i];
    const LstmState state = lstm_step(options, values[0], values[1], values[2], values[3], c);
    if (loop.workspace) {
      float* saved = loop.workspace + at.cell * shape.saved * shape.units + at.unit;
      for (int g = 0; g < 4; ++g) saved[g * shape.units] = values[g];
      saved[4 * shape.units] = loop.h_n[i];
      saved[5 * shape.units] = c;
    }
    if (at.on) loop.c_n[i] = state.c;
    end_step(shape, loop, at, state.h, operands);
  });
}

// Replaces the sums of z by z, computes r, and multiplies by r: the candidate's sum with reset_after, else h, which is
// the operand of the candidate's product.
__global__ void gru_reset_step(StepShape shape, ForwardLoop loop, int64_t step, float* sums, float* reset) {
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, step);
    float* own = sums + at.row * 3 * shape.units + at.unit;
    const float* recurrent_bias = loop.bias && shape.reset_after ? loop.bias + 3 * shape.units + at.unit : nullptr;
    const auto of_h = [&](int64_t g) {
      return own[g * shape.units] + (recurrent_bias ? recurrent_bias[g * shape.units] : 0.0F);
    };
    const float z = activate(loop.recurrent_activation, of_h(0) + of_x(loop, at, 0));
    const float r = activate(loop.recurrent_activation, of_h(1) + of_x(loop, at, 1));
    float* saved = loop.workspace ? loop.workspace + at.cell * shape.saved * shape.units + at.unit : nullptr;
    if (shape.reset_after) {
      const float before = of_h(2);
      own[2 * shape.units] = r * before;
      if (saved) saved[4 * shape.units] = before;
    } else {
      reset[i] = r * loop.h_n[i] * at.factor(loop.factors, shape.factors > 1 ? 2 : 0);
    }
    own[0] = z;
    if (!saved) return;
    saved[0] = z;
    saved[shape.units] = r;
  });
}

__global__ void gru_update_step(StepShape shape, ForwardLoop loop, int64_t step, const float* sums, float* operands) {
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, step);
    const float* own = sums + at.row * 3 * shape.units + at.unit;
    const float candidate = activate(loop.activation, own[2 * shape.units] + of_x(loop, at, 2));
    const float h = loop.h_n[i];
    if (loop.workspace) {
      float* saved = loop.workspace + at.cell * shape.saved * shape.units + at.unit;
      saved[2 * shape.units] = candidate;
      saved[3 * shape.units] = h;
    }
    end_step(shape, loop, at, gru_blend(own[0], candidate, h), operands);
  });
}

__global__ void simple_rnn_forward_step(StepShape shape, ForwardLoop loop, int64_t step, const float* sums,
                                        float* operands) {
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, step);
    const float new_h = activate(loop.activation, sums[i] + of_x(loop, at, 0));
    if (loop.workspace) {
      float* saved = loop.workspace + at.cell * shape.saved * shape.units + at.unit;
      saved[0] = new_h;
      saved[shape.units] = loop.h_n[i];
    }
    end_step(shape, loop, at, new_h, operands);
  });
}

// In backward, dh0 has the part of h's gradient that comes through no product, and dc0 the gradient by c.
__global__ void begin_backward(StepShape shape, BackwardLoop loop, float* sums, float* doutput) {
  for_each_state(shape, [&](int64_t i) {
    const auto given = [&](const float* gradient) { return gradient ? gradient[i] : 0.0F; };
    loop.dh0[i] = given(loop.dh_n);
    if (loop.dc0) loop.dc0[i] = given(loop.dc_n);
    doutput[i] = given(loop.dlast_output);
    const int copies = shape.factors > 1 ? shape.factors : 1;
    for (int copy = 0; copy < copies; ++copy) sums[copy * shape.batch * shape.units + i] = 0.0F;
  });
}

__device__ inline float gradient_of_h(const StepShape& shape, const BackwardLoop& loop, const Place& at,
                                      const float* sums) {
  float gradient = loop.dh0[at.state];
  const int copies = shape.factors > 1 ? shape.factors : 1;
  for (int copy = 0; copy < copies; ++copy)
    gradient = fmaf(sums[copy * shape.batch * shape.units + at.state], at.factor(loop.factors, copy), gradient);
  return gradient;
}

// Calls body(at, saved, dz, dh) where the step is not masked. Where it is masked, dz is zero and the gradients are
// passed to the step before.
template <class Body>
__device__ inline void for_each_gradient(const StepShape& shape, const BackwardLoop& loop, int64_t step,
                                         const float* sums, float* doutputs, const Body& body) {
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, step);
    const float dh = gradient_of_h(shape, loop, at, sums);
    const float doutput = doutputs[i] + (loop.doutputs ? loop.doutputs[at.output] : 0.0F);
    float* dz = loop.dz + at.cell * shape.dz * shape.units + at.unit;
    if (at.on) {
      doutputs[i] = 0.0F;
      body(at, loop.workspace + at.cell * shape.saved * shape.units + at.unit, dz, dh + doutput);
      return;
    }
    for (int64_t g = 0; g < shape.dz; ++g) dz[g * shape.units] = 0.0F;
    loop.dh0[i] = dh;
    doutputs[i] = loop.zero_output_for_mask ? 0.0F : doutput;
  });
}

__global__ void lstm_backward_step(StepShape shape, BackwardLoop loop, int64_t step, const float* sums,
                                   float* doutputs) {
  const CellOptions options{loop.activation, loop.recurrent_activation};
  const int64_t units = shape.units;
  for_each_gradient(shape, loop, step, sums, doutputs, [&](const Place& at, const float* saved, float* dz, float dh) {
    const LstmGradients back = lstm_step_back(options, saved[0], saved[units], saved[2 * units], saved[3 * units],
                                              saved[5 * units], dh, loop.dc0[at.state]);
    for (int g = 0; g < 4; ++g) dz[g * units] = back.dz[g];
    loop.dc0[at.state] = back.dc_prev;
    loop.dh0[at.state] = 0.0F;
  });
}

__global__ void gru_update_backward_step(StepShape shape, BackwardLoop loop, int64_t step, const float* sums,
                                         float* doutputs) {
  const CellOptions options{loop.activation, loop.recurrent_activation};
  const int64_t units = shape.units;
  for_each_gradient(shape, loop, step, sums, doutputs, [&](const Place& at, const float* saved, float* dz, float dh) {
    const float r = saved[units];
    const GruUpdateGradients update = gru_update_back(options, saved[0], saved[2 * units], saved[3 * units], dh);
    dz[0] = update.dz;
    dz[2 * units] = update.dcandidate;
    loop.dh0[at.state] = update.dh_prev;
    if (!shape.reset_after) return;  // the gradient by r comes after a product
    dz[units] = gru_reset_back(options, r, saved[4 * units], update.dcandidate);
    dz[3 * units] = update.dcandidate * r;
  });
}

// `by_reset` is the gradient by r h, from the candidate's product.
__global__ void gru_reset_backward_step(StepShape shape, BackwardLoop loop, int64_t step, const float* by_reset) {
  const CellOptions options{loop.activation, loop.recurrent_activation};
  for_each_state(shape, [&](int64_t i) {
    const Place at(shape, loop, i, step);
    if (!at.on) return;
    const float* saved = loop.workspace + at.cell * shape.saved * shape.units + at.unit;
    const float r = saved[shape.units];
    const float gradient = by_reset[i] * at.factor(loop.factors, shape.factors > 1 ? 2 : 0);
    loop.dz[(at.cell * shape.dz + 1) * shape.units + at.unit] =
        gru_reset_back(options, r, saved[3 * shape.units], gradient);
    loop.dh0[i] = fmaf(gradient, r, loop.dh0[i]);
  });
}

__global__ void simple_rnn_backward_step(StepShape shape, BackwardLoop loop, int64_t step, const float* sums,
                                         float* doutputs) {
  for_each_gradient(shape, loop, step, sums, doutputs, [&](const Place& at, const float* saved, float* dz, float dh) {
    dz[0] = dh * slope(loop.activation, saved[0]);
    loop.dh0[at.state] = 0.0F;
  });
}

__global__ void end_backward(StepShape shape, BackwardLoop loop, const float* sums, const float* doutputs) {
  for_each_state(shape, [&](int64_t i) {
    const float by_output = loop.h0_as_first_output ? doutputs[i] : 0.0F;
    loop.dh0[i] = gradient_of_h(shape, loop, Place(shape, loop, i, 0), sums) + by_output;
  });
}

// The common data of all steps of a call.
class Stepwise {
 public:
  Stepwise(const RnnPlan& plan, const LoopArguments& loop, bool backward, Products& products, Stream stream)
      : shape(step_shape(plan)),
        groups(CellShape(plan.options).recurrent_groups(plan.recurrent_factors, backward)),
        cell(plan.options.cell),
        reset_before(CellShape(plan.options).resets_operand),
        states(shape.batch * shape.units),
        copies(shape.factors > 1 ? shape.factors : 1),
        recurrent_kernel_(loop.recurrent_kernel),
        products_(products),
        stream_(stream) {}

  template <class... Parameters, class... Arguments>
  Status run(void (*kernel)(Parameters...), const Arguments&... arguments) const {
    return launch("a step of the recurrent op", kernel, one_thread_for_each(states, kThreads), stream_, shape,
                  arguments...);
  }

  // Divides scratch into arrays (copies, B, U), (B, U) and the rest.
  std::array<float*, 3> divide(float* scratch) const {
    return {scratch, scratch + copies * states, scratch + (copies + 1) * states};
  }
  template <class Kernel>
  Kernel of_cell(Kernel lstm, Kernel gru, Kernel simple_rnn) const {
    return cell == Cell::kLstm ? lstm : cell == Cell::kGru ? gru : simple_rnn;
  }

  // Computes the sums (B, G U) of a group's gates.
  Status multiply(const GateGroup& group, const float* operand, float* sums) const {
    const int64_t columns = shape.gates * shape.units;
    return products_.multiply(shape.batch, group.count * shape.units, shape.units, {operand, shape.units},
                              {recurrent_kernel_ + group.first * shape.units, columns}, 0,
                              sums + group.first * shape.units, columns);
  }
  // Sets the sums (B, U) to the gradient by h through a group's gates, or adds it to them. `dz` is that of one
  // timestep.
  Status multiply_back(const GateGroup& group, const float* dz, bool add, float* sums) const {
    const int64_t width = shape.dz * shape.units;
    return products_.multiply(shape.batch, shape.units, group.count * shape.units,
                              {dz + group.dz_first * shape.units, shape.timesteps * width},
                              {recurrent_kernel_ + group.first * shape.units, shape.gates * shape.units, true},
                              add ? 1.0F : 0.0F, sums, shape.units);
  }

  const StepShape shape;
  const GateGroups groups;
  const Cell cell;
  const bool reset_before;
  const int64_t states;  // B U
  const int64_t copies;

 private:
  const float* recurrent_kernel_;
  Products& products_;
  Stream stream_;
};

}  // namespace

int64_t stepwise_scratch(const RnnPlan& plan, bool backward) {
  const int64_t states = plan.dims.batch * plan.dims.units;
  const int64_t copies = plan.recurrent_factors > 1 ? plan.recurrent_factors : 1;
  return states * (copies + 1 + (backward ? 1 : plan.dims.gates));
}

Status stepwise_forward(const RnnPlan& plan, const ForwardLoop& loop, Products& products, float* scratch,
                        Stream stream) {
  const Stepwise steps(plan, loop, false, products, stream);
  const auto [operands, reset, sums] = steps.divide(scratch);
  FASTSEQ_RETURN_IF_ERROR(steps.run(begin_forward, loop, operands));
  for (int64_t step = 0; step < steps.shape.timesteps; ++step) {
    const GateGroup* candidate = nullptr;
    for (const GateGroup& group : steps.groups) {
      if (group.reset)
        candidate = &group;
      else
        FASTSEQ_RETURN_IF_ERROR(
            steps.multiply(group, operands + (steps.copies > 1 ? group.first : 0) * steps.states, sums));
    }
    if (steps.cell == Cell::kGru) FASTSEQ_RETURN_IF_ERROR(steps.run(gru_reset_step, loop, step, sums, reset));
    if (candidate) FASTSEQ_RETURN_IF_ERROR(steps.multiply(*candidate, reset, sums));
    FASTSEQ_RETURN_IF_ERROR(steps.run(steps.of_cell(lstm_forward_step, gru_update_step, simple_rnn_forward_step), loop,
                                      step, sums, operands));
  }
  return {};
}

Status stepwise_backward(const RnnPlan& plan, const BackwardLoop& loop, Products& products, float* scratch,
                         Stream stream) {
  const Stepwise steps(plan, loop, true, products, stream);
  const auto [sums, doutputs, by_reset] = steps.divide(scratch);
  FASTSEQ_RETURN_IF_ERROR(steps.run(begin_backward, loop, sums, doutputs));
  for (int64_t step = steps.shape.timesteps - 1; step >= 0; --step) {
    const int64_t time = loop.go_backwards ? steps.shape.timesteps - 1 - step : step;
    const float* dz = loop.dz + time * steps.shape.dz * steps.shape.units;
    FASTSEQ_RETURN_IF_ERROR(
        steps.run(steps.of_cell(lstm_backward_step, gru_update_backward_step, simple_rnn_backward_step), loop, step,
                  sums, doutputs));
    for (const GateGroup& group : steps.groups) {
      if (!group.reset) continue;
      FASTSEQ_RETURN_IF_ERROR(steps.multiply_back(group, dz, false, by_reset));
      FASTSEQ_RETURN_IF_ERROR(steps.run(gru_reset_backward_step, loop, step, by_reset));
    }
    bool add = false;
    for (const GateGroup& group : steps.groups) {
      const int64_t copy = steps.copies > 1 ? group.first : 0;
      if (group.reset) continue;
      FASTSEQ_RETURN_IF_ERROR(steps.multiply_back(group, dz, add && copy == 0, sums + copy * steps.states));
      add = true;
    }
  }
  return steps.run(end_backward, loop, sums, doutputs);
}

}  // namespace fastseq::cuda

// LSTM, GRU and SimpleRNN beside simple loops; their gradients beside finite differences of these loops.
#include "fastseq/rnn.h"

#include "check.h"

namespace fastseq::test {
namespace {

struct Problem {
  int64_t batch, timesteps, inputs, units;
  RnnOptions options;
  bool masked;

  int64_t gates() const { return options.cell == Cell::kLstm ? 4 : options.cell == Cell::kGru ? 3 : 1; }
  bool lstm() const { return options.cell == Cell::kLstm; }
  bool two_biases() const { return options.cell == Cell::kGru && options.reset_after; }
};

// All that an RNN reads, in float64, by name: what finite differences change.
struct Values {
  std::vector<double> x, kernel, recurrent_kernel, bias, h0, c0;
  std::vector<uint8_t> mask;

  explicit Values(const Problem& p) : mask(static_cast<size_t>(p.batch * p.timesteps), 1) {
    Random random(13);
    const auto fill = [&](std::vector<double>& values, int64_t count) {
      values.resize(static_cast<size_t>(count));
      for (double& value : values) value = static_cast<double>(random.number());
    };
    fill(x, p.batch * p.timesteps * p.inputs);
    fill(kernel, p.inputs * p.gates() * p.units);
    fill(recurrent_kernel, p.units * p.gates() * p.units);
    fill(bias, (p.two_biases() ? 2 : 1) * p.gates() * p.units);
    fill(h0, p.batch * p.units);
    fill(c0, p.lstm() ? p.batch * p.units : 0);
    if (p.masked)
      for (uint8_t& step : mask) step = random.below(3) > 0;
  }
  std::vector<std::vector<double>*> all() { return {&x, &kernel, &recurrent_kernel, &bias, &h0, &c0}; }
};

double sigmoid(double value) { return 1.0 / (1.0 + std::exp(-value)); }

// The outputs (B, T, U), with tanh and sigmoid, by the formulas of fastseq/rnn.h; the last states in h and c (B, U).
struct Loops {
  std::vector<double> outputs, h, c;

  Loops(const Problem& p, const Values& v)
      : outputs(static_cast<size_t>(p.batch * p.timesteps * p.units)), h(v.h0), c(v.c0) {
    const int64_t units = p.units;
    const int64_t columns = p.gates() * units;
    for (int64_t b = 0; b < p.batch; ++b)
      for (int64_t step = 0; step < p.timesteps; ++step) {
        const int64_t t = p.options.go_backwards ? p.timesteps - 1 - step : step;
        double* out = outputs.data() + (b * p.timesteps + step) * units;
        if (!v.mask[static_cast<size_t>(b * p.timesteps + t)]) {
          if (p.options.zero_output_for_mask) continue;
          for (int64_t u = 0; u < units; ++u)
            out[u] = step > 0                       ? out[u - units]
                     : p.options.h0_as_first_output ? v.h0[static_cast<size_t>(b * units + u)]
                                                    : 0;
          continue;
        }
        const std::vector<double> before(h.begin() + b * units, h.begin() + (b + 1) * units);
        // Of a column: the inputs' part, with bias, and that of `state`.
        const auto input = [&](int64_t column) {
          double sum = v.bias[static_cast<size_t>(column)];
          for (int64_t d = 0; d < p.inputs; ++d)
            sum += v.x[static_cast<size_t>((b * p.timesteps + t) * p.inputs + d)] *
                   v.kernel[static_cast<size_t>(d * columns + column)];
          return sum;
        };
        const auto recurrent = [&](int64_t column, const std::vector<double>& state) {
          double sum = p.two_biases() ? v.bias[static_cast<size_t>(columns + column)] : 0.0;
          for (int64_t u = 0; u < units; ++u)
            sum += state[static_cast<size_t>(u)] * v.recurrent_kernel[static_cast<size_t>(u * columns + column)];
          return sum;
        };
        const auto z = [&](int64_t gate, int64_t u) {
          return input(gate * units + u) + recurrent(gate * units + u, before);
        };
        std::vector<double> reset(before);
        for (int64_t u = 0; u < units && p.options.cell == Cell::kGru; ++u)
          reset[static_cast<size_t>(u)] *= sigmoid(z(1, u));
        for (int64_t u = 0; u < units; ++u) {
          const auto at = static_cast<size_t>(b * units + u);
          switch (p.options.cell) {
            case Cell::kLstm:
              c[at] = sigmoid(z(1, u)) * c[at] + sigmoid(z(0, u)) * std::tanh(z(2, u));
              h[at] = sigmoid(z(3, u)) * std::tanh(c[at]);
              break;
            case Cell::kGru: {
              const double n = p.options.reset_after ? sigmoid(z(1, u)) * recurrent(2 * units + u, before)
                                                     : recurrent(2 * units + u, reset);
              const double update = sigmoid(z(0, u));
              h[at] = update * before[static_cast<size_t>(u)] + (1.0 - update) * std::tanh(input(2 * units + u) + n);
              break;
            }
            case Cell::kSimpleRnn:
              h[at] = std::tanh(z(0, u));
              break;
          }
          out[u] = h[at];
        }
      }
  }
};

// What forward and backward return, and the outputs' gradients, which are weights of a loss: the sum of these times
// outputs and states.
template <class T>
struct Results {
  Arrays arrays;
  RnnOutputs out;
  RnnGradients gradients;
  RnnOutputGradients weights;
};

template <class T>
Results<T> run(const Problem& p, const Values& v) {
  Arrays inputs;
  const auto input = [&](const char* name, const std::vector<double>& values, const std::vector<int64_t>& shape) {
    const Array array = inputs.make(name, kDType<T>, shape);
    for (size_t i = 0; i < values.size(); ++i) array.as<T>()[i] = static_cast<T>(values[i]);
    return array;
  };
  const int64_t columns = p.gates() * p.units;
  const std::vector<int64_t> bias_shape =
      p.two_biases() ? std::vector<int64_t>{2, columns} : std::vector<int64_t>{columns};
  const std::vector<int64_t> state{p.batch, p.units};
  const std::vector<int64_t> sequence{p.batch, p.timesteps, p.units};
  RnnInputs in;
  in.x = input("x", v.x, {p.batch, p.timesteps, p.inputs});
  in.kernel = input("kernel", v.kernel, {p.inputs, columns});
  in.recurrent_kernel = input("recurrent_kernel", v.recurrent_kernel, {p.units, columns});
  in.bias = input("bias", v.bias, bias_shape);
  in.h0 = input("h0", v.h0, state);
  if (p.lstm()) in.c0 = input("c0", v.c0, state);
  if (p.masked) {
    in.mask = inputs.make("mask", DType::kBool, {p.batch, p.timesteps});
    for (size_t i = 0; i < v.mask.size(); ++i) in.mask.as<uint8_t>()[i] = v.mask[i];
  }
  inputs.make_read_only();

  Results<T> results;
  const auto result = [&](const char* name, const std::vector<int64_t>& shape) {
    return results.arrays.make(name, kDType<T>, shape);
  };
  results.out.outputs = result("outputs", sequence);
  results.out.last_output = result("last_output", state);
  results.out.h_n = result("h_n", state);
  if (p.lstm()) results.out.c_n = result("c_n", state);
  results.out.workspace = result("workspace", {p.batch, p.timesteps, rnn_workspace_width(p.options, p.units)});
  RnnPlan plan;
  require(rnn_plan_forward(in, p.options, &plan));
  const GuardedMemory forward_scratch(plan.scratch_bytes);
  require(rnn_forward(plan, in, results.out, forward_scratch.data()));

  Random random(17);
  results.weights.doutputs = random_numbers<T>(results.arrays, random, "doutputs", sequence);
  results.weights.dh_n = random_numbers<T>(results.arrays, random, "dh_n", state);
  if (p.lstm()) results.weights.dc_n = random_numbers<T>(results.arrays, random, "dc_n", state);
  results.gradients.dx = result("dx", {p.batch, p.timesteps, p.inputs});
  results.gradients.dkernel = result("dkernel", {p.inputs, columns});
  results.gradients.drecurrent_kernel = result("drecurrent_kernel", {p.units, columns});
  results.gradients.dbias = result("dbias", bias_shape);
  results.gradients.dh0 = result("dh0", state);
  if (p.lstm()) results.gradients.dc0 = result("dc0", state);
  require(rnn_plan_backward(in, p.options, &plan));
  const GuardedMemory scratch(plan.scratch_bytes);
  const auto backward = [&](const RnnGradients& gradients) {
    require(rnn_backward(plan, in, results.out.workspace, results.weights, gradients, scratch.data()));
  };
  backward(results.gradients);
  using Some = RnnGradients;
  check_alone(results.arrays, results.gradients, {&Some::dx, &Some::dh0, &Some::dc0}, backward);
  check_alone(results.arrays, results.gradients,
              {&Some::dkernel, &Some::drecurrent_kernel, &Some::dbias, &Some::dh0, &Some::dc0}, backward);
  return results;
}

template <class T>
void check_forward(const Problem& p) {
  const Values values(p);
  const Loops loops(p, values);
  const Results<T> results = run<T>(p, values);
  const double tolerance = sizeof(T) == 8 ? 1e-12 : 1e-5;
  for (size_t i = 0; i < loops.outputs.size(); ++i)
    CHECK_NEAR(results.out.outputs.template as<T>(), static_cast<int64_t>(i), loops.outputs[i], tolerance);
  for (size_t i = 0; i < loops.h.size(); ++i)
    CHECK_NEAR(results.out.h_n.template as<T>(), static_cast<int64_t>(i), loops.h[i], tolerance);
  for (size_t i = 0; i < loops.c.size(); ++i)
    CHECK_NEAR(results.out.c_n.template as<T>(), static_cast<int64_t>(i), loops.c[i], tolerance);
}

void check_backward(const Problem& p) {
  Values values(p);
  const Results<double> results = run<double>(p, values);
  const auto loss = [&] {
    const Loops loops(p, values);
    double sum = 0.0;
    const auto add = [&](const std::vector<double>& of, const Array& weights) {
      for (size_t i = 0; i < of.size(); ++i) sum += of[i] * weights.as<double>()[i];
    };
    add(loops.outputs, results.weights.doutputs);
    add(loops.h, results.weights.dh_n);
    add(loops.c, results.weights.dc_n);
    return sum;
  };
  const RnnGradients& g = results.gradients;
  const Array gradients[] = {g.dx, g.dkernel, g.drecurrent_kernel, g.dbias, g.dh0, g.dc0};
  constexpr double kStep = 1e-5;
  const Array* gradient = gradients;
  for (std::vector<double>* changed : values.all()) {
    for (size_t i = 0; i < changed->size(); ++i) {
      double& value = (*changed)[i];
      const double before = value;
      value = before + kStep;
      const double above = loss();
      value = before - kStep;
      const double below = loss();
      value = before;
      CHECK_NEAR(gradient->as<double>(), static_cast<int64_t>(i), (above - below) / (2.0 * kStep), 1e-8);
    }
    ++gradient;
  }
}

std::vector<RnnOptions> cells() {
  RnnOptions lstm, gru, gru_before, simple;
  gru.cell = gru_before.cell = Cell::kGru;
  gru_before.reset_after = false;
  simple.cell = Cell::kSimpleRnn;
  return {lstm, gru, gru_before, simple};
}

TEST(forward_is_its_definition) {
  on_every_isa([] {
    for (RnnOptions options : cells())
      for (const bool masked : {false, true}) {
        options.go_backwards = masked;
        check_forward<float>({3, 6, 5, 19, options, masked});
        check_forward<double>({3, 6, 5, 7, options, masked});
        options.h0_as_first_output = true;
        check_forward<float>({3, 6, 5, 19, options, masked});
        options.zero_output_for_mask = true;
        check_forward<float>({1, 4, 1, 1, options, masked});
        check_forward<float>({0, 4, 2, 3, options, masked});
        check_forward<float>({2, 0, 2, 3, options, masked});
        check_forward<float>({2, 4, 0, 3, options, masked});
      }
  });
}

TEST(backward_is_the_derivative_of_forward) {
  for (RnnOptions options : cells())
    for (const bool masked : {false, true}) {
      options.go_backwards = !masked;
      options.zero_output_for_mask = masked;
      check_backward({2, 3, 2, 3, options, masked});
      check_backward({1, 1, 1, 1, options, masked});
      options.zero_output_for_mask = false;
      options.h0_as_first_output = true;
      check_backward({2, 3, 2, 3, options, masked});
    }
}

TEST(nothing_takes_no_time) {
  Arrays arrays;
  RnnInputs in;
  in.x = shaped(DType::kFloat32, {0, int64_t{1} << 42, 1});
  in.kernel = arrays.make("kernel", DType::kFloat32, {1, 8});
  in.recurrent_kernel = arrays.make("recurrent_kernel", DType::kFloat32, {2, 8});
  RnnOutputs out;
  out.last_output = out.h_n = out.c_n = shaped(DType::kFloat32, {0, 2});
  RnnPlan plan;
  require(rnn_plan_forward(in, {}, &plan));
  const GuardedMemory scratch(plan.scratch_bytes);
  require(rnn_forward(plan, in, out, scratch.data()));
}

TEST(arrays_that_do_not_fit_are_named) {
  RnnInputs in;
  in.x = shaped(DType::kFloat32, {2, 3, 4});
  in.kernel = shaped(DType::kFloat32, {4, 20});
  in.recurrent_kernel = shaped(DType::kFloat32, {5, 20});
  RnnPlan plan;
  require(rnn_plan_forward(in, {}, &plan));
  RnnOptions gru;
  gru.cell = Cell::kGru;
  CHECK_INVALID(rnn_plan_forward(in, gru, &plan), "recurrent_kernel must have shape (5, 15), got (5, 20)");
  in.mask = shaped(DType::kUInt8, {2, 3});
  CHECK_DTYPE(rnn_plan_forward(in, {}, &plan), "mask must have dtype bool, got uint8");
  in.mask = {};
  in.dropout_mask = shaped(DType::kFloat32, {2, 2, 4});
  CHECK_INVALID(rnn_plan_forward(in, {}, &plan), "dropout_mask must have shape (1 or 4, 2, 4), got (2, 2, 4)");
  in.dropout_mask = {};
  in.kernel = shaped(DType::kFloat32, {4, 5});
  in.recurrent_kernel = shaped(DType::kFloat32, {5, 5});
  RnnOptions simple;
  simple.cell = Cell::kSimpleRnn;
  in.c0 = shaped(DType::kFloat32, {2, 5});
  CHECK_INVALID(rnn_plan_forward(in, simple, &plan), "c0 is the state of an LSTM; this cell has only h0");
  in.recurrent_kernel = shaped(DType::kFloat32, {0, 0});
  CHECK_INVALID(rnn_plan_forward(in, simple, &plan), "recurrent_kernel must have at least 1 unit, got 0");
}

}  // namespace
}  // namespace fastseq::test

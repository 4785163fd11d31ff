// The recurrent ops, the convolution, pooling and dropout with a fixed list of random calls. It does not use Python, so
// that it runs on any machine for which the core compiles, or on an emulator, with nothing else installed.
//
// All ISAs of the machine and several numbers of threads must give the same bits as the scalar kernels on one thread.
// For every call it prints a line with the call and its results, a hash in float32 and sums in float64.
// tests/test_cross.py compares the lines of different architectures. The random numbers are made from integers, so that
// they are the same.
//
// All arrays end at a page without access, so that any read or write past them stops the test. Inputs are read-only.
// The memory before an output must not change. Outputs, workspace and scratch are filled with NaN before a call.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "fastseq/conv1d.h"
#include "fastseq/dropout.h"
#include "fastseq/names.h"
#include "fastseq/pool.h"
#include "fastseq/rnn.h"
#include "fastseq/runtime.h"
#include "guarded_arrays.h"

namespace {

using namespace fastseq;
using namespace fastseq::test;

struct Size {
  int64_t batch, timesteps, inputs, units;
};

// A call. What is not told by it follows from its seed.
struct Call {
  Size size;
  RnnOptions options;
  uint64_t seed;
  bool masked = false;
  bool sequences = true;
  bool bias = true;
  bool states = true;
  bool any_bias = false;  // of any bits, NaNs too
  bool parallel = false;  // large enough for several threads
  int dropout = 0;        // the first dimension of dropout_mask; 0: none
  int recurrent_dropout = 0;

  int gates() const { return options.cell == Cell::kLstm ? 4 : options.cell == Cell::kGru ? 3 : 1; }
  std::string text() const;
};

std::string Call::text() const {
  const bool gru = options.cell == Cell::kGru;
  std::string text = options.cell == Cell::kLstm ? "lstm" : gru ? "gru" : "simple_rnn";
  if (gru) text += options.reset_after ? " reset_after" : " reset_before";
  for (const int64_t length : {size.batch, size.timesteps, size.inputs, size.units})
    text += " " + std::to_string(length);
  text += std::string(" ") + names_from(options.activation).front() + " " +
          names_from(options.recurrent_activation).front();
  if (options.go_backwards) text += " go_backwards";
  if (masked) text += options.zero_output_for_mask ? " masked zero_output" : " masked";
  if (!sequences) text += " last_output";
  if (!bias) text += " no_bias";
  if (!states) text += " no_states";
  if (any_bias) text += " any_bias";
  if (dropout) text += " dropout " + std::to_string(dropout);
  if (recurrent_dropout) text += " recurrent_dropout " + std::to_string(recurrent_dropout);
  return text;
}

template <class T>
struct Inputs {
  Arrays arrays;
  RnnInputs in;
  RnnOutputGradients gradients;

  explicit Inputs(const Call& call) : random_(call.seed) {
    const auto [batch, timesteps, inputs, units] = call.size;
    const int64_t columns = call.gates() * units;
    // Relu and linear states must not grow without limit.
    const bool bounded = call.options.activation != Activation::kRelu && call.options.activation != Activation::kLinear;
    // Beside biases of any number, products underflow: sums of a bias of -0 then stay -0.
    const float spread = call.any_bias ? 1e-30F : bounded ? 1.75F : 0.5F;
    in.x = numbers("x", {batch, timesteps, inputs}, spread);
    in.kernel = numbers("kernel", {inputs, columns}, spread / root(inputs));
    in.recurrent_kernel = numbers("recurrent_kernel", {units, columns}, spread / root(units));
    if (call.bias) {
      const bool two = call.options.cell == Cell::kGru && call.options.reset_after;
      in.bias = two ? numbers("bias", {2, columns}, spread) : numbers("bias", {columns}, spread);
      for (int64_t i = 0; call.any_bias && i < columns; ++i) {
        T* bias = in.bias.template as<T>() + i;
        *bias = static_cast<T>(random_.any());
        if (two) bias[columns] = *bias;
      }
    }
    const bool lstm = call.options.cell == Cell::kLstm;
    if (call.states) {
      in.h0 = numbers("h0", {batch, units}, spread);
      if (lstm) in.c0 = numbers("c0", {batch, units}, spread);
      gradients.dh_n = numbers("dh_n", {batch, units}, spread);
      if (lstm) gradients.dc_n = numbers("dc_n", {batch, units}, spread);
      gradients.dlast_output = numbers("dlast_output", {batch, units}, spread);
    }
    if (call.sequences) gradients.doutputs = numbers("doutputs", {batch, timesteps, units}, spread);
    if (call.masked) {
      in.mask = arrays.make("mask", DType::kBool, {batch, timesteps});
      for (int64_t i = 0; i < batch * timesteps; ++i) in.mask.template as<uint8_t>()[i] = random_.below(10) < 6;
    }
    if (call.dropout) in.dropout_mask = factors("dropout_mask", {call.dropout, batch, inputs});
    if (call.recurrent_dropout)
      in.recurrent_dropout_mask = factors("recurrent_dropout_mask", {call.recurrent_dropout, batch, units});
    arrays.make_read_only();
  }

 private:
  static float root(int64_t width) { return std::sqrt(static_cast<float>(width > 0 ? width : 1)); }

  Array numbers(const char* name, std::initializer_list<int64_t> shape, float spread) {
    return filled(name, shape, [&] { return random_.number() * spread; });
  }
  Array factors(const char* name, std::initializer_list<int64_t> shape) {
    return filled(name, shape, [&] { return random_.below(10) < 7 ? 1.5F : 0.0F; });
  }
  template <class Number>
  Array filled(const char* name, std::initializer_list<int64_t> shape, const Number& number) {
    const Array array = arrays.make(name, kDType<T>, shape);
    const Arrays::Named& named = arrays.all().back();
    for (size_t i = 0; i < named.size; ++i) array.as<T>()[i] = static_cast<T>(number());
    return array;
  }

  Random random_;
};

// All that forward and backward return.
template <class T>
Arrays run(const Call& call, const Inputs<T>& inputs) {
  const auto [batch, timesteps, width, units] = call.size;
  const int64_t columns = call.gates() * units;
  const DType dtype = kDType<T>;
  Arrays results;
  Arrays between;
  RnnOutputs out;
  if (call.sequences) out.outputs = results.make("outputs", dtype, {batch, timesteps, units});
  out.last_output = results.make("last_output", dtype, {batch, units});
  out.h_n = results.make("h_n", dtype, {batch, units});
  RnnGradients gradients;
  gradients.dx = results.make("dx", dtype, {batch, timesteps, width});
  gradients.dkernel = results.make("dkernel", dtype, {width, columns});
  gradients.drecurrent_kernel = results.make("drecurrent_kernel", dtype, {units, columns});
  if (call.bias)
    gradients.dbias = call.options.cell == Cell::kGru && call.options.reset_after
                          ? results.make("dbias", dtype, {2, columns})
                          : results.make("dbias", dtype, {columns});
  gradients.dh0 = results.make("dh0", dtype, {batch, units});
  if (call.options.cell == Cell::kLstm) {
    out.c_n = results.make("c_n", dtype, {batch, units});
    gradients.dc0 = results.make("dc0", dtype, {batch, units});
  }
  out.workspace = between.make("workspace", dtype, {batch, timesteps, rnn_workspace_width(call.options, units)});

  RnnPlan plan;
  require(rnn_plan_forward(inputs.in, call.options, &plan));
  if (call.parallel && num_threads() > 1 && plan.row_groups * plan.unit_groups == 1) fail("too small for threads");
  const GuardedMemory forward_scratch(plan.scratch_bytes);
  require(rnn_forward(plan, inputs.in, out, forward_scratch.data()));
  between.make_read_only();
  require(rnn_plan_backward(inputs.in, call.options, &plan));
  const GuardedMemory backward_scratch(plan.scratch_bytes);
  require(rnn_backward(plan, inputs.in, out.workspace, inputs.gradients, gradients, backward_scratch.data()));

  if (!forward_scratch.clean_before() || !backward_scratch.clean_before()) fail("written before the scratch");
  for (const Arrays* arrays : {&results, &between})
    for (const Arrays::Named& named : arrays->all())
      if (!named.memory->clean_before()) fail("written before " + named.name);
  return results;
}

// The sign and payload of a NaN differ between architectures, and with the order of operands.
uint64_t bits_of(float value) {
  if (std::isnan(value)) value = std::nanf("");
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
uint64_t bits_of(double value) {
  if (std::isnan(value)) value = std::nan("");
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

template <class T>
void require_same(const Arrays& got, const Arrays& expected, const std::string& how) {
  for (size_t a = 0; a < expected.all().size(); ++a) {
    const Arrays::Named& named = expected.all()[a];
    for (size_t i = 0; i < named.size; ++i) {
      const T x = got.all()[a].array.template as<T>()[i];
      const T y = named.array.template as<T>()[i];
      if (bits_of(x) != bits_of(y))
        fail(named.name + "[" + std::to_string(i) + "] is " + std::to_string(x) + " with " + how + ", " +
             std::to_string(y) + " with scalar on 1 thread");
    }
  }
}

// No poison is left or has spread.
template <class T>
void require_numbers(const Arrays& results) {
  for (const Arrays::Named& named : results.all())
    for (size_t i = 0; i < named.size; ++i)
      if (std::isnan(named.array.template as<T>()[i])) fail(named.name + "[" + std::to_string(i) + "] is NaN");
}

// What `run` gives with the scalar kernels on one thread, once it has given it on all `isas` and several threads too.
template <class T, class Run>
Arrays run_everywhere(const std::vector<std::string>& isas, const Run& run) {
  const auto run_on = [&](const std::string& isa, int threads) {
    require(set_isa(isa));
    require(set_num_threads(threads));
    return run();
  };
  Arrays expected = run_on("scalar", 1);
  for (const std::string& isa : isas)
    for (const int threads : {1, 3})
      if (threads > 1 || isa != "scalar")
        require_same<T>(run_on(isa, threads), expected, isa + " on " + std::to_string(threads) + " threads");
  return expected;
}

// Fowler, Noll and Vo's hash (FNV-1a), of elements.
uint64_t hash(const Arrays& results) {
  uint64_t hash = 0xCBF29CE484222325U;
  for (const Arrays::Named& named : results.all())
    for (size_t i = 0; i < named.size; ++i) hash = (hash ^ bits_of(named.array.as<float>()[i])) * 0x100000001B3U;
  return hash;
}

// A sum with random weights, and that of the magnitudes. The C library's exp and tanh of float64 differ between
// architectures in the last bits.
void print_sums(const Arrays& results) {
  Random random(1);
  double sum = 0.0;
  double magnitude = 0.0;
  for (const Arrays::Named& named : results.all())
    for (size_t i = 0; i < named.size; ++i) {
      const double value = named.array.as<double>()[i];
      sum += value * static_cast<double>(random.number());
      magnitude += std::fabs(value);
    }
  std::printf(" float64 %.17g %.17g", sum, magnitude);
}

template <class T>
Arrays run_everywhere(const Call& call, const std::vector<std::string>& isas) {
  const Inputs<T> inputs(call);
  Arrays results = run_everywhere<T>(isas, [&] { return run<T>(call, inputs); });
  if (!call.any_bias) require_numbers<T>(results);
  return results;
}

void check(const Call& call) {
  std::printf("%s:", call.text().c_str());
  std::fflush(stdout);  // a call that crashes is the last one named
  std::printf(" float32 %016llx", static_cast<unsigned long long>(hash(run_everywhere<float>(call, available_isas()))));
  // All ISAs have the same kernels for float64, which take their time.
  if (!call.any_bias && !call.parallel) print_sums(run_everywhere<double>(call, {"scalar"}));
  std::printf("\n");
}

Call random_call(const RnnOptions& variant, const Size& size, Random& random) {
  constexpr Activation kActivations[] = {Activation::kTanh, Activation::kSigmoid, Activation::kHardSigmoid,
                                         Activation::kRelu, Activation::kLinear};
  Call call{size, variant, random.next()};
  // Half of them Keras's default pair, which has code of its own.
  if (random.coin()) {
    call.options.activation = kActivations[random.below(5)];
    call.options.recurrent_activation = kActivations[random.below(3)];
  }
  const auto factors = [&] {
    const int64_t choice = random.below(4);
    return choice < 2 ? 0 : choice == 2 ? 1 : call.gates();
  };
  call.masked = random.coin();
  call.options.go_backwards = random.coin();
  call.options.zero_output_for_mask = random.coin();
  call.options.h0_as_first_output = random.coin();
  call.sequences = random.coin();
  call.bias = random.below(4) > 0;
  call.states = random.below(4) > 0;
  call.dropout = factors();
  call.recurrent_dropout = factors();
  return call;
}

// --- pooling ---------------------------------------------------------------------------------------------------------

// Both ways to pool, forward and backward; the maximum of floats of any bits.
Arrays run_pool(const PoolOptions& options, const Array& any, const Array& numbers, const Array& doutputs) {
  const int64_t batch = any.shape[0];
  const int64_t channels = any.shape[2];
  const int64_t pooled = doutputs.shape[1];
  Arrays results;
  Arrays between;
  const auto make = [&](const char* name, int64_t rows) {
    return results.make(name, DType::kFloat32, {batch, rows, channels});
  };
  const Array maxima = make("maxima", pooled);
  const Array dany = make("dany", any.shape[1]);
  const Array averages = make("averages", pooled);
  const Array dnumbers = make("dnumbers", numbers.shape[1]);
  const Array positions = make("positions", pooled);
  const Array maxima_or_nan = make("maxima_or_nan", pooled);
  const Array positions_or_nan = make("positions_or_nan", pooled);
  const DType index = max_pool_index_dtype(options.pool_size);
  const Array argmax = between.make("argmax", index, {batch, pooled, channels});
  const Array argmax_or_nan = between.make("argmax_or_nan", index, {batch, pooled, channels});
  PoolPlan plan;
  PoolOptions propagating = options;
  propagating.propagate_nan = true;
  require(pool_plan_forward(any, propagating, &plan));
  require(max_pool_forward(plan, any, maxima_or_nan, argmax_or_nan));
  require(pool_plan_forward(any, options, &plan));
  require(max_pool_forward(plan, any, maxima, argmax));
  require(average_pool_forward(plan, numbers, averages));
  between.make_read_only();
  require(pool_plan_backward(doutputs, any.shape[1], options, &plan));
  require(max_pool_backward(plan, argmax, doutputs, dany));
  require(average_pool_backward(plan, doutputs, dnumbers));
  const auto position = [&](const Array& of, int64_t i) {
    return static_cast<float>(index == DType::kUInt8 ? of.as<uint8_t>()[i] : of.as<uint16_t>()[i]);
  };
  for (int64_t i = 0; i < batch * pooled * channels; ++i) {
    positions.as<float>()[i] = position(argmax, i);
    positions_or_nan.as<float>()[i] = position(argmax_or_nan, i);
    float& maximum = maxima_or_nan.as<float>()[i];
    if (std::isnan(maximum)) maximum = 0.5F;  // NaNs have any sign and payload
  }
  for (const Arrays* arrays : {&results, &between})
    for (const Arrays::Named& named : arrays->all())
      if (!named.memory->clean_before()) fail("written before " + named.name);
  return results;
}

void check_pool(int64_t batch, int64_t timesteps, int64_t channels, const PoolOptions& options, Random& random) {
  std::printf("pool %lld %lld %lld of %lld by %lld%s:", static_cast<long long>(batch),
              static_cast<long long>(timesteps), static_cast<long long>(channels),
              static_cast<long long>(options.pool_size), static_cast<long long>(options.strides),
              options.padding == Padding::kSame ? " same" : "");
  std::fflush(stdout);
  int64_t pooled = 0;
  require(pooled_timesteps(options, timesteps, &pooled));
  Arrays inputs;
  const auto filled = [&](const char* name, int64_t rows, bool any) {
    const Array array = inputs.make(name, DType::kFloat32, {batch, rows, channels});
    for (int64_t i = 0; i < batch * rows * channels; ++i) array.as<float>()[i] = any ? random.any() : random.number();
    return array;
  };
  const Array any = filled("any", timesteps, true);
  const Array numbers = filled("numbers", timesteps, false);
  const Array doutputs = filled("doutputs", pooled, false);
  inputs.make_read_only();
  const Arrays results =
      run_everywhere<float>(available_isas(), [&] { return run_pool(options, any, numbers, doutputs); });
  require_numbers<float>(results);
  std::printf(" float32 %016llx\n", static_cast<unsigned long long>(hash(results)));
}

void check_pooling(Random& random) {
  for (int64_t channels = 0; channels <= 36; ++channels) {
    const Padding padding = random.coin() ? Padding::kSame : Padding::kValid;
    const PoolOptions options{1 + random.below(9), 1 + random.below(9), padding};
    const int64_t batch = 1 + random.below(3);
    check_pool(batch, 9 + random.below(9), channels, options, random);
  }
  // Positions of two bytes; work for several threads, whose shares cut windows.
  check_pool(1, 700, 21, {300, 70, Padding::kSame}, random);
  for (const int64_t strides : {1, 4, 7}) check_pool(3, 700, 77, {4, strides, Padding::kSame}, random);
}

// --- the convolution -------------------------------------------------------------------------------------------------

struct ConvolutionSize {
  int64_t batch, timesteps, channels, filters, width;  // channels and filters of each group
};

struct Convolution {
  ConvolutionSize size;
  Conv1dOptions options;
  bool bias;
  uint64_t seed;
  bool parallel = false;  // large enough for several threads

  std::string text() const {
    constexpr const char* kPadding[] = {"valid", "same", "causal"};
    std::string text = "conv1d";
    for (const int64_t length : {size.batch, size.timesteps, size.channels, size.filters, size.width, options.strides,
                                 options.dilation_rate, options.groups})
      text += " " + std::to_string(length);
    text +=
        std::string(" ") + kPadding[static_cast<int>(options.padding)] + " " + names_from(options.activation).front();
    if (!bias) text += " no_bias";
    if (!options.pooled) return text;
    return text + " pool of " + std::to_string(options.pool.pool_size) + " by " + std::to_string(options.pool.strides) +
           " " + kPadding[static_cast<int>(options.pool.padding)];
  }
};

// All that forward and backward return, `positions` as numbers.
template <class T>
Arrays run_convolution(const Convolution& call, const Conv1dInputs& in, const Array& doutputs) {
  Conv1dPlan plan;
  require(conv1d_plan_forward(in, call.options, &plan));
  if (call.parallel && num_threads() > 1 && plan.threads == 1) fail("too small for threads");
  const Conv1dDims& d = plan.dims;
  Arrays results;
  Arrays between;
  Conv1dOutputs out;
  out.outputs = results.make("outputs", kDType<T>, {d.batch, d.outputs, d.filters});
  Conv1dGradients gradients;
  gradients.dx = results.make("dx", kDType<T>, {d.batch, d.timesteps, d.channels});
  gradients.dkernel = results.make("dkernel", kDType<T>, {d.width, call.size.channels, d.filters});
  if (call.bias) gradients.dbias = results.make("dbias", kDType<T>, {d.filters});
  const DType index = max_pool_index_dtype(call.options.pool.pool_size);
  if (call.options.pooled) out.argmax = between.make("argmax", index, {d.batch, d.outputs, d.filters});

  const GuardedMemory forward_scratch(plan.scratch_bytes);
  require(conv1d_forward(plan, in, out, forward_scratch.data()));
  between.make_read_only();
  require(conv1d_plan_backward(in, call.options, &plan));
  const GuardedMemory backward_scratch(plan.scratch_bytes);
  require(conv1d_backward(plan, in, out, doutputs, gradients, backward_scratch.data()));
  if (call.options.pooled) {
    const Array positions = results.make("positions", kDType<T>, {d.batch, d.outputs, d.filters});
    for (int64_t i = 0; i < d.batch * d.outputs * d.filters; ++i)
      positions.as<T>()[i] =
          static_cast<T>(index == DType::kUInt8 ? out.argmax.as<uint8_t>()[i] : out.argmax.as<uint16_t>()[i]);
  }

  if (!forward_scratch.clean_before() || !backward_scratch.clean_before()) fail("written before the scratch");
  for (const Arrays* arrays : {&results, &between})
    for (const Arrays::Named& named : arrays->all())
      if (!named.memory->clean_before()) fail("written before " + named.name);
  return results;
}

template <class T>
Arrays convolution_everywhere(const Convolution& call, const std::vector<std::string>& isas) {
  Random random(call.seed);
  Arrays inputs;
  const auto numbers = [&](const char* name, std::initializer_list<int64_t> shape, float spread) {
    const Array array = inputs.make(name, kDType<T>, shape);
    for (size_t i = 0; i < inputs.all().back().size; ++i) array.as<T>()[i] = static_cast<T>(random.number() * spread);
    return array;
  };
  const auto [batch, timesteps, channels, group_filters, width] = call.size;
  const int64_t filters = call.options.groups * group_filters;
  Conv1dInputs in;
  in.x = numbers("x", {batch, timesteps, call.options.groups * channels}, 1.75F);
  const auto depth = static_cast<float>(std::max<int64_t>(1, width * channels));
  in.kernel = numbers("kernel", {width, channels, filters}, 3.0F / std::sqrt(depth));
  if (call.bias) in.bias = numbers("bias", {filters}, 1.0F);
  Conv1dPlan plan;
  require(conv1d_plan_forward(in, call.options, &plan));
  const Array doutputs = numbers("doutputs", {batch, plan.dims.outputs, filters}, 1.0F);
  inputs.make_read_only();
  Arrays results = run_everywhere<T>(isas, [&] { return run_convolution<T>(call, in, doutputs); });
  require_numbers<T>(results);
  return results;
}

void check(const Convolution& call) {
  std::printf("%s:", call.text().c_str());
  std::fflush(stdout);
  std::printf(" float32 %016llx",
              static_cast<unsigned long long>(hash(convolution_everywhere<float>(call, available_isas()))));
  if (!call.parallel) print_sums(convolution_everywhere<double>(call, {"scalar"}));
  std::printf("\n");
}

void check_convolution(Random& random) {
  constexpr Activation kActivations[] = {Activation::kTanh, Activation::kSigmoid, Activation::kHardSigmoid,
                                         Activation::kRelu, Activation::kLinear};
  constexpr Padding kPaddings[] = {Padding::kValid, Padding::kSame, Padding::kCausal};
  const auto check_random = [&](ConvolutionSize size, bool parallel) {
    Conv1dOptions options;
    options.activation = kActivations[random.below(5)];
    options.padding = kPaddings[random.below(3)];
    options.strides = 1 + random.below(3);
    options.dilation_rate = random.coin() ? 1 : 2;
    size.timesteps *= options.strides;
    if (options.padding == Padding::kValid) size.timesteps += options.dilation_rate * (size.width - 1);
    options.groups = random.below(3) == 0 ? 2 : 1;
    const bool bias = random.below(4) > 0;
    const uint64_t seed = random.next();
    check(Convolution{size, options, bias, seed, parallel});
    options.pooled = true;
    options.pool = {1 + random.below(9), 1 + random.below(9), Padding::kSame};
    check(Convolution{size, options, bias, seed, parallel});
  };
  // Nothing at all; filters and channels around vectors of 4, 8 and 16 and tiles of them.
  check_random({0, 5, 3, 4, 2}, false);
  check_random({2, 5, 0, 4, 2}, false);
  for (int64_t filters = 1; filters <= 36; ++filters)
    check_random({1 + random.below(3), 1 + random.below(12), 1 + random.below(36), filters, 1 + random.below(5)},
                 false);
  // Depths from which on a few columns beyond whole vectors are a tail, and beyond one block.
  check_random({2, 9, 67, 70, 1}, false);
  check_random({1, 9, 130, 68, 3}, false);
  // Several blocks, of sequences and within one; work for several threads, whose shares cut windows.
  check_random({5, 200, 33, 51, 9}, true);
  check_random({1, 720, 35, 67, 9}, true);
  check_random({130, 24, 20, 41, 5}, true);
  // Positions of two bytes.
  Conv1dOptions options;
  options.pooled = true;
  options.pool = {300, 70, Padding::kValid};
  check(Convolution{{1, 450, 3, 5, 2}, options, true, random.next()});
  // Weight gradients from the few elements that a window leaves: several panels and blocks, work for several threads.
  options.pool = {4, 4, Padding::kValid};
  check(Convolution{{2, 290, 70, 19, 5}, options, true, random.next()});
  options.groups = 2;
  options.strides = 2;
  options.pool = {3, 5, Padding::kSame};
  check(Convolution{{7, 211, 49, 66, 4}, options, false, random.next(), true});
}

// A state that decays must become zero, not denormal, and the caller's floating-point mode must come back.
void check_denormals() {
  const Size size{1, 400, 1, 17};
  RnnOptions options;
  options.cell = Cell::kSimpleRnn;
  options.activation = Activation::kLinear;
  Arrays arrays;
  RnnInputs in;
  in.x = arrays.make("x", DType::kFloat32, {size.batch, size.timesteps, size.inputs});
  in.kernel = arrays.make("kernel", DType::kFloat32, {size.inputs, size.units});
  in.recurrent_kernel = arrays.make("recurrent_kernel", DType::kFloat32, {size.units, size.units});
  in.h0 = arrays.make("h0", DType::kFloat32, {size.batch, size.units});
  for (const Arrays::Named& named : arrays.all()) std::memset(named.array.data, 0, named.size * sizeof(float));
  for (int64_t u = 0; u < size.units; ++u) {
    in.h0.as<float>()[u] = 1.0F;
    // Rounded to the nearest denormal it would never become zero: 0.625 of the smallest one is the smallest one.
    in.recurrent_kernel.as<float>()[u * (size.units + 1)] = 0.625F;
  }
  RnnOutputs out;
  out.last_output = arrays.make("last_output", DType::kFloat32, {size.batch, size.units});
  out.h_n = arrays.make("h_n", DType::kFloat32, {size.batch, size.units});
  for (const std::string& isa : available_isas()) {
    require(set_isa(isa));
    RnnPlan plan;
    require(rnn_plan_forward(in, options, &plan));
    const GuardedMemory scratch(plan.scratch_bytes);
    require(rnn_forward(plan, in, out, scratch.data()));
    for (int64_t u = 0; u < size.units; ++u)
      if (out.h_n.as<float>()[u] != 0.0F) fail(isa + " keeps denormals");
    volatile float tiny = 1e-40F;
    if (bits_of(tiny + 0.0F) == 0) fail(isa + " leaves denormals flushed");
  }
}

// Dropout of an array of random numbers, on every ISA and on several threads.
template <class T>
Arrays dropout_everywhere(std::initializer_list<int64_t> shape, const DropoutOptions& options) {
  Arrays inputs;
  const Array x = inputs.make("x", kDType<T>, shape);
  Random random(1);
  for (size_t i = 0; i < inputs.all()[0].size; ++i) x.as<T>()[i] = static_cast<T>(random.number());
  inputs.make_read_only();
  const auto run_on = [&](const std::string& isa, int threads) {
    require(set_isa(isa));
    require(set_num_threads(threads));
    Arrays results;
    const Array y = results.make("y", kDType<T>, shape);
    DropoutPlan plan;
    require(dropout_plan(x, options, &plan));
    require(dropout(plan, x, y));
    // Once more in place.
    const Array over = results.make("over", kDType<T>, shape);
    std::memcpy(over.data, x.data, inputs.all()[0].size * sizeof(T));
    require(dropout(plan, over, over));
    if (options.noise_shape.empty()) {
      Arrays between;
      const Array mask = between.make("mask", DType::kUInt8, {dropout_mask_bytes(plan)});
      const Array saving = results.make("saving", kDType<T>, shape);
      require(dropout(plan, x, saving, mask));
      between.make_read_only();
      // The gradient of x as if it were that of y is y.
      const Array dx = results.make("dx", kDType<T>, shape);
      require(dropout_gradient(plan, mask, x, dx));
      if (!between.all()[0].memory->clean_before()) fail("written before the mask");
    }
    for (const Arrays::Named& named : results.all())
      if (!named.memory->clean_before()) fail("written before " + named.name);
    return results;
  };
  Arrays expected = run_on("scalar", 1);
  require_numbers<T>(expected);
  const Arrays::Named& y = expected.all()[0];
  for (const Arrays::Named& other : expected.all())
    if (std::memcmp(y.array.data, other.array.data, y.size * sizeof(T)) != 0) fail(other.name + " is not y");
  for (const std::string& isa : available_isas())
    for (const int threads : {1, 3})
      require_same<T>(run_on(isa, threads), expected, isa + " on " + std::to_string(threads) + " threads");
  return expected;
}

void check_dropout(std::initializer_list<int64_t> shape, std::vector<int64_t> noise_shape, HalfType cast_from) {
  DropoutOptions options;
  options.rate = 0.3;
  options.seed[0] = -7;
  options.seed[1] = int64_t{1} << 40;
  options.noise_shape = std::move(noise_shape);
  std::printf("dropout");
  for (const int64_t size : shape) std::printf(" %lld", static_cast<long long>(size));
  for (const int64_t size : options.noise_shape) std::printf(" by %lld", static_cast<long long>(size));
  options.cast_from = cast_from;
  std::printf(": float32 %016llx", static_cast<unsigned long long>(hash(dropout_everywhere<float>(shape, options))));
  options.cast_from = HalfType::kNone;
  print_sums(dropout_everywhere<double>(shape, options));
  std::printf("\n");
}

}  // namespace

int main() {
  allow_oversubscription(true);
  check_denormals();
  for (const HalfType type : {HalfType::kNone, HalfType::kFloat16, HalfType::kBfloat16})
    for (const int64_t size : {0, 1, 3, 4, 5, 31, 257, 1003}) check_dropout({size}, {}, type);
  check_dropout({400003}, {}, HalfType::kNone);
  check_dropout({7, 601, 101}, {-1, 1, -1}, HalfType::kNone);
  check_dropout({7, 601, 101}, {1, -1, 1}, HalfType::kNone);
  check_dropout({3, 4, 5, 6}, {-1, 1, -1, 1}, HalfType::kNone);

  RnnOptions variants[4];
  variants[0].cell = Cell::kLstm;
  variants[1].cell = variants[2].cell = Cell::kGru;
  variants[2].reset_after = false;
  variants[3].cell = Cell::kSimpleRnn;

  Random random(0);
  for (const RnnOptions& variant : variants) {
    const auto check_random = [&](const Size& size, bool parallel) {
      Call call = random_call(variant, size, random);
      call.parallel = parallel;
      check(call);
    };
    // Nothing at all; units around vectors of 4, 8 and 16 and tiles of them.
    for (const Size& size : {Size{0, 3, 2, 5}, Size{2, 0, 3, 5}, Size{2, 3, 0, 5}}) check_random(size, false);
    for (int64_t units = 1; units <= 36; ++units)
      check_random({1 + random.below(13), 1 + random.below(5), 1 + random.below(40), units}, false);
    // Depths from which on a few columns beyond whole vectors are a tail, and beyond one block.
    for (const Size& size :
         {Size{3, 3, 64, 65}, Size{5, 2, 67, 70}, Size{2, 4, 71, 100}, Size{11, 2, 130, 68}, Size{2, 2, 300, 140}})
      check_random(size, false);
    const int64_t gates = Call{{}, variant, 0}.gates();
    // Several chunks of steps.
    check_random({64, 80 / gates, 8, 33}, false);
    // Work for several threads: by rows and, where these are few, by units.
    check_random({33, 42 / gates + 1, 70, 75}, true);
    check_random({1, 66 / gates + 1, 60, 450}, true);
    // Many shards in backward.
    check_random({300, 28 / gates, 40, 40}, true);
    // Activations of any number.
    for (const Activation activation :
         {Activation::kTanh, Activation::kSigmoid, Activation::kHardSigmoid, Activation::kRelu, Activation::kLinear}) {
      Call call{{1, 1, 1, 403}, variant, random.next()};
      call.options.activation = activation;
      if (activation != Activation::kTanh) call.options.recurrent_activation = activation;
      call.any_bias = true;
      check(call);
    }
  }
  check_pooling(random);
  check_convolution(random);
  return 0;
}

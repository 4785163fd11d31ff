// Calls every op with arbitrary arguments, for libFuzzer. The fuzzer's bytes choose shapes, dtypes, ranks, contents and
// options, mostly such that they fit together. An op must return an error Status or compute, and must not access memory
// outside of its arrays: each array is a separate block of exactly its size, and AddressSanitizer checks the rest.
//
// The arguments of a plan are passed to the op unchanged, as the contracts require. Arrays that the plan does not have
// (outputs, gradients, argmax, workspace) may be anything. An array that is too large for a run has a shape but no
// memory; planning must work all the same, without overflow. The number of threads is set in the plans, since calls of
// this size would have one thread.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "fastseq/adam.h"
#include "fastseq/bernoulli.h"
#include "fastseq/dropout.h"
#include "fastseq/embedding.h"
#include "fastseq/memory.h"
#include "fastseq/pool.h"
#include "fastseq/rnn.h"
#include "fastseq/runtime.h"
#include "ops/conv1d_layout.h"
#include "ops/rnn_layout.h"

namespace {

using namespace fastseq;

[[noreturn]] void fail(const char* message) {
  std::fprintf(stderr, "%s\n", message);
  std::abort();
}

// The fuzzer's bytes; zeros, which choose the plainest of everything, behind their end.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t next() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  int64_t below(int64_t count) { return next() % count; }
  bool coin() { return next() % 2 == 1; }
  bool once_in(int64_t times) { return below(times) == 1; }
  template <class T>
  T any() {
    uint8_t bytes[sizeof(T)];
    for (uint8_t& byte : bytes) byte = next();
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  }
  template <class Option>
  Option of(std::initializer_list<Option> options) {
    return options.begin()[below(static_cast<int64_t>(options.size()))];
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

constexpr int64_t kLeast64 = std::numeric_limits<int64_t>::min();
constexpr size_t kMostBytes = size_t{1} << 17;    // of an array with memory
constexpr size_t kMostScratch = size_t{1} << 24;  // of a run
constexpr double kMostOperations = 3e5;           // of a run

// A call: its bytes, and the memory of its arrays.
class Call {
 public:
  Call(const uint8_t* data, size_t size) : bytes(data, size) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    for (void* block : blocks_) std::free(block);
  }

  Bytes bytes;
  bool possible = true;  // so far: no array is too large to have memory
  bool sensible = true;  // no array has a negative size

  // Of a dimension.
  int64_t size() {
    const uint8_t choice = bytes.next();
    if (choice < 180) return choice % 10;
    if (choice < 240) return 10 + choice % 60;
    if (choice == 240) return bytes.any<int64_t>();
    constexpr int64_t kExtreme[] = {256,
                                    257,
                                    65536,
                                    65537,
                                    INT32_MAX,
                                    int64_t{1} << 31,
                                    int64_t{1} << 32,
                                    int64_t{1} << 40,
                                    int64_t{1} << 47,
                                    int64_t{1} << 62,
                                    INT64_MAX,
                                    -1,
                                    kLeast64};
    return kExtreme[(choice - 241) % 13];
  }
  int64_t positive() { return 1 + size() % 70; }
  // Of strides, pool sizes and the like.
  int64_t option() { return bytes.once_in(4) ? size() : 1 + bytes.below(6); }
  DType real() { return bytes.coin() ? DType::kFloat64 : DType::kFloat32; }

  Array array(DType dtype, std::vector<int64_t> shape) {
    switch (bytes.next()) {
      case 1:
        return {};
      case 2:
        dtype = static_cast<DType>(bytes.below(static_cast<int64_t>(DType::kOther) + 1));
        break;
      case 3:
        if (!shape.empty()) shape[static_cast<size_t>(bytes.below(static_cast<int64_t>(shape.size())))] = size();
        break;
      case 4:
        shape.resize(static_cast<size_t>(bytes.below(Array::kMaxRank + 3)), size());
        break;
      default:
        break;
    }
    Array array;
    array.present = true;
    array.dtype = dtype;
    array.rank = static_cast<int>(shape.size());
    size_t count = dtype_bytes(dtype);
    for (size_t i = 0; i < shape.size(); ++i) {
      if (i < Array::kMaxRank) array.shape[i] = shape[i];
      if (shape[i] < 0) sensible = false;
      if (shape[i] == 0) count = 0;
    }
    for (const int64_t length : shape)
      if (count > 0 && (length < 0 || __builtin_mul_overflow(count, static_cast<size_t>(length), &count))) {
        count = SIZE_MAX;
        break;
      }
    if (count > kMostBytes) {
      possible = false;
      return array;
    }
    // Without elements also without memory.
    if (count > 0 || bytes.coin()) array.data = take(count);
    fill(array.data, dtype, count);
    last_bytes_ = count;
    return array;
  }
  Array optional(DType dtype, const std::vector<int64_t>& shape) {
    return bytes.coin() ? array(dtype, shape) : Array();
  }
  // Numbers of rows, mostly of those that there are.
  Array indices(const std::vector<int64_t>& shape, int64_t rows) {
    const Array indices = array(bytes.coin() ? DType::kInt64 : DType::kInt32, shape);
    const bool integer = indices.dtype == DType::kInt32 || indices.dtype == DType::kInt64;
    if (!indices.data || !integer || rows < 1 || bytes.once_in(8)) return indices;
    const size_t count = last_bytes_ / dtype_bytes(indices.dtype);
    for (size_t i = 0; i < count; ++i) {
      const int64_t row = bytes.next() % rows;
      if (indices.dtype == DType::kInt32)
        indices.as<int32_t>()[i] = static_cast<int32_t>(row);
      else
        indices.as<int64_t>()[i] = row;
    }
    return indices;
  }

  // Whether what was planned is good, has memory and does not take long.
  bool runs(const Status& planned, double operations = 0.0) const {
    check(planned);
    if (!planned.ok()) return false;
    if (!sensible) fail("a negative size is accepted");
    return possible && operations <= kMostOperations;
  }
  // Calls op(scratch), where all arrays that were made since are possible, too.
  template <class Op>
  void run(size_t scratch_bytes, const Op& op) {
    if (!possible || scratch_bytes > kMostScratch) return;
    void* scratch = take(scratch_bytes);
    std::memset(scratch, 0xFF, scratch_bytes);  // NaN
    check(op(scratch));
  }
  static void check(const Status& status) {
    if (!status.ok() && status.message().empty()) fail("an error without a message");
  }

 private:
  void* take(size_t count) {
    void* block = nullptr;
    if (posix_memalign(&block, kMemoryAlignment, count) != 0) fail("no memory");
    blocks_.push_back(block);
    return block;
  }
  void fill(void* data, DType dtype, size_t count) {
    if (count == 0) return;
    const uint8_t how = bytes.next();
    uint32_t state = how;
    for (size_t i = 0; i < count; ++i) {
      state = state * 1664525U + 1013904223U;
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(state >> 24);  // of a float: any, NaN too
    }
    if (how % 4 == 0) return;
    const auto number = [&](size_t i) { return how % 4 == 1 ? 0.01 * static_cast<double>(i % 127) - 0.6 : 0.0; };
    if (dtype == DType::kFloat32)
      for (size_t i = 0; i < count / 4; ++i) static_cast<float*>(data)[i] = static_cast<float>(number(i));
    if (dtype == DType::kFloat64)
      for (size_t i = 0; i < count / 8; ++i) static_cast<double*>(data)[i] = number(i);
    if (how % 4 == 3) std::memset(data, how, count);
  }

  std::vector<void*> blocks_;
  size_t last_bytes_ = 0;  // of the array made last
};

double product(std::initializer_list<int64_t> factors) {
  double result = 1.0;
  for (const int64_t factor : factors) result *= static_cast<double>(factor);
  return result;
}

int threads(Call& call) { return call.bytes.once_in(12) ? 2 + static_cast<int>(call.bytes.below(2)) : 1; }

Activation activation(Call& call) {
  return call.bytes.of(
      {Activation::kTanh, Activation::kSigmoid, Activation::kHardSigmoid, Activation::kRelu, Activation::kLinear});
}

Padding padding(Call& call) { return call.bytes.of({Padding::kValid, Padding::kSame, Padding::kCausal}); }

// A grid that choose_grid could have chosen.
void choose_team(Call& call, RnnPlan* plan) {
  if (call.bytes.below(8) != 1 || plan->dims.batch < 1) return;
  plan->row_groups = static_cast<int>(std::min<int64_t>(1 + call.bytes.below(2), plan->dims.batch));
  plan->unit_groups = static_cast<int>(std::min<int64_t>(1 + call.bytes.below(2), plan->dims.units));
}

void fuzz_rnn(Call& call) {
  Bytes& bytes = call.bytes;
  RnnOptions options;
  options.cell = bytes.of({Cell::kLstm, Cell::kGru, Cell::kSimpleRnn});
  options.activation = activation(call);
  options.recurrent_activation = activation(call);
  options.reset_after = bytes.coin();
  options.go_backwards = bytes.coin();
  options.zero_output_for_mask = bytes.coin();
  options.h0_as_first_output = bytes.coin();
  const bool backward = bytes.coin();
  const int64_t batch = call.size(), timesteps = call.size(), width = call.size(), units = call.positive();
  const bool lstm = options.cell == Cell::kLstm;
  const int64_t gates = lstm ? 4 : options.cell == Cell::kGru ? 3 : 1;
  const bool two_biases = options.cell == Cell::kGru && options.reset_after;
  const std::vector<int64_t> bias_shape =
      two_biases ? std::vector<int64_t>{2, gates * units} : std::vector<int64_t>{gates * units};
  const DType real = call.real();
  const std::vector<int64_t> state{batch, units};
  const auto factors = [&](int64_t size) { return call.optional(real, {bytes.coin() ? gates : 1, batch, size}); };
  RnnInputs in;
  in.x = call.array(real, {batch, timesteps, width});
  in.kernel = call.array(real, {width, gates * units});
  in.recurrent_kernel = call.array(real, {units, gates * units});
  in.bias = call.optional(real, bias_shape);
  in.h0 = call.optional(real, state);
  if (lstm || bytes.once_in(16)) in.c0 = call.optional(real, state);
  in.mask = call.optional(DType::kBool, {batch, timesteps});
  in.dropout_mask = factors(width);
  in.recurrent_dropout_mask = factors(units);

  RnnPlan plan;
  const RnnDims& d = plan.dims;
  const auto operations = [&] { return product({d.batch, d.timesteps, d.inputs + d.units, d.gates, d.units}); };
  const Array workspace = call.optional(real, {batch, timesteps, rnn_workspace_width(options, units)});
  if (!backward) {
    const Status planned = rnn_plan_forward(in, options, &plan);
    if (!call.runs(planned, operations())) return;
    RnnOutputs out;
    out.outputs = call.optional(real, {batch, timesteps, units});
    out.last_output = call.array(real, state);
    out.h_n = call.array(real, state);
    if (lstm) out.c_n = call.array(real, state);
    out.workspace = workspace;
    choose_team(call, &plan);
    return call.run(rnn_forward_scratch_bytes(plan),
                    [&](void* scratch) { return rnn_forward(plan, in, out, scratch); });
  }
  const Status planned = rnn_plan_backward(in, options, &plan);
  if (!call.runs(planned, 3 * operations())) return;
  RnnOutputGradients dout;
  dout.doutputs = call.optional(real, {batch, timesteps, units});
  dout.dlast_output = call.optional(real, state);
  dout.dh_n = call.optional(real, state);
  if (lstm || bytes.once_in(16)) dout.dc_n = call.optional(real, state);
  RnnGradients gradients;
  gradients.dx = call.optional(real, {batch, timesteps, width});
  if (!bytes.once_in(4)) {
    gradients.dkernel = call.array(real, {width, gates * units});
    gradients.drecurrent_kernel = call.array(real, {units, gates * units});
    gradients.dbias = call.optional(real, bias_shape);
  }
  gradients.dh0 = call.array(real, state);
  if (lstm) gradients.dc0 = call.array(real, state);
  choose_team(call, &plan);
  call.run(rnn_backward_scratch_bytes(plan),
           [&](void* scratch) { return rnn_backward(plan, in, workspace, dout, gradients, scratch); });
}

void fuzz_conv1d(Call& call) {
  Bytes& bytes = call.bytes;
  Conv1dOptions options;
  options.activation = activation(call);
  options.padding = padding(call);
  options.strides = call.option();
  options.dilation_rate = bytes.coin() ? call.option() : 1;
  options.groups = bytes.once_in(4) ? call.option() : 1;
  options.pooled = bytes.coin();
  options.pool = {call.option(), call.option(), padding(call), bytes.coin()};
  const bool backward = bytes.coin();
  const DType real = call.real();
  const int64_t groups = options.groups >= 1 && options.groups <= 8 ? options.groups : 2;
  const int64_t group_channels = bytes.below(40), group_filters = 1 + bytes.below(40);
  const int64_t batch = call.size(), timesteps = call.size();
  const int64_t channels = groups * group_channels, filters = groups * group_filters;
  const int64_t width = call.positive();
  Conv1dInputs in;
  in.x = call.array(real, {batch, timesteps, channels});
  in.kernel = call.array(real, {width, group_channels, filters});
  in.bias = call.optional(real, {filters});

  Conv1dPlan plan;
  const Status planned = backward ? conv1d_plan_backward(in, options, &plan) : conv1d_plan_forward(in, options, &plan);
  const Conv1dDims& d = plan.dims;
  const double operations = product({d.batch, d.convolved, d.width, d.channels + 1, d.filters});
  if (!call.runs(planned, backward ? 3 * operations : operations)) return;
  const DType index = max_pool_index_dtype(options.pool.pool_size);
  Conv1dOutputs out;
  out.outputs = call.array(real, {batch, d.outputs, filters});
  if (options.pooled)
    out.argmax =
        backward ? call.array(index, {batch, d.outputs, filters}) : call.optional(index, {batch, d.outputs, filters});
  plan.threads = threads(call);
  if (!backward)
    return call.run(conv1d_forward_scratch_bytes(plan),
                    [&](void* scratch) { return conv1d_forward(plan, in, out, scratch); });
  const Array doutputs = call.array(real, {batch, d.outputs, filters});
  Conv1dGradients gradients;
  gradients.dx = call.optional(real, {batch, timesteps, channels});
  gradients.dkernel = call.optional(real, {width, group_channels, filters});
  gradients.dbias = call.optional(real, {filters});
  call.run(conv1d_backward_scratch_bytes(plan),
           [&](void* scratch) { return conv1d_backward(plan, in, out, doutputs, gradients, scratch); });
}

void fuzz_pool(Call& call) {
  Bytes& bytes = call.bytes;
  const PoolOptions options{call.option(), call.option(), padding(call), bytes.coin()};
  const bool backward = bytes.coin(), max = bytes.coin();
  const DType real = call.real();
  const int64_t batch = call.size(), timesteps = call.size(), channels = call.size();
  int64_t pooled = 0;
  Call::check(pooled_timesteps(options, timesteps, &pooled));
  const std::vector<int64_t> inner{batch, timesteps, channels}, outer{batch, pooled, channels};
  const Array x = backward ? Array() : call.array(real, inner);
  const Array doutputs = backward ? call.array(real, outer) : Array();
  PoolPlan plan;
  const Status planned =
      backward ? pool_plan_backward(doutputs, timesteps, options, &plan) : pool_plan_forward(x, options, &plan);
  if (!call.runs(planned)) return;
  const Array result = call.array(real, backward ? inner : outer);
  const Array argmax = max ? call.optional(max_pool_index_dtype(options.pool_size), outer) : Array();
  plan.threads = threads(call);
  call.run(0, [&](void*) {
    if (backward)
      return max ? max_pool_backward(plan, argmax, doutputs, result) : average_pool_backward(plan, doutputs, result);
    return max ? max_pool_forward(plan, x, result, argmax) : average_pool_forward(plan, x, result);
  });
}

void fuzz_embedding(Call& call) {
  Bytes& bytes = call.bytes;
  const bool backward = bytes.coin(), squared = bytes.coin();
  const DType real = call.real();
  const int64_t input_dim = call.size(), output_dim = call.size();
  std::vector<int64_t> shape(static_cast<size_t>(bytes.below(4)));
  for (int64_t& length : shape) length = call.size();
  const Array ids = call.indices(shape, input_dim);
  if (!call.possible) return;  // a plan reads them
  shape.push_back(output_dim);
  EmbeddingPlan plan;
  if (!backward) {
    const Array embeddings = call.array(real, {input_dim, output_dim});
    const Status planned = embedding_plan_forward(ids, embeddings, &plan);
    if (!call.runs(planned)) return;
    const Array outputs = call.array(real, shape);
    plan.threads = threads(call);
    return call.run(0, [&](void*) { return embedding_forward(plan, ids, embeddings, outputs); });
  }
  const Array doutputs = call.array(real, shape);
  const Array dembeddings = call.array(real, {input_dim, output_dim});
  const Status planned = embedding_plan_backward(ids, doutputs, input_dim, &plan);
  if (!call.runs(planned)) return;
  plan.threads = threads(call);
  // What the plan would say for more than one thread.
  const size_t room = plan.threads > 1 ? static_cast<size_t>(input_dim + 1) * sizeof(int64_t) : plan.scratch_bytes;
  call.run(room, [&](void* scratch) { return embedding_backward(plan, ids, doutputs, squared, dembeddings, scratch); });
}

void fuzz_adam(Call& call) {
  Bytes& bytes = call.bytes;
  const bool slices = bytes.coin(), amsgrad = bytes.coin(), in_place = bytes.coin();
  const DType real = call.real();
  AdamOptions options;
  for (double* option : {&options.alpha, &options.beta_1, &options.beta_2, &options.epsilon})
    *option = bytes.coin() ? bytes.any<double>() : 0.1;
  std::vector<int64_t> shape(static_cast<size_t>(bytes.once_in(8) ? bytes.below(Array::kMaxRank + 2) : 2));
  for (int64_t& length : shape) length = call.size();
  const auto make_state = [&] {
    AdamState state;
    state.variable = call.array(real, shape);
    state.momentum = call.array(real, shape);
    state.velocity = call.array(real, shape);
    if (amsgrad) state.velocity_hat = call.array(real, shape);
    return state;
  };
  const AdamState state = make_state();
  AdamGradient gradient;
  if (slices) {
    const bool possible = call.possible;
    call.possible = true;
    const int64_t positions = call.size();
    gradient.indices = call.indices({positions}, shape.empty() ? 0 : shape[0]);
    if (!call.possible) return;  // a plan reads them
    call.possible = possible;
    if (!shape.empty()) shape[0] = positions;
  }
  gradient.values = call.array(real, shape);
  if (slices && !shape.empty()) shape[0] = state.variable.shape[0];
  AdamPlan plan;
  const Status planned = adam_plan(state, gradient, options, &plan);
  if (!call.runs(planned)) return;
  const AdamState updated = in_place ? state : make_state();
  plan.threads = threads(call);
  call.run(plan.scratch_bytes, [&](void* scratch) { return adam(plan, state, gradient, updated, scratch); });
}

void fuzz_dropout(Call& call) {
  Bytes& bytes = call.bytes;
  DropoutOptions options;
  options.rate = bytes.coin() ? bytes.any<double>() : static_cast<double>(bytes.next()) / 255.0;
  options.seed[0] = bytes.any<int64_t>();
  options.seed[1] = bytes.any<int64_t>();
  options.cast_from = bytes.of({HalfType::kNone, HalfType::kFloat16, HalfType::kBfloat16});
  const DType real = call.real();
  std::vector<int64_t> shape(static_cast<size_t>(bytes.once_in(8) ? bytes.below(Array::kMaxRank + 2) : bytes.below(4)));
  for (int64_t& length : shape) length = call.size();
  if (bytes.coin()) {
    options.noise_shape = shape;
    for (int64_t& length : options.noise_shape) length = bytes.of({length, int64_t{1}, int64_t{-1}});
    if (bytes.once_in(8)) options.noise_shape.resize(static_cast<size_t>(bytes.below(12)), call.size());
  }
  const bool gradient = bytes.coin();
  const Array x = call.array(real, shape);
  DropoutPlan plan;
  if (!call.runs(dropout_plan(x, options, &plan))) return;
  const Array mask = call.optional(DType::kUInt8, {dropout_mask_bytes(plan)});
  const Array y = bytes.coin() ? x : call.array(real, shape);
  plan.threads = threads(call);
  call.run(0, [&](void*) { return gradient ? dropout_gradient(plan, mask, x, y) : dropout(plan, x, y, mask); });
}

void fuzz_bernoulli(Call& call) {
  Bytes& bytes = call.bytes;
  BernoulliOptions options;
  options.count = call.size();
  options.probability = bytes.coin() ? bytes.any<double>() : static_cast<double>(bytes.next()) / 255.0;
  const Array key = call.array(DType::kInt32, {2});
  BernoulliPlan plan;
  if (!call.runs(bernoulli_plan(key, options, &plan))) return;
  const Array outputs = call.array(DType::kBool, {options.count});
  plan.threads = threads(call);
  call.run(0, [&](void*) { return bernoulli(plan, key, outputs); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::string> isas = available_isas();
  Call call(data, size);
  const auto isa = static_cast<size_t>(call.bytes.below(static_cast<int64_t>(isas.size())));
  if (!set_isa(isas[isa]).ok()) fail("an available ISA is not there");
  call.bytes.of({fuzz_rnn, fuzz_conv1d, fuzz_pool, fuzz_embedding, fuzz_adam, fuzz_dropout, fuzz_bernoulli})(call);
  return 0;
}

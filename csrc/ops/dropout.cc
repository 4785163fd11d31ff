// The driver of dropout: checks, the generator's key, the broadcast of the noise, partition over threads.
#include "fastseq/dropout.h"

#include <algorithm>
#include <cmath>

#include "common/checks.h"
#include "dtypes.h"
#include "kernels/philox.inl"
#include "kernels/simd_scalar.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// About 50 us of work, which repay waking a thread.
constexpr int64_t kElementsPerThread = 1 << 17;

// A binary floating-point format.
struct Format {
  int significand;  // number of bits, including the implicit one
  int smallest;     // exponent of the smallest positive number
};

Format format_of(DType dtype, HalfType half) {
  switch (half) {
    case HalfType::kFloat16:
      return {11, -24};
    case HalfType::kBfloat16:
      return {8, -133};
    case HalfType::kNone:
      break;
  }
  return dtype == DType::kFloat64 ? Format{53, -1074} : Format{24, -149};
}

// Rounds to nearest, ties to even. A number that is too large for the format stays as it is: such a scale only occurs
// with a threshold that drops everything.
double rounded(double value, const Format& format) {
  int exponent = 0;
  std::frexp(value, &exponent);
  const int last = std::max(exponent - format.significand, format.smallest);
  return std::ldexp(std::nearbyint(std::ldexp(value, -last)), last);
}

// Makes the key and the counter from the seed as TensorFlow does, so that related seeds have unrelated keys.
void scramble(const int64_t (&seed)[2], DropoutPlan* plan) {
  constexpr uint32_t kKey[2] = {0x3EC8F720U, 0x02461E29U};
  const auto first = static_cast<uint64_t>(seed[0]);
  const auto second = static_cast<uint64_t>(seed[1]);
  uint64_t words[4] = {first, first >> 32, second, second >> 32};
  philox<ScalarWords>(kKey, words);
  for (int i = 0; i < 2; ++i) {
    plan->key[i] = static_cast<uint32_t>(words[i]);
    plan->counter[i] = static_cast<uint32_t>(words[2 + i]);
  }
}

// Finds the shape of x in the plan: neighbouring dimensions of the same kind, with the same noise along them or with
// different noise, become one dimension.
Status match_noise(const Array& x, const DropoutOptions& options, DropoutPlan* plan) {
  const std::vector<int64_t>& noise = options.noise_shape;
  const auto noise_rank = static_cast<int>(noise.size());
  // From the last dimension to the first.
  DropoutPlan::Outer groups[Array::kMaxRank] = {};
  int found = 0;
  bool fits = noise_rank <= x.rank;
  for (int i = 1; fits && i <= x.rank; ++i) {
    const int64_t size = x.shape[x.rank - i];
    const int64_t wanted = noise.empty() ? -1 : i > noise_rank ? 1 : noise[static_cast<size_t>(noise_rank - i)];
    fits = wanted == -1 || wanted == 1 || wanted == size;
    if (size == 1) continue;
    const bool shares = wanted == 1;
    if (found > 0 && groups[found - 1].shares == shares) {
      groups[found - 1].size *= size;
    } else {
      groups[found++] = {size, shares};
    }
  }
  if (!fits)
    return Status::invalid_argument("noise_shape must be broadcastable to x's shape " +
                                    shape_text(x.shape, x.rank, x.rank) + ", got " +
                                    shape_text(noise.data(), noise_rank, noise_rank));
  int next = 0;
  const auto take = [&](bool shares) {
    return next < found && groups[next].shares == shares ? groups[next++].size : int64_t{1};
  };
  plan->repeat = take(true);
  plan->count = take(false);
  plan->rows = take(true);
  plan->outer_rank = found - next;
  std::copy(groups + next, groups + found, plan->outer);
  return {};
}

// Whether the noise has the shape of x.
bool noise_has_shape_of_x(const DropoutPlan& plan) {
  return plan.outer_rank == 0 && plan.rows == 1 && plan.repeat == 1;
}

int64_t blocks_of(int64_t count) { return (count + kDropoutBlock - 1) / kDropoutBlock; }

// The elements in a range of blocks; the last block may be cut.
Range elements_of(const Range& blocks, int64_t count) {
  return {std::min(blocks.begin * kDropoutBlock, count), std::min(blocks.end * kDropoutBlock, count)};
}

int64_t outer_size(const DropoutPlan& plan) {
  int64_t size = 1;
  for (int i = 0; i < plan.outer_rank; ++i) size *= plan.outer[i].size;
  return size;
}

// The first noise element of an outer index.
int64_t first_noise(const DropoutPlan& plan, int64_t index) {
  int64_t first = 0;
  int64_t stride = plan.count;
  for (int i = 0; i < plan.outer_rank; ++i) {
    const auto [size, shares] = plan.outer[i];
    if (!shares) {
      first += index % size * stride;
      stride *= size;
    }
    index /= size;
  }
  return first;
}

template <class T>
void run_thread(const DropoutPlan& plan, const T* x, T* y, uint8_t* mask, const Team& team) {
  Range outer{0, outer_size(plan)};
  Range rows{0, plan.rows};
  Range elements{0, plan.count};
  // Threads divide the longest of the three.
  Range& longest = outer.end >= std::max(rows.end, elements.end) ? outer : rows.end > elements.end ? rows : elements;
  // With a mask the elements are the only dimension, and no two threads write the same byte of the mask.
  longest = mask ? elements_of(team.share(blocks_of(plan.count)), plan.count) : team.share(longest.end);

  DropoutArgs<T> args;
  std::copy_n(plan.key, 2, args.key);
  std::copy_n(plan.counter, 2, args.counter);
  args.bits = plan.bits;
  args.threshold = plan.threshold;
  args.scale = static_cast<T>(plan.scale);
  args.rows = rows.end - rows.begin;
  args.stride = plan.count * plan.repeat;
  args.count = elements.end - elements.begin;
  args.repeat = plan.repeat;
  const auto kernel = kernels_of<T>(*plan.isa).dropout;
  for (int64_t index = outer.begin; index < outer.end; ++index) {
    const int64_t offset = (index * plan.rows + rows.begin) * args.stride + elements.begin * plan.repeat;
    args.first = first_noise(plan, index) + elements.begin;
    args.x = x + offset;
    args.y = y + offset;
    args.mask = mask ? mask + elements.begin / 8 : nullptr;
    kernel(args);
  }
}

// Whether x has no elements. Then it may still have billions of rows.
bool empty(const DropoutPlan& plan) { return plan.count * plan.rows * plan.repeat == 0 || outer_size(plan) == 0; }

template <class T>
void run(const DropoutPlan& plan, const Array& x, const Array& y, const Array& mask) {
  run_threads(plan.threads, [&](const Team& team) {
    run_thread(plan, x.as<const T>(), y.as<T>(), mask.present ? mask.as<uint8_t>() : nullptr, team);
  });
}

template <class T>
void run_gradient(const DropoutPlan& plan, const Array& mask, const Array& dy, const Array& dx) {
  const auto kernel = kernels_of<T>(*plan.isa).dropout_gradient;
  for_each_part(blocks_of(plan.count), plan.threads, [&](const Range& blocks) {
    const auto [begin, end] = elements_of(blocks, plan.count);
    kernel(end - begin, mask.as<const uint8_t>() + begin / 8, static_cast<T>(plan.scale), dy.as<const T>() + begin,
           dx.as<T>() + begin);
  });
}

Status check_mask(const DropoutPlan& plan, const Array& mask) {
  if (!noise_has_shape_of_x(plan))
    return Status::invalid_argument("mask must be absent where noise_shape is not x's shape");
  return check_array("mask", mask, DType::kUInt8, {dropout_mask_bytes(plan)});
}

}  // namespace

Status parse_half_type(const char* argument, const std::string& name, HalfType* half_type) {
  for (const auto& [known, type] : {std::pair{"none", HalfType::kNone}, std::pair{"float16", HalfType::kFloat16},
                                    std::pair{"bfloat16", HalfType::kBfloat16}}) {
    if (name != known) continue;
    *half_type = type;
    return {};
  }
  return Status::invalid_argument(std::string(argument) + " must be none, float16 or bfloat16, got '" + name + "'");
}

Status dropout_plan(const Array& x, const DropoutOptions& options, DropoutPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", x, x.rank, ""));
  if (x.rank > Array::kMaxRank)
    return Status::invalid_argument("x must have at most " + std::to_string(Array::kMaxRank) + " dimensions, got " +
                                    std::to_string(x.rank));
  if (!(options.rate >= 0.0 && options.rate <= 1.0))
    return Status::invalid_argument("rate must be in [0, 1], got " + std::to_string(options.rate));
  if (options.cast_from != HalfType::kNone) FASTSEQ_RETURN_IF_ERROR(check_dtype("x", x, DType::kFloat32));
  FASTSEQ_RETURN_IF_ERROR(match_noise(x, options, plan));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  plan->dtype = x.dtype;
  scramble(options.seed, plan);

  const Format format = format_of(x.dtype, options.cast_from);
  const int random_bits = format.significand - 1;
  plan->bits = (int64_t{1} << random_bits) - 1;
  plan->threshold = static_cast<int64_t>(std::ceil(std::ldexp(rounded(options.rate, format), random_bits)));
  plan->scale = rounded(1.0 / (1.0 - options.rate), format);

  const int64_t elements = outer_size(*plan) * plan->rows * plan->count * plan->repeat;
  plan->threads = threads_for(static_cast<double>(elements / kElementsPerThread));
  return {};
}

int64_t dropout_mask_bytes(const DropoutPlan& plan) { return (plan.count + 7) / 8; }

Status dropout(const DropoutPlan& plan, const Array& x, const Array& y, const Array& mask) {
  FASTSEQ_RETURN_IF_ERROR(check_like("y", y, x));
  if (mask.present) FASTSEQ_RETURN_IF_ERROR(check_mask(plan, mask));
  if (empty(plan)) return {};
  with_float_type(plan.dtype, [&](auto zero) { run<decltype(zero)>(plan, x, y, mask); });
  return {};
}

Status dropout_gradient(const DropoutPlan& plan, const Array& mask, const Array& dy, const Array& dx) {
  FASTSEQ_RETURN_IF_ERROR(check_like("dx", dx, dy));
  FASTSEQ_RETURN_IF_ERROR(check_mask(plan, mask));
  with_float_type(plan.dtype, [&](auto zero) { run_gradient<decltype(zero)>(plan, mask, dy, dx); });
  return {};
}

}  // namespace fastseq

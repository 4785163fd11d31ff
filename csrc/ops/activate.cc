// The driver of `activate`. The functions that recurrent layers use, and those that can be made of these, go through
// the kernels. The other ones are plain loops, of which those that call the C library take some 10 ns for an element.
#include <algorithm>
#include <cmath>
#include <string>

#include "common/checks.h"
#include "dtypes.h"
#include "elementary_driver.h"
#include "exponentials.h"
#include "fastseq/elementwise.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// About 50 us of work, which repay waking a thread: of a function without an exponential, and of the other ones.
constexpr int64_t kCheapElementsPerThread = 1 << 16;
constexpr int64_t kElementsPerThread = 1 << 14;

bool is_cheap(Pointwise function) {
  switch (function) {
    case Pointwise::kHardSigmoid:
    case Pointwise::kRelu:
    case Pointwise::kLinear:
    case Pointwise::kSoftsign:
    case Pointwise::kHardSilu:
    case Pointwise::kLeakyRelu:
    case Pointwise::kRelu6:
    case Pointwise::kRectifier:
      return true;
    default:
      return false;
  }
}

// outputs[i] = function(x[i])
template <class T, class Function>
void map(const Activate& op, const Function& function) {
  const T* x = op.x.as<const T>();
  T* outputs = op.outputs.as<T>();
  for_each_part(elements(op.x), op.plan.threads, [&](const Range& part) {
    for (int64_t i = part.begin; i < part.end; ++i) outputs[i] = function(x[i]);
  });
}

// outputs[i] = after(x[i], activation(before(x[i]))), in blocks that stay in the first-level cache.
template <class T, class Before, class After>
void map_through(const Activate& op, Activation activation, const Before& before, const After& after) {
  constexpr int64_t kBlock = 256;
  const KernelTable<T>& kernels = kernels_of<T>(*op.plan.isa);
  for_each_part(elements(op.x), op.plan.threads, [&](const Range& part) {
    for (int64_t begin = part.begin; begin < part.end; begin += kBlock) {
      const int64_t count = std::min(kBlock, part.end - begin);
      const T* x = op.x.as<const T>() + begin;
      T* outputs = op.outputs.as<T>() + begin;
      T activated[kBlock];
      for (int64_t i = 0; i < count; ++i) activated[i] = before(x[i]);
      kernels.activate(activation, count, activated);
      for (int64_t i = 0; i < count; ++i) outputs[i] = after(x[i], activated[i]);
    }
  });
}

template <class T, class After>
void map_through(const Activate& op, Activation activation, const After& after) {
  map_through<T>(op, activation, [](T x) { return x; }, after);
}

template <class T>
void map_through(const Activate& op, Activation activation) {
  map_through<T>(op, activation, [](T, T activated) { return activated; });
}

// log(1 + exp(-|x|))
template <class T>
T log_of_rest(T x) {
  return std::log1p(limited_exp(-std::abs(x)));
}

// Selections whose sides are computed before, so that loops have no branches.
template <class T>
T elu(T x, T alpha) {
  const T low = alpha * limited_expm1(std::min(x, T(0)));
  return x > 0 ? x : low;
}

template <class T>
T leaky_relu(T x, T alpha) {
  const T low = alpha * x;
  return x > 0 ? x : low;
}

template <class T>
T selu(T x) {
  constexpr T kScale = static_cast<T>(1.0507009873554805);
  constexpr T kAlpha = static_cast<T>(1.6732632423543772);
  return kScale * elu(x, kAlpha);
}

// x (1 + erf(x / sqrt(2))) / 2, without the cancellation of that sum for negative x.
template <class T>
T gelu(T x) {
  constexpr T kRootOfHalf = static_cast<T>(0.7071067811865476);
  return T(0.5) * x * std::erfc(-kRootOfHalf * x);
}

// sqrt(2 / pi) (x + 0.044715 x^3)
template <class T>
T gelu_argument(T x) {
  return static_cast<T>(0.7978845608028654) * (x + static_cast<T>(0.044715) * (x * x * x));
}

// x tanh(log(1 + e)) with e = exp(x); the tangent is n / (n + 2) with n = e (e + 2).
template <class T>
T mish(T x) {
  constexpr T kMost = 20;  // from here on, the quotient rounds to 1
  const T e = limited_exp(std::min(x, kMost));
  const T n = e * (e + 2);
  return x * (n / (n + 2));
}

template <class T>
T relu6(T x) {
  return x > 6 ? T(6) : x < 0 ? T(0) : x;
}

// Whether there is a slope is known beforehand, since without one, -inf gives 0.
template <class T>
void rectify(const Activate& op) {
  const T slope = static_cast<T>(op.alpha);
  const T threshold = static_cast<T>(op.gamma);
  const bool bounded = op.beta < std::numeric_limits<double>::infinity();  // not if it is NaN
  const T least = bounded ? T(0) : -std::numeric_limits<T>::infinity();
  const T most = bounded ? static_cast<T>(op.beta) : std::numeric_limits<T>::infinity();
  if (slope == 0)
    return map<T>(op, [=](T x) {
      const T inside = std::min(std::max(x, least), most);
      return x <= threshold ? T(0) : inside;
    });
  map<T>(op, [=](T x) {
    const T inside = std::min(std::max(x, least), most);
    const T low = slope * (x - threshold);
    return x <= threshold ? low : inside;
  });
}

template <class T>
void activate(const Activate& op) {
  const T alpha = static_cast<T>(op.alpha);
  switch (op.function) {
    case Pointwise::kTanh:
      return map_through<T>(op, Activation::kTanh);
    case Pointwise::kSigmoid:
      return map_through<T>(op, Activation::kSigmoid);
    case Pointwise::kHardSigmoid:
      return map_through<T>(op, Activation::kHardSigmoid);
    case Pointwise::kRelu:
      return map_through<T>(op, Activation::kRelu);
    case Pointwise::kLinear:
      return map<T>(op, [](T x) { return x; });
    case Pointwise::kElu:
      return map<T>(op, [alpha](T x) { return elu(x, alpha); });
    case Pointwise::kSelu:
      return map<T>(op, [](T x) { return selu(x); });
    case Pointwise::kSoftplus:
      return map<T>(op, [](T x) { return std::max(x, T(0)) + log_of_rest(x); });
    case Pointwise::kSoftsign:
      return map<T>(op, [](T x) { return x / (std::abs(x) + 1); });
    case Pointwise::kSilu:
      return map_through<T>(op, Activation::kSigmoid, [](T x, T sigmoid) { return x * sigmoid; });
    case Pointwise::kHardSilu:
      return map_through<T>(op, Activation::kHardSigmoid, [](T x, T sigmoid) { return x * sigmoid; });
    case Pointwise::kGelu:
      return map<T>(op, [](T x) { return gelu(x); });
    case Pointwise::kGeluTanh:
      return map_through<T>(
          op, Activation::kTanh, [](T x) { return gelu_argument(x); },
          [](T x, T tanh) { return T(0.5) * x * (1 + tanh); });
    case Pointwise::kExponential:
      return map<T>(op, [](T x) { return std::exp(x); });
    case Pointwise::kLeakyRelu:
      return map<T>(op, [alpha](T x) { return leaky_relu(x, alpha); });
    case Pointwise::kRelu6:
      return map<T>(op, [](T x) { return relu6(x); });
    case Pointwise::kMish:
      return map<T>(op, [](T x) { return mish(x); });
    case Pointwise::kLogSigmoid:
      return map<T>(op, [](T x) { return std::min(x, T(0)) - log_of_rest(x); });
    case Pointwise::kTanhShrink:
      return map_through<T>(op, Activation::kTanh, [](T x, T tanh) { return x - tanh; });
    case Pointwise::kRectifier:
      return rectify<T>(op);
  }
}

Status check_finite(const char* name, double value) {
  if (std::isfinite(value)) return {};
  return Status::invalid_argument(std::string(name) + " must be finite, got " + std::to_string(value));
}

}  // namespace

Status Activate::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_floats("x", x));
  FASTSEQ_RETURN_IF_ERROR(check_finite("alpha", alpha));
  if (beta < 0)
    return Status::invalid_argument("beta must be at least 0, or NaN for no maximum, got " + std::to_string(beta));
  FASTSEQ_RETURN_IF_ERROR(check_finite("gamma", gamma));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan.isa));
  plan.result = x;
  const int64_t per_thread = is_cheap(function) ? kCheapElementsPerThread : kElementsPerThread;
  plan.threads = threads_for(static_cast<double>(elements(x) / per_thread));
  return {};
}

Status Activate::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(x.dtype, [&](auto zero) { activate<decltype(zero)>(*this); });
  return {};
}

}  // namespace fastseq

// The driver of layer normalization: rows are divided among threads.
#include <cmath>
#include <string>

#include "common/checks.h"
#include "dtypes.h"
#include "elementary_driver.h"
#include "fastseq/rowwise.h"
#include "folds.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

template <class T>
void normalize_row(const LayerNormalization& op, int64_t count, const T* x, T* outputs) {
  const T mean = op.rms ? T(0) : sum<T>(count, [x](int64_t i) { return x[i]; }) / static_cast<T>(count);
  const auto square = [x, mean](int64_t i) { return (x[i] - mean) * (x[i] - mean); };
  const T variance = sum<T>(count, square) / static_cast<T>(count);
  const T scale = 1 / std::sqrt(variance + static_cast<T>(op.epsilon));
  for (int64_t i = 0; i < count; ++i) outputs[i] = (x[i] - mean) * scale;
  if (op.gamma.present) {
    const T* gamma = op.gamma.as<const T>();
    for (int64_t i = 0; i < count; ++i) outputs[i] *= gamma[i];
  }
  if (op.beta.present) {
    const T* beta = op.beta.as<const T>();
    for (int64_t i = 0; i < count; ++i) outputs[i] += beta[i];
  }
}

// gamma or beta.
Status check_weights(const char* name, const Array& weights, const Array& x, int axes) {
  if (!weights.present) return {};
  Array like = x;
  like.rank = axes;
  std::copy(x.shape + x.rank - axes, x.shape + x.rank, like.shape);
  return check_like(name, weights, like);
}

}  // namespace

Status LayerNormalization::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_floats("x", x, 1));
  FASTSEQ_RETURN_IF_ERROR(check_range("axes", axes, 1, x.rank));
  FASTSEQ_RETURN_IF_ERROR(check_weights("gamma", gamma, x, static_cast<int>(axes)));
  FASTSEQ_RETURN_IF_ERROR(check_weights("beta", beta, x, static_cast<int>(axes)));
  if (!(epsilon >= 0)) return Status::invalid_argument("epsilon must be at least 0, got " + std::to_string(epsilon));
  plan.result = x;
  plan.threads = threads_for_bytes(3.0 * static_cast<double>(bytes_of(x)));
  return {};
}

Status LayerNormalization::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  const int first = x.rank - static_cast<int>(axes);
  const int64_t width = elements(x, first, x.rank);
  with_float_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_part(elements(x, 0, first), plan.threads, [&](const Range& part) {
      for (int64_t row = part.begin; row < part.end; ++row)
        normalize_row(*this, width, x.as<const T>() + row * width, outputs.as<T>() + row * width);
    });
  });
  return {};
}

}  // namespace fastseq

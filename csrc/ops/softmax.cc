// The driver of softmax: rows are divided among threads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/checks.h"
#include "dtypes.h"
#include "elementary_driver.h"
#include "exponentials.h"
#include "fastseq/rowwise.h"
#include "folds.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

constexpr int64_t kElementsPerThread = 1 << 14;  // about 50 us of exponentials, which repay waking a thread

// A row's softmax, where score(i) is the score of element i. It may read outputs[i], and no other outputs.
template <class T, class Score>
void softmax_row(int64_t count, const Score& score, bool log, T* outputs) {
  const T most = fold(count, -std::numeric_limits<T>::infinity(), score, Larger());
  if (log) {
    const T total = sum<T>(count, [&](int64_t i) { return limited_exp(score(i) - most); });
    const T log_total = std::log(total);
    for (int64_t i = 0; i < count; ++i) outputs[i] = score(i) - most - log_total;
    return;
  }
  for (int64_t i = 0; i < count; ++i) outputs[i] = limited_exp(score(i) - most);
  const T total = sum<T>(count, [&](int64_t i) { return outputs[i]; });
  for (int64_t i = 0; i < count; ++i) outputs[i] /= total;
}

template <class T>
void softmax_masked_row(int64_t count, const T* x, const bool* mask, bool log, T* outputs) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  if (std::find(mask, mask + count, true) == mask + count) {
    std::fill_n(outputs, count, log ? kLowest : T(0));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const T score = x[i];  // read in any case, so that there is no branch
    outputs[i] = mask[i] ? score : kLowest;
  }
  softmax_row(count, [outputs](int64_t i) { return outputs[i]; }, log, outputs);
}

template <class T>
void softmax(const Softmax& op) {
  const int64_t width = op.x.shape[op.x.rank - 1];
  for_each_part(elements(op.x, 0, op.x.rank - 1), op.plan.threads, [&](const Range& part) {
    for (int64_t row = part.begin; row < part.end; ++row) {
      const T* x = op.x.as<const T>() + row * width;
      T* outputs = op.outputs.as<T>() + row * width;
      if (op.mask.present)
        softmax_masked_row(width, x, op.mask.as<const bool>() + row * width, op.log, outputs);
      else
        softmax_row(width, [x](int64_t i) { return x[i]; }, op.log, outputs);
    }
  });
}

}  // namespace

Status Softmax::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_floats("x", x, 1));
  if (mask.present) FASTSEQ_RETURN_IF_ERROR(check_like("mask", mask, x.of_dtype(DType::kBool)));
  plan.result = x;
  plan.threads = threads_for(static_cast<double>(elements(x) / kElementsPerThread));
  return {};
}

Status Softmax::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(x.dtype, [&](auto zero) { softmax<decltype(zero)>(*this); });
  return {};
}

}  // namespace fastseq

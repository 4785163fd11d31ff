// The drivers of reductions along an axis and of the choice of the last step.
//
// x is seen as (outer, count, inner). A sum along `count` is one of blocks of kDepthBlock elements, as in a product, so
// that its error does not grow with the length of a sequence.
#include <algorithm>
#include <limits>

#include "common/checks.h"
#include "dtypes.h"
#include "elementary_driver.h"
#include "fastseq/names.h"
#include "fastseq/rowwise.h"
#include "folds.h"
#include "kernels/kernels.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

constexpr int64_t kColumns = 64;  // that are reduced at once: their totals stay in the first-level cache

// What a reduction starts with, and how it goes on.
template <class T>
struct Sum {
  static constexpr T kStart = 0;
  T operator()(T a, T b) const { return a + b; }
};
template <class T>
struct Max : Larger {
  static constexpr T kStart = -std::numeric_limits<T>::infinity();
};

// The reduction of up to kColumns columns. Rows whose mask is false are left out.
template <class Fold, class T>
void reduce_columns(int64_t count, int64_t columns, const T* x, int64_t stride, const bool* mask, T* outputs) {
  T total[kColumns];
  std::fill_n(total, columns, Fold::kStart);
  for (int64_t begin = 0; begin < count; begin += kDepthBlock) {
    T part[kColumns];
    std::fill_n(part, columns, Fold::kStart);
    for (int64_t i = begin; i < std::min(begin + kDepthBlock, count); ++i) {
      if (mask && !mask[i]) continue;
      for (int64_t c = 0; c < columns; ++c) part[c] = Fold()(part[c], x[i * stride + c]);
    }
    for (int64_t c = 0; c < columns; ++c) total[c] = Fold()(total[c], part[c]);
  }
  std::copy_n(total, columns, outputs);
}

// The reduction of contiguous elements.
template <class Fold, class T>
T reduce_row(int64_t count, const T* x, const bool* mask) {
  if (!mask) return fold(count, Fold::kStart, [x](int64_t i) { return x[i]; }, Fold());
  return fold(count, Fold::kStart, [x, mask](int64_t i) { return mask[i] ? x[i] : Fold::kStart; }, Fold());
}

template <class Fold, class T>
void reduce(const Reduce& op) {
  const AxisView view(op.x, op.axis);
  const int64_t tiles = (view.inner + kColumns - 1) / kColumns;
  for_each_part(view.outer * tiles, op.plan.threads, [&](const Range& part) {
    for (int64_t tile = part.begin; tile < part.end; ++tile) {
      const int64_t o = tile / tiles;
      const int64_t first = tile % tiles * kColumns;
      const int64_t columns = std::min(kColumns, view.inner - first);
      const T* x = op.x.as<const T>() + o * view.count * view.inner + first;
      const bool* mask = op.mask.present ? op.mask.as<const bool>() + o * view.count : nullptr;
      T* outputs = op.outputs.as<T>() + o * view.inner + first;
      if (view.inner == 1)
        *outputs = reduce_row<Fold>(view.count, x, mask);
      else
        reduce_columns<Fold>(view.count, columns, x, view.inner, mask, outputs);
      if (op.how != Reduction::kMean) continue;
      const int64_t present = mask ? std::count(mask, mask + view.count, true) : view.count;
      for (int64_t c = 0; c < columns; ++c) outputs[c] /= static_cast<T>(present);
    }
  });
}

// The last step whose mask is true, or -1.
int64_t last_true(const bool* mask, int64_t count) {
  int64_t t = count - 1;
  while (t >= 0 && mask && !mask[t]) --t;
  return t;
}

template <class T>
void last_step(const LastStep& op) {
  const int64_t timesteps = op.x.shape[1];
  const int64_t width = op.x.shape[2];
  for_each_part(op.x.shape[0], op.plan.threads, [&](const Range& part) {
    for (int64_t b = part.begin; b < part.end; ++b) {
      const int64_t t = last_true(op.mask.present ? op.mask.as<const bool>() + b * timesteps : nullptr, timesteps);
      T* outputs = op.outputs.as<T>() + b * width;
      if (t < 0)
        std::fill_n(outputs, width, T(0));
      else
        std::copy_n(op.x.as<const T>() + (b * timesteps + t) * width, width, outputs);
    }
  });
}

}  // namespace

Status Reduce::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_floats("x", x, 2));
  FASTSEQ_RETURN_IF_ERROR(check_range("axis", axis, 1, x.rank - 1));
  if (mask.present) {
    if (how != Reduction::kMean)
      return Status::invalid_argument("mask is for how = mean only, got how = " + names_from(how).front());
    Array like = x.of_dtype(DType::kBool);
    like.rank = static_cast<int>(axis) + 1;
    FASTSEQ_RETURN_IF_ERROR(check_like("mask", mask, like));
  }
  plan.result = x;
  std::copy(x.shape + axis + 1, x.shape + x.rank, plan.result.shape + axis);
  --plan.result.rank;
  plan.threads = threads_for_bytes(static_cast<double>(bytes_of(x)));
  return {};
}

Status Reduce::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    how == Reduction::kMax ? reduce<Max<T>, T>(*this) : reduce<Sum<T>, T>(*this);
  });
  return {};
}

Status LastStep::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("x", x, 3, "(batch, timesteps, features)"));
  FASTSEQ_RETURN_IF_ERROR(check_optional("mask", mask, DType::kBool, {x.shape[0], x.shape[1]}));
  plan.result = Array::like(x.dtype, {x.shape[0], x.shape[2]});
  plan.threads = threads_for_bytes(2.0 * static_cast<double>(bytes_of(plan.result)));
  return {};
}

Status LastStep::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(x.dtype, [&](auto zero) { last_step<decltype(zero)>(*this); });
  return {};
}

}  // namespace fastseq

// The drivers of what makes, combines and applies masks.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/checks.h"
#include "dtypes.h"
#include "elementary_driver.h"
#include "fastseq/elementwise.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// Calls body(zero of x's type).
template <class Body>
void with_number_type(DType dtype, const Body& body) {
  if (dtype == DType::kInt32 || dtype == DType::kInt64)
    with_id_type(dtype, body);
  else
    with_float_type(dtype, body);
}

// Whether an element of type T can be equal to the value. If not, *rounded is not set.
template <class T>
bool can_equal(double value, T* rounded) {
  if constexpr (std::numeric_limits<T>::is_integer) {
    constexpr double kLimit = -static_cast<double>(std::numeric_limits<T>::min());
    if (!(value >= -kLimit && value < kLimit && value == std::trunc(value))) return false;
  }
  *rounded = static_cast<T>(value);
  return true;
}

template <class T>
void unequal(const Unequal& op) {
  T value{};
  const bool possible = can_equal(op.value, &value);
  const int64_t width = op.any_last ? op.x.shape[op.x.rank - 1] : 1;
  for_each_part(elements(op.plan.result), op.plan.threads, [&](const Range& part) {
    const T* x = op.x.as<const T>() + part.begin * width;
    for (int64_t row = part.begin; row < part.end; ++row, x += width) {
      bool any = false;
      for (int64_t i = 0; i < width; ++i) any |= !possible || x[i] != value;
      op.outputs.as<bool>()[row] = any;
    }
  });
}

template <class T>
void keep(const Keep& op) {
  const int64_t width = elements(op.x, 2, op.x.rank);
  const bool* mask = op.mask.as<const bool>();
  for_each_part(elements(op.mask), op.plan.threads, [&](const Range& part) {
    for (int64_t row = part.begin; row < part.end; ++row) {
      const T* x = op.x.as<const T>() + row * width;
      T* outputs = op.outputs.as<T>() + row * width;
      if (mask[row] == op.masked)
        std::fill_n(outputs, width, T(0));
      else if (outputs != x)
        std::copy_n(x, width, outputs);
    }
  });
}

}  // namespace

Status CombineMasks::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("a", a));
  FASTSEQ_RETURN_IF_ERROR(check_dtype("a", a, DType::kBool));
  FASTSEQ_RETURN_IF_ERROR(check_like("b", b, a));
  plan.result = a;
  plan.threads = threads_for_bytes(3.0 * static_cast<double>(bytes_of(a)));
  return {};
}

Status CombineMasks::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  for_each_part(elements(a), plan.threads, [&](const Range& part) {
    const bool* left = a.as<const bool>();
    const bool* right = b.as<const bool>();
    bool* out = outputs.as<bool>();
    if (how == MaskCombination::kAnd)
      std::transform(left + part.begin, left + part.end, right + part.begin, out + part.begin, std::bit_and<bool>());
    else
      std::transform(left + part.begin, left + part.end, right + part.begin, out + part.begin, std::bit_or<bool>());
  });
  return {};
}

Status Unequal::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("x", x, any_last ? 1 : 0));
  if (x.dtype == DType::kBool)
    return Status::invalid_dtype("x must have dtype float32, float64, int32 or int64, got bool");
  plan.result = x.of_dtype(DType::kBool);
  if (any_last) --plan.result.rank;
  plan.threads = threads_for_bytes(static_cast<double>(bytes_of(x) + bytes_of(plan.result)));
  return {};
}

Status Unequal::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_number_type(x.dtype, [&](auto zero) { unequal<decltype(zero)>(*this); });
  return {};
}

Status Keep::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_floats("x", x, 2));
  FASTSEQ_RETURN_IF_ERROR(check_array("mask", mask, DType::kBool, {x.shape[0], x.shape[1]}));
  plan.result = x;
  plan.threads = threads_for_bytes(2.0 * static_cast<double>(bytes_of(x)));
  return {};
}

Status Keep::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(x.dtype, [&](auto zero) { fastseq::keep<decltype(zero)>(*this); });
  return {};
}

}  // namespace fastseq

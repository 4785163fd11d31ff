// The driver of transposition. Axes that stay neighbours are one axis. If the last axis stays the last one, its rows
// are copied. Otherwise the last axes of x and of the result are exchanged in square tiles, of which each side is at
// least a cache line of floats.
#include <algorithm>
#include <cstring>
#include <string>

#include "common/checks.h"
#include "elementary_driver.h"
#include "fastseq/layout.h"
#include "runtime/settings.h"
#include "runtime/team.h"
#include "strided.h"

namespace fastseq {
namespace {

constexpr int64_t kTile = 16;

enum { kFrom, kTo };  // the arrays of StridedAxes

// The axes of the result, in its order.
StridedAxes<2> permuted_axes(const Transpose& op) {
  int64_t strides[Array::kMaxRank];
  for (int axis = 0; axis < op.x.rank; ++axis) strides[axis] = elements(op.x, axis + 1, op.x.rank);
  StridedAxes<2> axes;
  for (int axis = 0; axis < op.x.rank; ++axis)
    axes.add(op.plan.result.shape[axis],
             {strides[op.permutation[static_cast<size_t>(axis)]], elements(op.plan.result, axis + 1, op.x.rank)});
  return axes;
}

// Elements have kBytes bytes.
template <size_t kBytes>
void copy_tile(int64_t rows, int64_t columns, const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      std::memcpy(to + (r * to_stride + c) * kBytes, from + (c * from_stride + r) * kBytes, kBytes);
}

template <size_t kBytes>
void transpose(const Transpose& op) {
  const auto* from = op.x.as<const char>();
  auto* to = op.outputs.as<char>();
  StridedAxes<2> axes = permuted_axes(op);
  const StridedAxis<2> last = axes.count() > 0 ? axes.take(axes.count() - 1) : StridedAxis<2>{1, {1, 1}};
  if (last.strides[kFrom] == 1) {
    for_each_part(axes.positions(), op.plan.threads, [&](const Range& part) {
      axes.for_each(part, [&](int64_t, const std::array<int64_t, 2>& at) {
        std::memcpy(to + at[kTo] * kBytes, from + at[kFrom] * kBytes, last.size * kBytes);
      });
    });
    return;
  }
  int contiguous = 0;  // the last axis of x
  while (axes[contiguous].strides[kFrom] != 1) ++contiguous;
  const StridedAxis<2> rows = axes.take(contiguous);
  const int64_t tiles = (rows.size + kTile - 1) / kTile;
  for_each_part(axes.positions() * tiles, op.plan.threads, [&](const Range& part) {
    const Range positions{part.begin / tiles, (part.end - 1) / tiles + 1};
    axes.for_each(positions, [&](int64_t position, const std::array<int64_t, 2>& at) {
      const int64_t begin = std::max(part.begin - position * tiles, int64_t{0}) * kTile;
      const int64_t end = std::min((part.end - position * tiles) * kTile, rows.size);
      for (int64_t r = begin; r < end; r += kTile)
        for (int64_t c = 0; c < last.size; c += kTile)
          copy_tile<kBytes>(std::min(kTile, end - r), std::min(kTile, last.size - c),
                            from + (at[kFrom] + r + c * last.strides[kFrom]) * kBytes, last.strides[kFrom],
                            to + (at[kTo] + r * rows.strides[kTo] + c) * kBytes, rows.strides[kTo]);
    });
  });
}

}  // namespace

Status Transpose::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_elements("x", x));
  std::vector<int64_t> sorted = permutation;
  std::sort(sorted.begin(), sorted.end());
  bool complete = static_cast<int>(sorted.size()) == x.rank;
  for (int axis = 0; complete && axis < x.rank; ++axis) complete = sorted[static_cast<size_t>(axis)] == axis;
  if (!complete)
    return Status::invalid_argument(
        "permutation must have each axis of x, of shape " + shape_text(x.shape, x.rank, x.rank) + ", once, got " +
        shape_text(permutation.data(), static_cast<int>(permutation.size()), static_cast<int>(permutation.size())));
  plan.result = x;
  for (int axis = 0; axis < x.rank; ++axis) plan.result.shape[axis] = x.shape[permutation[static_cast<size_t>(axis)]];
  plan.threads = threads_for_bytes(2.0 * static_cast<double>(bytes_of(x)));
  return {};
}

Status Transpose::run(void*) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  if (elements(x) == 0) return {};
  switch (dtype_bytes(x.dtype)) {
    case 1:
      transpose<1>(*this);
      return {};
    case 4:
      transpose<4>(*this);
      return {};
    default:
      transpose<8>(*this);
      return {};
  }
}

}  // namespace fastseq

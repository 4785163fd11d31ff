// The driver of products of matrices, one for each batch item: items are divided among threads.
#include <algorithm>

#include "common/checks.h"
#include "common/scratch.h"
#include "dtypes.h"
#include "fastseq/batch_product.h"
#include "kernels/kernels.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// The shape of b[i], or of its transpose.
PackedShape item_shape(const BatchProduct& op) {
  const int64_t depth = op.a.shape[2];
  const int64_t columns = op.b.shape[op.transpose_b ? 1 : 2];
  return {depth, columns, tail_columns(depth, columns, columns)};
}

// Memory for b[i], for thread number `thread` of the plan; after the last thread's, the size of all is scratch.used().
template <class T>
T* packed_item(const BatchProduct& op, int thread, Scratch& scratch) {
  const int64_t size = kernels_of<T>(*op.plan.isa).packed_size(item_shape(op));
  for (int before = 0; before < thread; ++before) scratch.take<T>(size);
  return scratch.take<T>(size);
}

template <class T>
void pack(const KernelTable<T>& kernels, const PackedShape& shape, const T* b, bool transpose, T* packed) {
  if (transpose) return kernels.pack_transposed(0, shape.columns, 0, shape.depth, shape, b, shape.depth, packed);
  for (int64_t k = 0; k < shape.depth; ++k) kernels.pack_row(k, shape, b + k * shape.columns, packed);
}

// outputs = a b for one item.
template <class T>
void multiply_item(const KernelTable<T>& kernels, int64_t rows, const PackedShape& shape, const T* a, const T* packed,
                   T* outputs) {
  constexpr int64_t kRows = 128;  // per call; their pointers are on the stack
  const T* a_rows[kRows];
  T* output_rows[kRows];
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    const int64_t count = std::min(kRows, rows - begin);
    for (int64_t i = 0; i < count; ++i) {
      a_rows[i] = a + (begin + i) * shape.depth;
      output_rows[i] = outputs + (begin + i) * shape.columns;
    }
    kernels.product({count, shape, a_rows, 1, packed, 0, nullptr, output_rows});
  }
}

template <class T>
void multiply_items(const BatchProduct& op, void* memory) {
  const KernelTable<T>& kernels = kernels_of<T>(*op.plan.isa);
  const PackedShape shape = item_shape(op);
  const int64_t rows = op.a.shape[1];
  if (rows == 0 || shape.columns == 0) return;
  run_threads(op.plan.threads, [&](const Team& team) {
    Scratch scratch(memory);
    T* packed = packed_item<T>(op, team.rank, scratch);
    const Range items = team.share(op.a.shape[0]);
    for (int64_t i = items.begin; i < items.end; ++i) {
      pack(kernels, shape, op.b.as<const T>() + i * shape.depth * shape.columns, op.transpose_b, packed);
      multiply_item(kernels, rows, shape, op.a.as<const T>() + i * rows * shape.depth, packed,
                    op.outputs.as<T>() + i * rows * shape.columns);
    }
  });
}

}  // namespace

Status BatchProduct::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("a", a, 3, "(batch, rows, depth)"));
  FASTSEQ_RETURN_IF_ERROR(
      check_float_rank("b", b, 3, transpose_b ? "(batch, columns, depth)" : "(batch, depth, columns)"));
  const int64_t columns = b.shape[transpose_b ? 1 : 2];
  const int64_t depth = a.shape[2];
  FASTSEQ_RETURN_IF_ERROR(
      check_array("b", b, a.dtype, {a.shape[0], transpose_b ? columns : depth, transpose_b ? depth : columns}));
  plan.result = Array::like(a.dtype, {a.shape[0], a.shape[1], columns});
  FASTSEQ_RETURN_IF_ERROR(check_sizes("outputs", plan.result.shape, 3));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan.isa));
  const double products = static_cast<double>(a.shape[0]) * static_cast<double>(a.shape[1]) *
                          static_cast<double>(depth) * static_cast<double>(columns);
  plan.threads = static_cast<int>(std::clamp<int64_t>(a.shape[0], 1, threads_for_operations(2 * products)));
  Scratch measure(nullptr);
  with_float_type(a.dtype, [&](auto zero) { packed_item<decltype(zero)>(*this, plan.threads - 1, measure); });
  plan.scratch_bytes = measure.used();
  return {};
}

Status BatchProduct::run(void* scratch) const {
  FASTSEQ_RETURN_IF_ERROR(check_like("outputs", outputs, plan.result));
  with_float_type(a.dtype, [&](auto zero) { multiply_items<decltype(zero)>(*this, scratch); });
  return {};
}

}  // namespace fastseq

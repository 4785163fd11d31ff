// Embedding: see fastseq/embedding.h.
//
// Both directions are bound by memory. Wider vectors gain a tenth at most, so plain loops serve all ISAs, and they are
// here, not among the kernels. Backward reads the rows of doutputs from first to last and adds them to the rows of
// dembeddings. An alternative was measured: to sort the positions by id and to write every row once. It was slower
// where ids are spread, and no faster where half of them are equal, both with 5000 rows, which fit a cache, and with
// 100000, which do not.
#include "fastseq/embedding.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "common/checks.h"
#include "common/scratch.h"
#include "dtypes.h"
#include "row_shares.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// The memory that a thread moves in about 0.3 ms. That is longer than a thread takes to wake, on purpose: in a training
// step the framework runs other operations beside this one, such as an optimizer's second sum. On a machine with two
// cores, a step with Adam that moves 8 MB here took 2.9 ms with two threads, and 2.5 ms with one.
constexpr double kBytesPerThread = 6 << 20;
constexpr int kMaxIdsRank = Array::kMaxRank - 1;

int threads_of(const EmbeddingPlan& plan, int64_t rows) {
  const double bytes =
      static_cast<double>(rows) * static_cast<double>(plan.output_dim) * static_cast<double>(dtype_bytes(plan.dtype));
  return threads_for(bytes / kBytesPerThread);
}

// Returns body(real, id) for a zero of the float type and a zero of the ids' type.
template <class Body>
auto with_types(const EmbeddingPlan& plan, const Body& body) {
  return with_id_type(plan.ids_dtype,
                      [&](auto id) { return plan.dtype == DType::kFloat32 ? body(0.0F, id) : body(0.0, id); });
}

// --- checks ---------------------------------------------------------------------------------------------------------

// Completes the plan with the ids, and checks that every id is in [0, input_dim).
Status plan_ids(const Array& ids, EmbeddingPlan* plan) {
  plan->ids_dtype = ids.dtype;
  plan->positions = 1;
  for (int i = 0; i < ids.rank; ++i) plan->positions *= ids.shape[i];
  return check_indices("ids", ids, plan->input_dim);
}

Status check_ids(const Array& ids) {
  FASTSEQ_RETURN_IF_ERROR(check_integer("ids", ids));
  if (ids.rank <= kMaxIdsRank) return {};
  return Status::invalid_argument("ids must have at most " + std::to_string(kMaxIdsRank) + " dimensions, got shape " +
                                  shape_text(ids.shape, ids.rank, ids.rank));
}

// The shape is that of ids with output_dim after it.
Status check_rows(const char* name, const Array& array, const Array& ids, const EmbeddingPlan& plan) {
  Array rows = ids;
  rows.dtype = plan.dtype;
  rows.shape[rows.rank++] = plan.output_dim;
  return check_like(name, array, rows);
}

// --- loops ----------------------------------------------------------------------------------------------------------

template <class T, class Id>
void copy_rows(const Id* ids, const T* embeddings, int64_t output_dim, Range positions, T* outputs) {
  const size_t bytes = static_cast<size_t>(output_dim) * sizeof(T);
  for (int64_t p = positions.begin; p < positions.end; ++p)
    std::memcpy(outputs + p * output_dim, embeddings + ids[p] * output_dim, bytes);
}

template <bool kSquared, class T>
void add(const T* __restrict from, int64_t count, T* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += kSquared ? from[i] * from[i] : from[i];
}

// The cost of setting a row to zero, as a multiple of the cost of adding one position to it.
constexpr int64_t kRowWork = 1;

// Computes the elements of dembeddings from `begin` to `end`.
template <bool kSquared, class T, class Id>
void sum_rows(const Id* ids, const T* doutputs, const EmbeddingPlan& plan, TableElement begin, TableElement end,
              T* dembeddings) {
  const int64_t width = plan.output_dim;
  std::fill(dembeddings + begin.row * width + begin.column, dembeddings + end.row * width + end.column, T{0});
  for (int64_t p = 0; p < plan.positions; ++p) {
    const int64_t row = ids[p];
    if (row < begin.row || row > end.row) continue;
    const int64_t first = row == begin.row ? begin.column : 0;
    const int64_t last = row == end.row ? end.column : width;
    add<kSquared>(doutputs + p * width + first, last - first, dembeddings + row * width + first);
  }
}

}  // namespace

Status embedding_plan_forward(const Array& ids, const Array& embeddings, EmbeddingPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_ids(ids));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("embeddings", embeddings, 2, "(input_dim, output_dim)"));
  plan->dtype = embeddings.dtype;
  plan->input_dim = embeddings.shape[0];
  plan->output_dim = embeddings.shape[1];
  FASTSEQ_RETURN_IF_ERROR(plan_ids(ids, plan));
  plan->threads = threads_of(*plan, plan->positions);
  return {};
}

Status embedding_forward(const EmbeddingPlan& plan, const Array& ids, const Array& embeddings, const Array& outputs) {
  FASTSEQ_RETURN_IF_ERROR(check_rows("outputs", outputs, ids, plan));
  if (plan.output_dim == 0) return {};
  with_types(plan, [&](auto real, auto id) {
    run_threads(plan.threads, [&](const Team& team) {
      copy_rows(ids.as<decltype(id)>(), embeddings.as<decltype(real)>(), plan.output_dim, team.share(plan.positions),
                outputs.as<decltype(real)>());
    });
  });
  return {};
}

Status embedding_plan_backward(const Array& ids, const Array& doutputs, int64_t input_dim, EmbeddingPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_ids(ids));
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("doutputs", doutputs, ids.rank + 1, "(*ids.shape, output_dim)"));
  if (input_dim < 0) return Status::invalid_argument("input_dim must be 0 or more, got " + std::to_string(input_dim));
  plan->dtype = doutputs.dtype;
  plan->input_dim = input_dim;
  plan->output_dim = doutputs.shape[ids.rank];
  FASTSEQ_RETURN_IF_ERROR(check_sizes("dembeddings", {plan->input_dim, plan->output_dim}));
  FASTSEQ_RETURN_IF_ERROR(check_rows("doutputs", doutputs, ids, *plan));
  FASTSEQ_RETURN_IF_ERROR(plan_ids(ids, plan));
  plan->threads = threads_of(*plan, plan->positions + input_dim);
  Scratch measure(nullptr);
  if (plan->threads > 1) measure.take<int64_t>(input_dim + 1);
  plan->scratch_bytes = measure.used();
  return {};
}

Status embedding_backward(const EmbeddingPlan& plan, const Array& ids, const Array& doutputs, bool squared,
                          const Array& dembeddings, void* scratch) {
  FASTSEQ_RETURN_IF_ERROR(check_array("dembeddings", dembeddings, plan.dtype, {plan.input_dim, plan.output_dim}));
  if (plan.input_dim == 0 || plan.output_dim == 0) return {};
  with_types(plan, [&](auto real, auto id) {
    using T = decltype(real);
    const auto* all_ids = ids.as<decltype(id)>();
    auto* rows_begin = static_cast<int64_t*>(scratch);
    if (plan.threads > 1) count_work(all_ids, plan.positions, plan.input_dim, kRowWork, rows_begin);
    run_threads(plan.threads, [&](const Team& team) {
      TableElement begin{0, 0};
      TableElement end{plan.input_dim, 0};
      if (team.size > 1) {
        const Range work = team.share(plan.input_dim * kRowWork + plan.positions);
        begin = element_after(work.begin, plan.input_dim, plan.output_dim, rows_begin);
        end = element_after(work.end, plan.input_dim, plan.output_dim, rows_begin);
      }
      const auto sum = squared ? sum_rows<true, T, decltype(id)> : sum_rows<false, T, decltype(id)>;
      sum(all_ids, doutputs.as<T>(), plan, begin, end, dembeddings.as<T>());
    });
  });
  return {};
}

}  // namespace fastseq

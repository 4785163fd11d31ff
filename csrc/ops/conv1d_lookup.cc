// Conv1D behind an Embedding, for prediction: sums of rows of tables instead of products (fastseq/conv1d.h).
//
// The threads divide the outputs. A row of the convolution is the bias and, for each tap within the sequence, a row of
// that tap's table. Where pooled, a thread computes the rows of one window after the other; the rows that two windows
// share are computed twice.
#include <algorithm>

#include "common/checks.h"
#include "common/conv1d_checks.h"
#include "conv1d_layout.h"
#include "dtypes.h"

namespace fastseq {
namespace {

template <class T>
struct LookupScratch {
  struct ThreadScratch {
    WeightedRow<T>* taps;  // (K)
    T* window;             // the rows of a window, where pooled; else null

    ThreadScratch(const Conv1dPlan& plan, int, Scratch& scratch)
        : taps(scratch.take<WeightedRow<T>>(plan.dims.width)),
          window(plan.options.pooled ? scratch.take<T>(rows_of_window(plan) * plan.dims.filters) : nullptr) {}

    static int64_t rows_of_window(const Conv1dPlan& plan) {
      return std::min(plan.options.pool.pool_size, plan.dims.convolved);
    }
  };

  Repeated<Conv1dPlan, ThreadScratch> threads;

  LookupScratch(const Conv1dPlan& plan, Scratch& scratch) : threads(plan, plan.threads, scratch) {}
};

template <class T>
class Lookup {
 public:
  Lookup(const Conv1dPlan& plan, void* memory, const Conv1dLookup& operation)
      : plan_(plan),
        kernels_(kernels_of<T>(*plan.isa)),
        windows_(plan.dims.pool, plan.options.pool),
        operation_(operation),
        outputs_(operation.outputs.as<T>()),
        scratch_(plan, memory) {}

  void run(const Team& team) const {
    const Conv1dDims& d = plan_.dims;
    const typename LookupScratch<T>::ThreadScratch local = scratch_.threads.at(team.rank);
    for_rows(team.share(d.batch * d.outputs), d.outputs, [&](int64_t, int64_t b, int64_t p) {
      T* out = outputs_ + (b * d.outputs + p) * d.filters;
      if (!plan_.options.pooled) return convolve(b, {p, p + 1}, local.taps, out);
      const Range window = windows_.inside(p);
      convolve(b, window, local.taps, local.window);
      kernels_.max_pool({window.end - window.begin, d.filters, d.filters, local.window,
                         window.begin - windows_.whole(p).begin, out, nullptr, 1, plan_.options.pool.propagate_nan});
    });
  }

 private:
  // Computes activated rows of the convolution of sequence b.
  void convolve(int64_t b, Range rows, WeightedRow<T>* taps, T* out) const {
    const int64_t filters = plan_.dims.filters;
    const T* bias = operation_.bias.as<T>();
    for (int64_t t = rows.begin; t < rows.end; ++t) {
      T* row = out + (t - rows.begin) * filters;
      if (bias)
        std::copy_n(bias, filters, row);
      else
        std::fill_n(row, filters, T(0));
      const int64_t count = find_taps(b, t, taps);
      kernels_.add_weighted_rows({count, taps, operation_.tables.as<T>(), filters, filters, row});
    }
    kernels_.activate(plan_.options.activation, (rows.end - rows.begin) * filters, out);
  }

  // Writes the rows of the tables (K V, F) whose sum is row t of the convolution of sequence b. Returns their number.
  int64_t find_taps(int64_t b, int64_t t, WeightedRow<T>* taps) const {
    const Conv1dDims& d = plan_.dims;
    const Conv1dOptions& options = plan_.options;
    const int64_t rows_of_table = operation_.tables.shape[1];
    return with_id_type(operation_.ids.dtype, [&](auto zero) {
      const auto* ids = operation_.ids.as<decltype(zero)>() + b * d.timesteps;
      WeightedRow<T>* next = taps;
      for (int64_t k = 0; k < d.width; ++k) {
        const int64_t step = t * options.strides + k * options.dilation_rate - d.padding_before;
        if (step >= 0 && step < d.timesteps)
          *next++ = {static_cast<int32_t>(k * rows_of_table + static_cast<int64_t>(ids[step])), T(1)};
      }
      return static_cast<int64_t>(next - taps);
    });
  }

  const Conv1dPlan& plan_;
  const KernelTable<T>& kernels_;
  const PoolWindows windows_;
  const Conv1dLookup& operation_;
  T* outputs_;
  Carved<LookupScratch<T>> scratch_;
};

}  // namespace

Status Conv1dLookup::make_plan() {
  FASTSEQ_RETURN_IF_ERROR(check_integer("ids", ids));
  if (ids.rank != 2) return wrong_shape("ids", "(batch, timesteps)", ids);
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("tables", tables, 3, "(kernel_size, input_dim, filters)"));
  FASTSEQ_RETURN_IF_ERROR(check_range("groups", options.groups, 1, 1));
  const Array& t = tables;
  if (t.shape[0] * t.shape[1] > INT32_MAX) return wrong_shape("tables", "with at most 2^31 - 1 rows in all", tables);
  FASTSEQ_RETURN_IF_ERROR(check_indices("ids", ids, t.shape[1]));
  const Conv1dInputs sizes{Array::like(t.dtype, {ids.shape[0], ids.shape[1], 0}),
                           Array::like(t.dtype, {t.shape[0], 0, t.shape[2]}), bias};
  FASTSEQ_RETURN_IF_ERROR(conv1d_plan_forward(sizes, options, &plan));
  const Conv1dDims& d = plan.dims;
  plan.threads =
      threads_for_bytes(static_cast<double>(d.batch * d.convolved) * static_cast<double>(d.width * d.filters) *
                        static_cast<double>(dtype_bytes(d.dtype)));
  plan.scratch_bytes = scratch_bytes<LookupScratch>(plan);
  plan.prepared_bytes = 0;
  return {};
}

Status Conv1dLookup::run(void* scratch) const {
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_outputs({outputs, {}}, plan.options, plan.dims, false));
  run_driver<Lookup>(plan, scratch, *this);
  return {};
}

}  // namespace fastseq

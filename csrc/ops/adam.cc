// The driver of Adam: checks, sorting of the slices by row, partition over threads.
//
// The slices are not summed into a table like the variable. Instead the rows are updated one after the other: the
// slices of a row are summed into buffers that stay in the first-level cache, and the row is updated from them.
#include "fastseq/adam.h"

#include <algorithm>

#include "common/checks.h"
#include "common/scratch.h"
#include "dtypes.h"
#include "row_shares.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// The cost of updating an element, as a multiple of the cost of adding an element of a slice. An update reads three
// arrays and writes three.
constexpr int64_t kRowWork = 8;

template <class T>
struct RowSums {
  alignas(64) T gradient[1024];
  T squares[1024];
};

bool dense(const AdamGradient& gradient) { return !gradient.indices.present; }

Status check_state(const AdamState& state, const Array& like) {
  FASTSEQ_RETURN_IF_ERROR(check_like("variable", state.variable, like));
  FASTSEQ_RETURN_IF_ERROR(check_like("momentum", state.momentum, like));
  FASTSEQ_RETURN_IF_ERROR(check_like("velocity", state.velocity, like));
  return state.velocity_hat.present ? check_like("velocity_hat", state.velocity_hat, like) : Status();
}

Status check_gradient(const Array& variable, const AdamGradient& gradient) {
  if (dense(gradient)) return check_like("gradient", gradient.values, variable);
  if (variable.rank == 0) return wrong_shape("variable", "(rows, ...) where the gradient has indices", variable);
  FASTSEQ_RETURN_IF_ERROR(check_integer("indices", gradient.indices));
  if (gradient.indices.rank != 1) return wrong_shape("indices", "(positions,)", gradient.indices);
  Array slices = variable;
  slices.shape[0] = gradient.indices.shape[0];
  FASTSEQ_RETURN_IF_ERROR(check_like("gradient", gradient.values, slices));
  return check_indices("indices", gradient.indices, variable.shape[0]);
}

// The positions of the slices, sorted by row; within a row they stay in order.
struct Sorted {
  Sorted(const AdamPlan& plan, Scratch& scratch)
      : begins(scratch.take<int64_t>(plan.rows + 1)),
        ends(scratch.take<int64_t>(plan.rows)),
        positions(scratch.take<int64_t>(plan.positions)) {}

  template <class Id>
  void fill(const AdamPlan& plan, const Id* indices) const {
    count_work(indices, plan.positions, plan.rows, kRowWork, begins);
    for (int64_t v = 0; v < plan.rows; ++v) ends[v] = begins[v] - v * kRowWork;
    for (int64_t p = 0; p < plan.positions; ++p) positions[ends[indices[p]]++] = p;
  }

  int64_t* begins;  // (rows + 1): the work before each row, see row_shares.h
  int64_t* ends;    // (rows): the end of each row's positions
  int64_t* positions;
};

template <class T>
class Driver {
 public:
  Driver(const AdamPlan& plan, const AdamState& state, const AdamGradient& gradient, const AdamState& updated)
      : plan_(plan), gradient_(gradient.values.as<const T>()), kernels_(kernels_of<T>(*plan.isa)) {
    all_.momentum_rate = static_cast<T>(1.0 - plan.options.beta_1);
    all_.velocity_rate = static_cast<T>(1.0 - plan.options.beta_2);
    all_.alpha = static_cast<T>(plan.options.alpha);
    all_.epsilon = static_cast<T>(plan.options.epsilon);
    all_.variable = {state.variable.as<const T>(), updated.variable.as<T>()};
    all_.momentum = {state.momentum.as<const T>(), updated.momentum.as<T>()};
    all_.velocity = {state.velocity.as<const T>(), updated.velocity.as<T>()};
    all_.velocity_hat = {state.velocity_hat.as<const T>(), updated.velocity_hat.as<T>()};
  }

  // Updates these elements by a dense gradient.
  void run_dense(const Range& elements) const {
    update(elements.begin, elements.end - elements.begin, gradient_ + elements.begin, nullptr);
  }

  void run_slices(const Sorted& sorted, const Team& team) const {
    const Range work = team.share(sorted.begins[plan_.rows]);
    const TableElement begin = element_after(work.begin, plan_.rows, plan_.columns, sorted.begins);
    const TableElement end = element_after(work.end, plan_.rows, plan_.columns, sorted.begins);
    for (int64_t row = begin.row; row < std::min(end.row + 1, plan_.rows); ++row) {
      const int64_t first = row == begin.row ? begin.column : 0;
      const int64_t last = row == end.row ? end.column : plan_.columns;
      update_row(sorted, row, first, last);
    }
  }

 private:
  void update_row(const Sorted& sorted, int64_t row, int64_t first, int64_t last) const {
    RowSums<T> sums;
    constexpr int64_t kColumns = sizeof(sums.gradient) / sizeof(T);
    const int64_t* begin = sorted.positions + sorted.begins[row] - row * kRowWork;
    const int64_t* end = sorted.positions + sorted.ends[row];
    for (int64_t column = first, count = 0; column < last; column += count) {
      count = std::min(kColumns, last - column);
      std::fill_n(sums.gradient, count, T{0});
      std::fill_n(sums.squares, count, T{0});
      for (const int64_t* position = begin; position < end; ++position)
        kernels_.add_with_squares(count, gradient_ + *position * plan_.columns + column, sums.gradient, sums.squares);
      update(row * plan_.columns + column, count, sums.gradient, sums.squares);
    }
  }

  void update(int64_t first, int64_t count, const T* gradient, const T* squares) const {
    AdamArgs<T> args = all_;
    args.count = count;
    args.gradient = gradient;
    args.squares = squares;
    for (auto* array : {&args.variable, &args.momentum, &args.velocity, &args.velocity_hat})
      if (array->to) *array = {array->from + first, array->to + first};
    kernels_.adam(args);
  }

  const AdamPlan& plan_;
  const T* gradient_;
  const KernelTable<T>& kernels_;
  AdamArgs<T> all_{};  // the arguments for the whole arrays, without a gradient
};

// The memory that an update reads and writes.
double work_in_bytes(const AdamPlan& plan) {
  const double elements =
      static_cast<double>(plan.rows * kRowWork + plan.positions) * static_cast<double>(plan.columns);
  return elements * static_cast<double>(dtype_bytes(plan.dtype));
}

template <class T>
void run(const AdamPlan& plan, const AdamState& state, const AdamGradient& gradient, const AdamState& updated,
         void* scratch) {
  const Driver<T> driver(plan, state, gradient, updated);
  if (dense(gradient))
    return for_each_part(plan.columns, plan.threads, [&](const Range& part) { driver.run_dense(part); });
  Scratch carve(scratch);
  const Sorted sorted(plan, carve);
  if (gradient.indices.dtype == DType::kInt32)
    sorted.fill(plan, gradient.indices.as<const int32_t>());
  else
    sorted.fill(plan, gradient.indices.as<const int64_t>());
  run_threads(plan.threads, [&](const Team& team) { driver.run_slices(sorted, team); });
}

}  // namespace

Status adam_plan(const AdamState& state, const AdamGradient& gradient, const AdamOptions& options, AdamPlan* plan) {
  const Array& variable = state.variable;
  FASTSEQ_RETURN_IF_ERROR(check_float_rank("variable", variable, variable.rank, ""));
  if (variable.rank > Array::kMaxRank)
    return Status::invalid_argument("variable must have at most " + std::to_string(Array::kMaxRank) +
                                    " dimensions, got " + std::to_string(variable.rank));
  FASTSEQ_RETURN_IF_ERROR(check_state(state, variable));
  FASTSEQ_RETURN_IF_ERROR(check_gradient(variable, gradient));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  plan->dtype = variable.dtype;
  plan->options = options;
  plan->rows = plan->columns = 1;
  for (int i = 0; i < variable.rank; ++i) plan->columns *= variable.shape[i];
  if (!dense(gradient)) {
    plan->rows = variable.shape[0];
    plan->columns = 1;
    for (int i = 1; i < variable.rank; ++i) plan->columns *= variable.shape[i];
    plan->positions = gradient.indices.shape[0];
    Scratch measure(nullptr);
    if (plan->columns > 0) (void)Sorted(*plan, measure);
    plan->scratch_bytes = measure.used();
  }
  plan->threads = threads_for_bytes(work_in_bytes(*plan));
  return {};
}

Status adam(const AdamPlan& plan, const AdamState& state, const AdamGradient& gradient, const AdamState& updated,
            void* scratch) {
  FASTSEQ_RETURN_IF_ERROR(check_state(updated, state.variable));
  if (plan.rows == 0 || plan.columns == 0) return {};
  with_float_type(plan.dtype, [&](auto zero) { run<decltype(zero)>(plan, state, gradient, updated, scratch); });
  return {};
}

Status adam(const std::vector<AdamUpdate>& updates) {
  double bytes = 0;
  int64_t elements = 0;
  for (const AdamUpdate& one : updates) {
    if (!dense(one.gradient))
      return Status::invalid_argument("indices must be absent where there are several variables");
    FASTSEQ_RETURN_IF_ERROR(check_state(one.updated, one.state.variable));
    bytes += work_in_bytes(one.plan);
    elements += one.plan.columns;
  }
  // Threads divide the elements of all variables, one variable after the other.
  for_each_part(elements, threads_for_bytes(bytes), [&](const Range& part) {
    int64_t first = 0;
    for (const AdamUpdate& one : updates) {
      const Range own{std::max<int64_t>(part.begin - first, 0), std::min(part.end - first, one.plan.columns)};
      first += one.plan.columns;
      if (own.begin >= own.end) continue;
      with_float_type(one.plan.dtype, [&](auto zero) {
        Driver<decltype(zero)>(one.plan, one.state, one.gradient, one.updated).run_dense(own);
      });
    }
  });
  return {};
}

}  // namespace fastseq

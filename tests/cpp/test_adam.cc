// Adam beside its definition (fastseq/adam.h), computed element by element. Every operation is rounded separately, so
// the results have the same bits.
#include "fastseq/adam.h"

#include <algorithm>

#include "check.h"

namespace fastseq::test {
namespace {

constexpr AdamOptions kOptions{0.01, 0.9, 0.999, 1e-7};

template <class T>
struct Problem {
  Arrays arrays;
  AdamState state, updated;
  AdamGradient gradient;
  int64_t rows, columns;
  bool amsgrad;

  Problem(int64_t the_rows, int64_t the_columns, std::vector<int64_t> indices, bool slices, bool with_amsgrad,
          DType index_dtype)
      : rows(the_rows), columns(the_columns), amsgrad(with_amsgrad) {
    Random random(3);
    const std::vector<int64_t> shape{rows, columns};
    const auto positive = [&](const char* name) {
      const Array array = random_numbers<T>(arrays, random, name, shape);
      for (int64_t i = 0; i < rows * columns; ++i) array.as<T>()[i] = std::fabs(array.as<T>()[i]);
      return array;
    };
    state = {random_numbers<T>(arrays, random, "variable", shape), random_numbers<T>(arrays, random, "momentum", shape),
             positive("velocity"), amsgrad ? positive("velocity_hat") : Array()};
    const auto result = [&](const char* name) { return arrays.make(name, kDType<T>, shape); };
    updated = {result("new variable"), result("new momentum"), result("new velocity"),
               amsgrad ? result("new velocity_hat") : Array()};
    const auto positions = static_cast<int64_t>(indices.size());
    gradient.values = random_numbers<T>(arrays, random, "gradient", {slices ? positions : rows, columns});
    if (!slices) return;
    gradient.indices = arrays.make("indices", index_dtype, {positions});
    for (size_t i = 0; i < indices.size(); ++i) {
      if (index_dtype == DType::kInt32)
        gradient.indices.as<int32_t>()[i] = static_cast<int32_t>(indices[i]);
      else
        gradient.indices.as<int64_t>()[i] = indices[i];
    }
  }

  void run(const AdamState& results) {
    AdamPlan plan;
    require(adam_plan(state, gradient, kOptions, &plan));
    plan.threads = num_threads();
    const GuardedMemory scratch(plan.scratch_bytes);
    require(adam(plan, state, gradient, results, scratch.data()));
  }

  void check(const std::vector<int64_t>& indices) const {
    const T momentum_rate = static_cast<T>(1.0 - kOptions.beta_1);
    const T velocity_rate = static_cast<T>(1.0 - kOptions.beta_2);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t at = row * columns + column;
        T g = 0;
        T square = 0;
        if (gradient.indices.present) {
          for (size_t p = 0; p < indices.size(); ++p) {
            if (indices[p] != row) continue;
            const T value = gradient.values.as<T>()[static_cast<int64_t>(p) * columns + column];
            g += value;
            square += value * value;
          }
        } else {
          g = gradient.values.as<T>()[at];
          square = g * g;
        }
        const T momentum = state.momentum.as<T>()[at] + (g - state.momentum.as<T>()[at]) * momentum_rate;
        const T velocity = state.velocity.as<T>()[at] + (square - state.velocity.as<T>()[at]) * velocity_rate;
        const T hat = amsgrad ? std::max(state.velocity_hat.as<T>()[at], velocity) : velocity;
        const T variable = state.variable.as<T>()[at] - momentum * static_cast<T>(kOptions.alpha) /
                                                            (std::sqrt(hat) + static_cast<T>(kOptions.epsilon));
        CHECK_EQUAL(updated.momentum.as<T>()[at], momentum);
        CHECK_EQUAL(updated.velocity.as<T>()[at], velocity);
        if (amsgrad) CHECK_EQUAL(updated.velocity_hat.as<T>()[at], hat);
        CHECK_EQUAL(updated.variable.as<T>()[at], variable);
      }
  }
};

template <class T>
void check_all() {
  for (const bool amsgrad : {false, true})
    for (const int64_t columns : {0, 1, 3, 33, 1100}) {
      Problem<T> dense(2, columns, {}, false, amsgrad, DType::kInt32);
      dense.run(dense.updated);
      dense.check({});
      const std::vector<int64_t> indices{4, 1, 4, 4, 0, 4};
      for (const DType dtype : {DType::kInt32, DType::kInt64}) {
        Problem<T> slices(6, columns, indices, true, amsgrad, dtype);
        slices.run(slices.updated);
        slices.check(indices);
        // In place.
        slices.run(slices.state);
        for (int64_t i = 0; i < 6 * columns; ++i)
          CHECK_EQUAL(slices.state.variable.template as<T>()[i], slices.updated.variable.template as<T>()[i]);
      }
      Problem<T> none(3, columns, {}, true, amsgrad, DType::kInt64);
      none.run(none.updated);
      none.check({});
    }
}

TEST(adam_is_its_definition) {
  on_every_isa([] {
    check_all<float>();
    check_all<double>();
  });
}

TEST(arrays_that_do_not_fit_are_named) {
  Problem<float> problem(2, 3, {}, false, false, DType::kInt32);
  AdamPlan plan;
  AdamState state = problem.state;
  state.momentum = shaped(DType::kFloat32, {2, 4});
  CHECK_INVALID(adam_plan(state, problem.gradient, kOptions, &plan), "momentum must have shape (2, 3), got (2, 4)");
  CHECK_INVALID(adam_plan(problem.state, {shaped(DType::kFloat32, {2}), {}}, kOptions, &plan),
                "gradient must have shape (2, 3), got (2,)");
  CHECK_DTYPE(adam_plan(problem.state, {shaped(DType::kFloat64, {2, 3}), {}}, kOptions, &plan),
              "gradient must have dtype float32, got float64");
  CHECK_INVALID(adam_plan(problem.state, {problem.gradient.values, shaped(DType::kInt32, {2, 1})}, kOptions, &plan),
                "indices must have shape (positions,), got (2, 1)");
  require(adam_plan(problem.state, problem.gradient, kOptions, &plan));
  AdamState updated = problem.updated;
  updated.velocity = {};
  CHECK_INVALID(adam(plan, problem.state, problem.gradient, updated, nullptr), "velocity is required, got None");
}

}  // namespace
}  // namespace fastseq::test

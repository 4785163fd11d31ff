// The drivers of max and average pooling.
//
// In forward, a thread computes a range of the outputs of all batch rows. In backward, a thread computes a range of the
// timesteps: it adds the gradients of all windows that have some of these timesteps, in order. A window on the border
// between two threads is visited by both, by each for its timesteps.
#include <algorithm>

#include "common/pool_checks.h"
#include "dtypes.h"
#include "pool_windows.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

// Some of the rows of x or dx that one window has. Rows are counted over the whole batch.
struct Window {
  int64_t output;  // the row of the outputs
  int64_t first;   // the first row
  int64_t count;
  int64_t position;  // position of the first row in the window
  int64_t inside;    // how many timesteps of the window are in the sequence
};

// Calls body(window) for every output.
template <class Body>
void for_each_window(const PoolPlan& plan, const Body& body) {
  const PoolDims& d = plan.dims;
  if (d.channels == 0 || d.pooled == 0) return;
  const PoolWindows windows(d, plan.options);
  for_each_part(d.batch * d.pooled, plan.threads, [&](const Range& outputs) {
    for (int64_t output = outputs.begin; output < outputs.end; ++output) {
      const int64_t p = output % d.pooled;
      const Range inside = windows.inside(p);
      const int64_t count = inside.end - inside.begin;
      body(Window{output, output / d.pooled * d.timesteps + inside.begin, count, inside.begin - windows.whole(p).begin,
                  count});
    }
  });
}

// Calls body(window, add) for every output and every thread's share of dx that has some of the output's window. `add`
// tells body to add to the rows instead of writing them. Rows without a window, and rows to add to, are set to zero
// before.
template <class T, class Body>
void for_each_window_of_dx(const PoolPlan& plan, T* dx, const Body& body) {
  const PoolDims& d = plan.dims;
  if (d.channels == 0 || d.timesteps == 0) return;
  const PoolWindows windows(d, plan.options);
  const bool add = windows.overlap();
  const auto share_of_row = [&](int64_t b, const Range& timesteps) {
    const int64_t first = b * d.timesteps;
    const auto zero = [&](const Range& range) {
      std::fill(dx + (first + range.begin) * d.channels, dx + (first + range.end) * d.channels, T(0));
    };
    windows.for_each_of(timesteps, zero, [&](int64_t p, const Range& mine, int64_t position, int64_t inside) {
      body(Window{b * d.pooled + p, first + mine.begin, mine.end - mine.begin, position, inside}, add);
    });
  };
  for_each_part(d.batch * d.timesteps, plan.threads, [&](const Range& rows) {
    for (int64_t row = rows.begin; row < rows.end;) {
      const int64_t b = row / d.timesteps;
      const int64_t begin = b * d.timesteps;
      const int64_t end = std::min(rows.end, begin + d.timesteps);
      share_of_row(b, {row - begin, end - begin});
      row = end;
    }
  });
}

template <class T>
void max_pool(const PoolPlan& plan, const Array& x, const Array& outputs, const Array& argmax) {
  const KernelTable<T>& kernels = kernels_of<T>(*plan.isa);
  const int64_t channels = plan.dims.channels;
  const int bytes = static_cast<int>(dtype_bytes(max_pool_index_dtype(plan.options.pool_size)));
  for_each_window(plan, [&](const Window& window) {
    const int64_t out = window.output * channels;
    kernels.max_pool({window.count, channels, channels, x.as<T>() + window.first * channels, window.position,
                      outputs.as<T>() + out, argmax.data ? argmax.as<char>() + out * bytes : nullptr, bytes,
                      plan.options.propagate_nan});
  });
}

template <class T>
void max_pool_gradient(const PoolPlan& plan, const Array& argmax, const Array& doutputs, const Array& dx) {
  const KernelTable<T>& kernels = kernels_of<T>(*plan.isa);
  const int64_t channels = plan.dims.channels;
  const int bytes = static_cast<int>(dtype_bytes(max_pool_index_dtype(plan.options.pool_size)));
  for_each_window_of_dx(plan, dx.as<T>(), [&](const Window& window, bool add) {
    const int64_t out = window.output * channels;
    kernels.max_pool_backward({window.count, channels, channels, dx.as<T>() + window.first * channels, window.position,
                               doutputs.as<T>() + out, argmax.as<char>() + out * bytes, bytes, add});
  });
}

template <class T>
void average_pool(const PoolPlan& plan, const Array& x, const Array& outputs) {
  const KernelTable<T>& kernels = kernels_of<T>(*plan.isa);
  const int64_t channels = plan.dims.channels;
  for_each_window(plan, [&](const Window& window) {
    kernels.average_pool({window.count, channels, channels, x.as<T>() + window.first * channels,
                          outputs.as<T>() + window.output * channels});
  });
}

template <class T>
void average_pool_gradient(const PoolPlan& plan, const Array& doutputs, const Array& dx) {
  const KernelTable<T>& kernels = kernels_of<T>(*plan.isa);
  const int64_t channels = plan.dims.channels;
  for_each_window_of_dx(plan, dx.as<T>(), [&](const Window& window, bool add) {
    kernels.average_pool_backward({window.count, channels, channels, dx.as<T>() + window.first * channels,
                                   window.inside, doutputs.as<T>() + window.output * channels, add});
  });
}

}  // namespace

Status max_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs, const Array& argmax) {
  FASTSEQ_RETURN_IF_ERROR(check_max_pool_forward(x, outputs, argmax, plan.options, plan.dims));
  with_float_type(plan.dims.dtype, [&](auto zero) { max_pool<decltype(zero)>(plan, x, outputs, argmax); });
  return {};
}

Status max_pool_backward(const PoolPlan& plan, const Array& argmax, const Array& doutputs, const Array& dx) {
  FASTSEQ_RETURN_IF_ERROR(check_max_pool_backward(argmax, doutputs, dx, plan.options, plan.dims));
  with_float_type(plan.dims.dtype, [&](auto zero) { max_pool_gradient<decltype(zero)>(plan, argmax, doutputs, dx); });
  return {};
}

Status average_pool_forward(const PoolPlan& plan, const Array& x, const Array& outputs) {
  FASTSEQ_RETURN_IF_ERROR(check_pool_forward(x, outputs, plan.dims));
  with_float_type(plan.dims.dtype, [&](auto zero) { average_pool<decltype(zero)>(plan, x, outputs); });
  return {};
}

Status average_pool_backward(const PoolPlan& plan, const Array& doutputs, const Array& dx) {
  FASTSEQ_RETURN_IF_ERROR(check_pool_backward(doutputs, dx, plan.dims));
  with_float_type(plan.dims.dtype, [&](auto zero) { average_pool_gradient<decltype(zero)>(plan, doutputs, dx); });
  return {};
}

}  // namespace fastseq

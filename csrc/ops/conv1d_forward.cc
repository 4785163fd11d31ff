// Conv1D forward: the driver.
//
// The threads divide the rows of all sequences, and compute them in blocks. A block is a product of patches and the
// packed kernel, then the activation while the rows are in the first-level cache. Where pooled, a block is the part of
// the convolution that some windows of a sequence need, or all windows of several sequences; it is in scratch only.
// Where there are few rows, the threads divide the filters, and each packs its part of the kernel a block at a time.
#include "common/conv1d_checks.h"
#include "conv1d_layout.h"

namespace fastseq {
namespace {

// Whether the threads divide the filters. Pooled convolutions never do so, and must have the same bits as others. So it
// requires that there is no tail, whose sums have another order.
bool divides_filters(const Conv1dPlan& plan) {
  const int64_t filters = plan.dims.filters;
  return conv1d_few_rows(plan) && !plan.options.pooled &&
         tail_columns(conv1d_patch_elements(plan), filters, filters) == 0;
}

// The number of rows of the convolution in a product.
int64_t block_rows(const Conv1dPlan& plan) {
  const int64_t rows = plan.dims.batch * plan.dims.convolved;
  return divides_filters(plan) ? rows : conv1d_block_rows(plan, conv1d_patch_elements(plan), rows);
}

// The size of a block where pooled.
struct PooledBlock {
  int64_t sequences = 1;
  int64_t outputs;    // outputs of each sequence
  int64_t convolved;  // the largest number of the convolution's rows that the outputs need

  explicit PooledBlock(const Conv1dPlan& plan) {
    const PoolOptions& pool = plan.options.pool;
    // If windows overlap, so do blocks. Then a block has many windows, so that few rows are computed twice.
    constexpr int64_t kWindows = 8;
    const int64_t shared = std::max<int64_t>(0, pool.pool_size - pool.strides);
    const int64_t rows = std::max(block_rows(plan), std::min(kWindows * shared, plan.dims.convolved));
    outputs = std::max<int64_t>(0, rows - pool.pool_size) / pool.strides + 1;
    convolved = std::min((outputs - 1) * pool.strides + pool.pool_size, conv1d_scratch_timesteps(plan));
    if (outputs < plan.dims.outputs || plan.dims.convolved == 0) return;
    sequences = std::clamp<int64_t>(rows / plan.dims.convolved, 1, std::max<int64_t>(1, plan.dims.batch));
    convolved = sequences * conv1d_scratch_timesteps(plan);
  }
};

template <class T>
struct ForwardScratch {
  // Scratch of one thread, with R rows in a product.
  struct ThreadScratch {
    T* gathered;        // (R, K C/G)
    const T** patches;  // (R)
    const T** initial;  // (R)
    T** results;        // (R)
    T* convolved;       // a block (PooledBlock::convolved, F), where pooled; else null
    T* packed;          // (kDepthBlock, kColumns) of the kernel, where the threads divide the filters

    ThreadScratch(const Conv1dPlan& plan, int, Scratch& scratch) {
      const int64_t rows = block_rows(plan);
      gathered = scratch.take<T>(rows * conv1d_patch_elements(plan));
      patches = scratch.take<const T*>(rows);
      initial = scratch.take<const T*>(rows);
      results = scratch.take<T*>(rows);
      convolved = plan.options.pooled ? scratch.take<T>(PooledBlock(plan).convolved * plan.dims.filters) : nullptr;
      const PackedShape block{kDepthBlock, kColumns, 0};
      packed = scratch.take<T>(divides_filters(plan) ? kernels_of<T>(*plan.isa).packed_size(block) : 0);
    }
  };

  // The number of the kernel's columns that are packed at a time. With kDepthBlock rows they fit the second-level
  // cache.
  static constexpr int64_t kColumns = 512;

  PackedGroups<T> kernel;
  Repeated<Conv1dPlan, ThreadScratch> threads;

  // `prepared` is memory of conv1d_prepare; null: the kernel is packed in scratch.
  ForwardScratch(const Conv1dPlan& plan, Scratch& scratch, const void* prepared = nullptr)
      : kernel(prepared ? kernel_in(plan, Scratch(const_cast<void*>(prepared))) : kernel_in(plan, scratch)),
        threads(plan, plan.threads, scratch) {}

  template <class Memory>
  static PackedGroups<T> kernel_in(const Conv1dPlan& plan, Memory&& memory) {
    return {kernels_of<T>(*plan.isa), plan.options.groups, conv1d_patch_elements(plan),
            divides_filters(plan) ? 0 : plan.dims.filters / plan.options.groups, memory};
  }
};

template <class T>
class Forward : Conv1dOperands<T> {
  using Base = Conv1dOperands<T>;
  using Base::batch, Base::timesteps, Base::channels, Base::filters, Base::width, Base::convolved, Base::outputs;
  using Base::groups, Base::group_channels, Base::group_filters, Base::windows, Base::index_bytes;
  using Base::plan, Base::kernels, Base::kernel, Base::x, Base::bias;

 public:
  Forward(const Conv1dPlan& the_plan, void* memory, const Conv1dInputs& in, const Conv1dOutputs& out,
          const void* prepared)
      : Base(the_plan, in),
        prepared_(prepared),
        outputs_(out.outputs.as<T>()),
        argmax_(out.argmax.as<char>()),
        scratch_(plan, memory, prepared) {}

  // Packs these rows of the kernel, for all groups.
  void pack(Range rows) const {
    for (int64_t k = rows.begin; k < rows.end; ++k)
      for (int64_t g = 0; g < groups; ++g)
        kernels.pack_row(k, scratch_.kernel.shape, kernel + k * filters + g * group_filters, scratch_.kernel.group(g));
  }

  void run(const Team& team) const {
    if (divides_filters(plan)) {
      const Range vectors = team.share(whole_vectors(filters));
      const Range columns{vectors.begin * kLanes, std::min(filters, vectors.end * kLanes)};
      return convolve_columns(columns, scratch_.threads.at(team.rank));
    }
    if (!prepared_) {
      pack(team.share(width * group_channels));
      team.wait();
    }
    const ThreadScratch local = scratch_.threads.at(team.rank);
    if (plan.options.pooled) {
      const PooledBlock block(plan);
      const int64_t groups_of_sequences = (batch + block.sequences - 1) / block.sequences;
      const int64_t blocks = (outputs + block.outputs - 1) / block.outputs;
      const Range share = team.share(groups_of_sequences * blocks);
      for (int64_t i = share.begin; i < share.end; ++i)
        convolve_and_pool(split(batch, groups_of_sequences, i / blocks), split(outputs, blocks, i % blocks), local);
    } else {
      const Range rows = team.share(batch * convolved);
      const int64_t blocks = (rows.end - rows.begin + block_rows(plan) - 1) / block_rows(plan);
      for (int64_t i = 0; i < blocks; ++i) {
        const Range within = split(rows.end - rows.begin, blocks, i);
        const Range block{rows.begin + within.begin, rows.begin + within.end};
        convolve(block, local, outputs_ + block.begin * filters);
      }
    }
  }

 private:
  using ThreadScratch = typename ForwardScratch<T>::ThreadScratch;

  // Computes outputs [p.begin, p.end) of sequences [b.begin, b.end). With several sequences, these are all outputs.
  void convolve_and_pool(Range b, Range p, const ThreadScratch& local) const {
    const Range rows{b.begin * convolved + windows.inside(p.begin).begin,
                     (b.end - 1) * convolved + windows.inside(p.end - 1).end};
    const int64_t most = block_rows(plan);
    for (int64_t begin = rows.begin; begin < rows.end; begin += most)
      convolve({begin, std::min(begin + most, rows.end)}, local, local.convolved + (begin - rows.begin) * filters);
    for (int64_t sequence = b.begin; sequence < b.end; ++sequence) {
      const T* first = local.convolved + (sequence * convolved - rows.begin) * filters;
      for (int64_t i = p.begin; i < p.end; ++i) {
        const Range window = windows.inside(i);
        const int64_t at = (sequence * outputs + i) * filters;
        kernels.max_pool({window.end - window.begin, filters, filters, first + window.begin * filters,
                          window.begin - windows.whole(i).begin, outputs_ + at,
                          argmax_ ? argmax_ + at * index_bytes : nullptr, index_bytes,
                          plan.options.pool.propagate_nan});
      }
    }
  }

  // Computes activated rows of the convolution, which are counted over all sequences.
  void convolve(Range rows, const ThreadScratch& local, T* out) const {
    const int64_t count = rows.end - rows.begin;
    for (int64_t g = 0; g < groups; ++g) {
      const T* const* init = find_operands(rows, g, g * group_filters, local, out);
      kernels.product(
          {count, scratch_.kernel.shape, local.patches, 1, scratch_.kernel.group(g), 0, init, local.results});
    }
    kernels.activate(plan.options.activation, count * filters, out);
  }

  // Computes these filters of all rows of the convolution, activated.
  void convolve_columns(Range columns, const ThreadScratch& local) const {
    constexpr int64_t kColumns = ForwardScratch<T>::kColumns;
    const int64_t rows = batch * convolved;
    const DepthBlocks blocks(conv1d_patch_elements(plan));
    for (int64_t column = columns.begin; column < columns.end; column += kColumns) {
      const int64_t count = std::min(kColumns, columns.end - column);
      const T* const* init = find_operands({0, rows}, 0, column, local, outputs_);
      const T* first = kernel + column;
      for (int64_t block = 0; block < blocks.count; ++block) {
        const PackedShape shape{blocks.size(block), count, 0};
        for (int64_t k = 0; k < shape.depth; ++k, first += filters) kernels.pack_row(k, shape, first, local.packed);
        kernels.product({rows, shape, local.patches, 1, local.packed, 0, init, local.results});
        for (int64_t m = 0; m < rows; ++m) local.patches[m] += shape.depth;
        init = local.results;
      }
      for (int64_t m = 0; m < rows; ++m) kernels.activate(plan.options.activation, count, local.results[m]);
    }
  }

  // Sets the thread's pointers to the patches of a group, and to their results from `filter` on, for these rows of the
  // convolution. Returns the pointers to the sums' initial values, or null for zero.
  const T* const* find_operands(Range rows, int64_t g, int64_t filter, const ThreadScratch& local, T* out) const {
    for_rows(rows, convolved, [&](int64_t m, int64_t b, int64_t t) {
      const Patches<T> patches = Base::patches_of(b, g);
      local.patches[m] =
          patches.at(t * plan.options.strides - plan.dims.padding_before, local.gathered + m * patches.size());
      local.results[m] = out + m * filters + filter;
    });
    if (!bias) return nullptr;
    std::fill_n(local.initial, rows.end - rows.begin, bias + filter);
    return local.initial;
  }

  const void* prepared_;
  T* outputs_;
  char* argmax_;
  Carved<ForwardScratch<T>> scratch_;
};

}  // namespace

size_t conv1d_forward_scratch_bytes(const Conv1dPlan& plan) { return scratch_bytes<ForwardScratch>(plan); }

size_t conv1d_prepared_bytes(const Conv1dPlan& plan) {
  if (divides_filters(plan)) return 0;
  Scratch measure(nullptr);
  with_float_type(plan.dims.dtype, [&](auto zero) { (void)ForwardScratch<decltype(zero)>::kernel_in(plan, measure); });
  return measure.used();
}

void conv1d_prepare(const Conv1dPlan& plan, const Conv1dInputs& inputs, void* prepared) {
  with_float_type(plan.dims.dtype, [&](auto zero) {
    const Forward<decltype(zero)> driver(plan, nullptr, inputs, {}, prepared);
    driver.pack({0, conv1d_patch_elements(plan)});
  });
}

Status conv1d_forward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs, void* scratch,
                      const void* prepared) {
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_outputs(outputs, plan.options, plan.dims, false));
  run_driver<Forward>(plan, scratch, inputs, outputs, prepared);
  return {};
}

}  // namespace fastseq

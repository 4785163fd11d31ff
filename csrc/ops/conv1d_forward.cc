// Conv1D forward: the driver.
//
// The threads divide the blocks of output rows of all sequences. A block is a product of patches and the packed kernel,
// then the activation while its rows are in the first-level cache. Where pooled, a block is what its windows have of
// the convolution, which exists in scratch only.
#include "conv1d_checks.h"
#include "conv1d_layout.h"

namespace fastseq {
namespace {

// How many outputs make a block, and what they have of the convolution at most.
struct Block {
  int64_t outputs;
  int64_t convolved;

  explicit Block(const Conv1dPlan& plan) : outputs(conv1d_block_rows(conv1d_patch_elements(plan))), convolved(outputs) {
    if (!plan.options.pooled) return;
    const PoolOptions& pool = plan.options.pool;
    // Where windows overlap, blocks do: many windows to a block, so that little is convolved twice.
    constexpr int64_t kWindows = 8;
    const int64_t shared = std::max<int64_t>(0, pool.pool_size - pool.strides);
    const int64_t rows = std::max(outputs, std::min(kWindows * shared, plan.dims.convolved));
    outputs = std::max<int64_t>(0, rows - pool.pool_size) / pool.strides + 1;
    convolved = std::min((outputs - 1) * pool.strides + pool.pool_size, conv1d_scratch_timesteps(plan));
  }
};

template <class T>
struct ForwardScratch {
  // Of one member of the team, with R rows in a product.
  struct Member {
    T* gathered;        // (R, K C/G)
    const T** patches;  // (R), as the next two
    const T** initial;
    T** results;
    T* convolved;  // of a block (block.convolved, F), where pooled; else null

    Member(const Conv1dPlan& plan, int, Scratch& scratch) {
      const int64_t patch = conv1d_patch_elements(plan);
      const int64_t rows = conv1d_block_rows(patch);
      gathered = scratch.take<T>(rows * patch);
      patches = scratch.take<const T*>(rows);
      initial = scratch.take<const T*>(rows);
      results = scratch.take<T*>(rows);
      convolved = plan.options.pooled ? scratch.take<T>(Block(plan).convolved * plan.dims.filters) : nullptr;
    }
  };

  PackedGroups<T> kernel;
  Repeated<Conv1dPlan, Member> members;

  ForwardScratch(const Conv1dPlan& plan, Scratch& scratch)
      : kernel(kernels_of<T>(*plan.isa), plan.options.groups, conv1d_patch_elements(plan),
               plan.dims.filters / plan.options.groups, scratch),
        members(plan, plan.threads, scratch) {}
};

template <class T>
class Forward : Conv1dOperands<T> {
  using Base = Conv1dOperands<T>;
  using Base::batch, Base::timesteps, Base::channels, Base::filters, Base::width, Base::outputs;
  using Base::groups, Base::group_channels, Base::group_filters, Base::windows, Base::index_bytes;
  using Base::plan, Base::kernels, Base::kernel, Base::x, Base::bias;

 public:
  Forward(const Conv1dPlan& the_plan, void* memory, const Conv1dInputs& in, const Conv1dOutputs& out)
      : Base(the_plan, in),
        outputs_(out.outputs.as<T>()),
        argmax_(out.argmax.as<char>()),
        carve_(memory),
        scratch_(plan, carve_) {}

  void run(const Team& team) const {
    pack(team.share(width * group_channels));
    team.wait();
    const Member own = scratch_.members.at(team.rank);
    const int64_t block = Block(plan).outputs;
    const int64_t blocks = (outputs + block - 1) / block;
    const Range share = team.share(batch * blocks);
    for (int64_t i = share.begin; i < share.end; ++i) {
      const int64_t b = i / blocks;
      const Range rows = part(outputs, blocks, i % blocks);
      if (plan.options.pooled)
        convolve_and_pool(b, rows, own);
      else
        convolve(b, rows, own, outputs_ + (b * outputs + rows.begin) * filters);
    }
  }

 private:
  using Member = typename ForwardScratch<T>::Member;

  // Rows of the kernel, for all groups.
  void pack(Range rows) const {
    for (int64_t k = rows.begin; k < rows.end; ++k)
      for (int64_t g = 0; g < groups; ++g)
        kernels.pack_row(k, scratch_.kernel.shape, kernel + k * filters + g * group_filters, scratch_.kernel.group(g));
  }

  // Outputs [p.begin, p.end) of sequence b.
  void convolve_and_pool(int64_t b, Range p, const Member& own) const {
    const Range t{windows.inside(p.begin).begin, windows.inside(p.end - 1).end};
    const int64_t most = conv1d_block_rows(conv1d_patch_elements(plan));
    for (int64_t begin = t.begin; begin < t.end; begin += most)
      convolve(b, {begin, std::min(begin + most, t.end)}, own, own.convolved + (begin - t.begin) * filters);
    for (int64_t i = p.begin; i < p.end; ++i) {
      const Range window = windows.inside(i);
      const int64_t at = (b * outputs + i) * filters;
      kernels.max_pool({window.end - window.begin, filters, filters, own.convolved + (window.begin - t.begin) * filters,
                        window.begin - windows.whole(i).begin, outputs_ + at,
                        argmax_ ? argmax_ + at * index_bytes : nullptr, index_bytes});
    }
  }

  // Timesteps [t.begin, t.end) of the convolution of sequence b, activated.
  void convolve(int64_t b, Range t, const Member& own, T* out) const {
    const int64_t rows = t.end - t.begin;
    for (int64_t g = 0; g < groups; ++g) {
      const T* begin = x + b * timesteps * channels + g * group_channels;
      const Patches<T> patches{begin, timesteps, channels, group_channels, width, plan.options.dilation_rate};
      for (int64_t m = 0; m < rows; ++m) {
        own.patches[m] = patches.at((t.begin + m) * plan.options.strides - plan.dims.padding_before,
                                    own.gathered + m * patches.size());
        own.results[m] = out + m * filters + g * group_filters;
      }
      if (bias) std::fill_n(own.initial, rows, bias + g * group_filters);
      kernels.product({rows, scratch_.kernel.shape, own.patches, 1, scratch_.kernel.group(g), 0,
                       bias ? own.initial : nullptr, own.results});
    }
    kernels.activate(plan.options.activation, rows * filters, out);
  }

  T* outputs_;
  char* argmax_;
  Scratch carve_;
  ForwardScratch<T> scratch_;
};

}  // namespace

size_t conv1d_forward_scratch_bytes(const Conv1dPlan& plan) { return scratch_bytes<ForwardScratch>(plan); }

Status conv1d_forward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs, void* scratch) {
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_outputs(outputs, plan.options, plan.dims, false));
  run_driver<Forward>(plan, scratch, inputs, outputs);
  return {};
}

}  // namespace fastseq

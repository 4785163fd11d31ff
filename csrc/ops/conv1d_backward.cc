// Conv1D backward: the driver.
//
// The batch is split into shards, which have separate sums of the weight gradients, and the team into subteams, which
// compute different shards (batch_shards.h). A subteam computes the sequences of a shard in runs. A run is one
// sequence, so that its x and dz stay in the second-level cache, or several short ones. For every run, the threads of
// the subteam first compute dz = doutputs a'(z); where pooled, dz is zero but for the timesteps of the maxima. Then
// they compute dx, and add to the sums of the weight gradients (conv1d_weights.h). dz has two buffers, so that the
// threads wait for each other only once a run.
#include "common/conv1d_checks.h"
#include "conv1d_dx.h"
#include "conv1d_layout.h"
#include "conv1d_weights.h"

namespace fastseq {
namespace {

int64_t dx_patch_elements(const Conv1dPlan& plan) {
  return plan.dims.width * (plan.dims.filters / plan.options.groups);
}

// The number of phases whose taps are packed for dx.
int packed_phases(const Conv1dPlan& plan) { return conv1d_dx_way(plan) == DxWay::kPhases ? Phase::count(plan) : 0; }

// The number of steps of dx in a product.
int64_t dx_block_rows(const Conv1dPlan& plan) {
  return conv1d_block_rows(plan, dx_patch_elements(plan), conv1d_sequences(plan) * plan.dims.timesteps);
}

// Sums of the weight gradients.
template <class T>
struct KernelSums {
  T* kernel;  // (K, C/G, F)
  T* bias;    // (F); null without bias
};

template <class T>
struct BackwardScratch {
  // The kernel's taps of one phase, transposed.
  struct Transposed {
    Phase phase;
    PackedGroups<T> kernel;

    Transposed(const Conv1dPlan& plan, int index, Scratch& scratch)
        : phase(plan.dims, plan.options, index),
          kernel(kernels_of<T>(*plan.isa), plan.options.groups, phase.taps * (plan.dims.filters / plan.options.groups),
                 plan.dims.channels / plan.options.groups, scratch) {}
  };

  struct SubteamScratch {
    T* dz[2];  // (sequences of a run, T', F), and a vector after it that products may read
    typename SparseWeights<T>::SubteamScratch sparse;
    typename TransposedWeights<T>::SubteamScratch transposed;
    typename FewRowsDx<T>::SubteamScratch few_rows;

    SubteamScratch(const Conv1dPlan& plan, int, Scratch& scratch)
        : sparse(plan, scratch), transposed(plan, scratch), few_rows(plan, scratch) {
      constexpr int64_t kVector = 16;
      const int64_t rows = conv1d_sequences(plan) * conv1d_scratch_timesteps(plan);
      for (T*& buffer : dz) buffer = scratch.take<T>(rows * plan.dims.filters + kVector);
    }
  };

  // Scratch of one thread, with R rows in a block.
  struct ThreadScratch {
    T* gathered;         // (R, taps F/G)
    const T** operands;  // (R)
    T** results;         // (R)
    T* dpooled;          // (F), where pooled
    typename DenseWeights<T>::ThreadScratch dense;
    typename TransposedWeights<T>::ThreadScratch transposed_weights;
    typename GatheredWeights<T>::ThreadScratch gathered_weights;
    typename FewRowsDx<T>::ThreadScratch few_rows;
    typename AllTapsDx<T>::ThreadScratch all_taps;
    Nonzeros<T> nonzeros;

    ThreadScratch(const Conv1dPlan& plan, int, Scratch& scratch)
        : dense(plan, scratch),
          transposed_weights(plan, scratch),
          gathered_weights(plan, scratch),
          few_rows(plan, scratch),
          all_taps(plan, scratch),
          nonzeros(plan, scratch) {
      const int64_t rows = dx_block_rows(plan);
      gathered = scratch.take<T>(rows * dx_patch_elements(plan));
      operands = scratch.take<const T*>(rows);
      results = scratch.take<T*>(rows);
      dpooled = scratch.take<T>(plan.options.pooled ? plan.dims.filters : 0);
    }
  };

  // The sums of one shard.
  struct ShardSums : KernelSums<T> {
    ShardSums(const Conv1dPlan& plan, int, Scratch& scratch)
        : KernelSums<T>{scratch.take<T>(conv1d_patch_elements(plan) * plan.dims.filters),
                        scratch.take<T>(plan.dims.filters)} {}
  };

  Repeated<Conv1dPlan, Transposed> phases;
  typename AllTapsDx<T>::Packed all_taps;
  Repeated<Conv1dPlan, SubteamScratch> subteams;
  Repeated<Conv1dPlan, ThreadScratch> threads;
  Repeated<Conv1dPlan, ShardSums> shards;  // all but the first, whose sums are the results

  BackwardScratch(const Conv1dPlan& plan, Scratch& scratch)
      : phases(plan, packed_phases(plan), scratch),
        all_taps(plan, scratch),
        subteams(plan, conv1d_subteams(plan), scratch),
        threads(plan, plan.threads, scratch),
        // Also where no weight gradients are wanted: the plan does not know that.
        shards(plan, conv1d_batch_shards(plan) - 1, scratch) {}
};

template <class T>
class Backward : Conv1dOperands<T> {
  using Base = Conv1dOperands<T>;
  using Base::batch, Base::timesteps, Base::channels, Base::filters, Base::width, Base::convolved, Base::outputs;
  using Base::groups, Base::group_channels, Base::group_filters, Base::windows, Base::index_bytes;
  using Base::plan, Base::kernels, Base::x;

 public:
  Backward(const Conv1dPlan& the_plan, void* memory, const Conv1dInputs& in, const Conv1dOutputs& out,
           const Array& doutputs, const Conv1dGradients& gradients)
      : Base(the_plan, in),
        outputs_(out.outputs.as<T>()),
        argmax_(out.argmax.as<char>()),
        doutputs_(doutputs.as<T>()),
        dx_(gradients.dx.as<T>()),
        with_weights_(gradients.dkernel.present),
        dweights_{gradients.dkernel.as<T>(), gradients.dbias.as<T>()},
        phases_(packed_phases(plan)),
        scratch_(plan, memory) {}

  void run(const Team& team) const {
    const ThreadScratch local = scratch_.threads.at(team.rank);
    for (int number = 0; dx_ && number < phases_; ++number) pack(team, scratch_.phases.at(number));
    if (dx_ && conv1d_dx_way(plan) == DxWay::kAllTaps)
      AllTapsDx<T>::pack(*this, scratch_.all_taps, team.share(scratch_.all_taps.shape.columns));
    team.wait();
    const int shards = conv1d_batch_shards(plan);
    for (int index = team.subteam(); index < shards; index += conv1d_subteams(plan)) {
      const KernelSums<T> sums = index == 0 ? dweights_ : scratch_.shards.at(index - 1);
      run_shard(team, local, split(batch, shards, index), sums.kernel, dweights_.bias ? sums.bias : nullptr);
      team.wait_for_subteam();  // before the next shard writes over dz
    }
    team.wait();
    if (!with_weights_) return;
    for (int index = 1; index < shards; ++index) {
      const KernelSums<T> sums = scratch_.shards.at(index - 1);
      add_sums(team, conv1d_patch_elements(plan) * filters, sums.kernel, dweights_.kernel);
      if (dweights_.bias) add_sums(team, filters, sums.bias, dweights_.bias);
    }
  }

 private:
  using ThreadScratch = typename BackwardScratch<T>::ThreadScratch;
  using SubteamScratch = typename BackwardScratch<T>::SubteamScratch;
  using Transposed = typename BackwardScratch<T>::Transposed;

  // Packs the thread's share of a phase's matrix: rows (tap, f) of C/G elements, the last tap first, in the order in
  // which the rows of dz come.
  void pack(const Team& team, const Transposed& to) const {
    constexpr int64_t kColumns = 64;
    const int64_t blocks = (group_channels + kColumns - 1) / kColumns;
    const Range share = team.share(to.phase.taps * groups * blocks);
    for (int64_t i = share.begin; i < share.end; ++i) {
      const int64_t tap = i / (groups * blocks);
      const int64_t g = i / blocks % groups;
      const Range columns = split(group_channels, blocks, i % blocks);
      const int64_t k = to.phase.last_tap() - tap * to.phase.tap_step;
      kernels.pack_transposed(columns.begin, columns.end, tap * group_filters, group_filters, to.kernel.shape,
                              Base::kernel_row(k, 0) + g * group_filters, filters, to.kernel.group(g));
    }
  }

  // Computes dx and the sums of the weight gradients for the sequences of one shard.
  void run_shard(const Team& team, const ThreadScratch& local, Range sequences, T* dkernel, T* dbias) const {
    const SubteamShare share{team.subteam_size(), team.rank_in_subteam()};
    const auto subteam = scratch_.subteams.at(team.subteam());
    const auto add = [&](const auto& weights) {
      add_sequences(team, local, subteam, share, sequences, weights, dbias);
    };
    if (!with_weights_) return add(NoWeights());
    switch (conv1d_weights_way(plan)) {
      case WeightsWay::kDense:
        return add(DenseWeights<T>(*this, share, local.dense, dkernel));
      case WeightsWay::kTransposed:
        return add(TransposedWeights<T>(*this, share, local.transposed_weights, subteam.transposed, dkernel));
      case WeightsWay::kGathered:
        return add(GatheredWeights<T>(*this, share, local.gathered_weights, dkernel));
      case WeightsWay::kSparse:
        return add(SparseWeights<T>(*this, share, local.nonzeros, subteam.sparse, argmax_, dkernel));
    }
  }

  template <class Weights>
  void add_sequences(const Team& team, const ThreadScratch& local, const SubteamScratch& subteam,
                     const SubteamShare& share, Range sequences, const Weights& weights, T* dbias) const {
    weights.start();
    const Range bias_columns = dbias ? share.of(filters) : Range{0, 0};
    std::fill(dbias + bias_columns.begin, dbias + bias_columns.end, T(0));
    if (timesteps == 0) sequences.end = sequences.begin;  // there may be billions of sequences without timesteps
    const int64_t most = conv1d_sequences(plan);
    const int64_t runs = (sequences.end - sequences.begin + most - 1) / most;
    for (int64_t index = 0; index < runs; ++index) {
      const Range within = split(sequences.end - sequences.begin, runs, index);
      const Range run{sequences.begin + within.begin, sequences.begin + within.end};
      T* dz = subteam.dz[index & 1];
      find_dz(local, run, share, dz);
      weights.bring_near(run.begin, index & 1);
      team.wait_for_subteam();
      if (dx_) find_dx(team, local, subteam, share, run, dz);
      weights.add(run, index & 1, dz);
      add_bias(bias_columns, run, dz, dbias);
    }
    weights.finish();
  }

  // Computes the thread's share of the rows of dz in a run: of the timesteps of all its sequences.
  void find_dz(const ThreadScratch& local, Range run, const SubteamShare& share, T* dz) const {
    const Range rows = share.of((run.end - run.begin) * convolved);
    for (int64_t b = run.begin; b < run.end; ++b) {
      const int64_t first = (b - run.begin) * convolved;
      const Range t{std::max<int64_t>(0, rows.begin - first), std::min(convolved, rows.end - first)};
      if (t.begin < t.end) find_dz_of(local, b, t, dz + first * filters);
    }
  }

  // Computes dz at timesteps [t.begin, t.end) of sequence b.
  void find_dz_of(const ThreadScratch& local, int64_t b, Range t, T* dz) const {
    const auto activation_gradient = [&](int64_t row, int64_t rows, T* to) {
      const int64_t at = (b * outputs + row) * filters;
      kernels.activation_gradient(plan.options.activation, rows * filters, outputs_ + at, doutputs_ + at, to);
    };
    if (!plan.options.pooled) return activation_gradient(t.begin, t.end - t.begin, dz + t.begin * filters);
    const auto zero = [&](const Range& range) {
      std::fill(dz + range.begin * filters, dz + range.end * filters, T(0));
    };
    windows.for_each_of(t, zero, [&](int64_t p, const Range& mine, int64_t position, int64_t) {
      activation_gradient(p, 1, local.dpooled);
      kernels.max_pool_backward({mine.end - mine.begin, filters, filters, dz + mine.begin * filters, position,
                                 local.dpooled, argmax_ + (b * outputs + p) * filters * index_bytes, index_bytes,
                                 windows.overlap()});
    });
  }

  void find_dx(const Team& team, const ThreadScratch& local, const SubteamScratch& subteam, const SubteamShare& share,
               Range run, const T* dz) const {
    switch (conv1d_dx_way(plan)) {
      case DxWay::kPhases:
        return find_dx_in_phases(local, run, share, dz);
      case DxWay::kFewRows: {
        const FewRowsDx<T> few_rows(*this, share, local.few_rows, subteam.few_rows, dx_);
        few_rows.pack(run, dz);
        team.wait_for_subteam();
        return few_rows.find(run);
      }
      case DxWay::kAllTaps:
        return AllTapsDx<T>(*this, scratch_.all_taps, local.all_taps, dx_).find(run, share, dz);
    }
  }

  // Computes dx for the thread's share of the steps of a run, phase by phase.
  void find_dx_in_phases(const ThreadScratch& local, Range run, const SubteamShare& share, const T* dz) const {
    if (phases_ < plan.options.strides) clear_steps_without_taps(run, share);
    for (int number = 0; number < phases_; ++number) {
      const Transposed of = scratch_.phases.at(number);
      const Range steps = share.of((run.end - run.begin) * of.phase.steps(plan));
      const int64_t most = dx_block_rows(plan);
      const int64_t blocks = (steps.end - steps.begin + most - 1) / most;
      for (int64_t block = 0; block < blocks; ++block) {
        const Range rows = split(steps.end - steps.begin, blocks, block);
        find_dx_block(local, run.begin, of, {steps.begin + rows.begin, steps.begin + rows.end}, dz);
      }
    }
  }

  // Computes dx for steps of one phase, which are counted from sequence b on. `dz` is that of sequence b.
  void find_dx_block(const ThreadScratch& local, int64_t b, const Transposed& of, Range steps, const T* dz) const {
    const int64_t strides = plan.options.strides;
    const int64_t last_tap = of.phase.last_tap() * plan.options.dilation_rate;
    const int64_t first = of.phase.first_step(plan);
    const int64_t first_row = (first + plan.dims.padding_before - last_tap) / strides;  // the first patch's, in dz
    const int64_t in_sequence = of.phase.steps(plan);
    const int64_t rows = steps.end - steps.begin;
    for (int64_t g = 0; g < groups; ++g) {
      for_rows(steps, in_sequence, [&](int64_t m, int64_t sequence, int64_t index) {
        const Patches<T> patches{dz + sequence * convolved * filters + g * group_filters,
                                 convolved,
                                 filters,
                                 group_filters,
                                 of.phase.taps,
                                 of.phase.row_step};
        local.operands[m] = patches.at(first_row + index, local.gathered + m * patches.size());
        local.results[m] = dx_ + ((b + sequence) * timesteps + first + index * strides) * channels + g * group_channels;
      });
      kernels.product({rows, of.kernel.shape, local.operands, 1, of.kernel.group(g), 0, nullptr, local.results});
    }
  }

  // Sets dx to zero for the thread's share of the steps that belong to no phase.
  void clear_steps_without_taps(Range run, const SubteamShare& share) const {
    const int64_t strides = plan.options.strides;
    for (int64_t first = 0; first < std::min(strides, timesteps); ++first) {
      const int64_t remainder = (first + plan.dims.padding_before) % strides;
      bool has_taps = false;
      for (int number = 0; number < phases_; ++number)
        has_taps |= Phase(plan.dims, plan.options, number).remainder == remainder;
      if (has_taps) continue;
      const int64_t in_sequence = (timesteps - 1 - first) / strides + 1;
      const Range steps = share.of((run.end - run.begin) * in_sequence);
      for (int64_t i = steps.begin; i < steps.end; ++i) {
        const int64_t b = run.begin + i / in_sequence;
        std::fill_n(dx_ + (b * timesteps + first + i % in_sequence * strides) * channels, channels, T(0));
      }
    }
  }

  // Adds dz of a run to the bias's gradient, as a product with ones. A product sums in blocks, which is more accurate
  // than one long sum.
  void add_bias(Range columns, Range run, const T* dz, T* dbias) const {
    if (columns.begin == columns.end) return;
    const T one = 1;
    const T* ones = &one;
    T* sums = dbias + columns.begin;
    kernels.product({1,
                     {(run.end - run.begin) * convolved, columns.end - columns.begin, 0},
                     &ones,
                     0,
                     dz + columns.begin,
                     filters,
                     &sums,
                     &sums});
  }

  const T* outputs_;
  const char* argmax_;
  const T* doutputs_;
  T* dx_;
  bool with_weights_;
  KernelSums<T> dweights_;
  const int phases_;
  Carved<BackwardScratch<T>> scratch_;
};

}  // namespace

size_t conv1d_backward_scratch_bytes(const Conv1dPlan& plan) { return scratch_bytes<BackwardScratch>(plan); }

Status conv1d_backward(const Conv1dPlan& plan, const Conv1dInputs& inputs, const Conv1dOutputs& outputs,
                       const Array& doutputs, const Conv1dGradients& gradients, void* scratch) {
  FASTSEQ_RETURN_IF_ERROR(check_conv1d_gradients(outputs, doutputs, gradients, plan.options, plan.dims));
  run_driver<Backward>(plan, scratch, inputs, outputs, doutputs, gradients);
  return {};
}

}  // namespace fastseq

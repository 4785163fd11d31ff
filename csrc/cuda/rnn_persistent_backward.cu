// The persistent loop of backward: see rnn_persistent.cuh.
//
// Step n of the loop computes the gradients of the n-th timestep from the end. Its product is the gradient by h through
// the gates of the timestep after it. The loop has one step more than there are timesteps, for the gradient by h0. A
// group computes four units, each lane one of them.
#include "rnn_persistent.cuh"

namespace fastseq::cuda {
namespace {

// The slots are: the part of the gradient by the previous h that does not go through the gates; the gradient by the
// output that masked steps pass on; the gradient by c; then, for two steps, copies of the gradient by the output and of
// `kSaved` saved values. GRU has kDz = kGates + 1 gradients; the last one is that by the recurrent part of the
// candidate. A cell defines step_back(row, step, gradient by h, dz) for steps that are not masked.
template <class Self, int kGates, int kSaved, int kDz = kGates>
struct BackwardWork {
  using Loop = BackwardLoop;
  static constexpr int kOutputs = 4;
  static constexpr int kUnits = 4;
  static constexpr int kRecurrentGates = kGates;
  static constexpr int kSlots = 3 + 2 * (1 + kSaved);
  const BackwardLoop loop;
  const LoopThread thread;
  const CellOptions options;
  const int unit, writer, writers;
  const bool active;

  __device__ BackwardWork(const BackwardLoop& the_loop, const LoopThread& the_thread)
      : loop(the_loop),
        thread(the_thread),
        options{the_loop.activation, the_loop.recurrent_activation},
        unit(the_thread.group * 4 + the_thread.output()),
        writer(the_thread.lane / 4),
        writers(the_thread.shape.lanes / 4),
        active(the_thread.busy && unit < the_thread.shape.units) {}

  __device__ int steps() const { return thread.shape.timesteps + 1; }
  __device__ int place(int step) const { return thread.shape.timesteps - 1 - step; }
  __device__ int64_t cell_at(int row, int step) const {
    return thread.batch_row(row) * thread.shape.timesteps +
           TimeOrder{thread.shape.timesteps, loop.go_backwards}.time(place(step));
  }
  __device__ int64_t state_at(int row) const { return thread.batch_row(row) * thread.shape.units + unit; }
  __device__ float& carried(int row) const { return thread.slot(0, row); }
  __device__ float& doutput(int row) const { return thread.slot(1, row); }
  __device__ float& dc(int row) const { return thread.slot(2, row); }
  __device__ float& copied(int row, int step, int index) const {
    return thread.slot(3 + step % 2 * (1 + kSaved) + index, row);
  }
  __device__ float saved(int row, int step, int index) const { return copied(row, step, 1 + index); }

  // The weight for element `index` of the operand, which is gate index % kGates of unit index / kGates.
  __device__ float weight(int index, int output) const {
    const int row = thread.group * 4 + output;
    if (row >= thread.shape.units) return 0.0F;
    return loop
        .recurrent_kernel[(static_cast<int64_t>(row) * kGates + index % kGates) * thread.shape.units + index / kGates];
  }
  __device__ void begin(int row) const {
    const auto given = [&](const float* gradient) { return active && gradient ? gradient[state_at(row)] : 0.0F; };
    carried(row) = given(loop.dh_n);
    doutput(row) = given(loop.dlast_output);
    dc(row) = given(loop.dc_n);
  }
  __device__ void copy_ahead(int row, int step) const {
    if (!active || step >= thread.shape.timesteps) return;
    const int64_t units = thread.shape.units;
    const float* from = loop.workspace + cell_at(row, step) * kSaved * units + unit;
    for (int i = 0; i < kSaved; ++i) cuda::copy_ahead(&copied(row, step, 1 + i), from + i * units);
    if (loop.doutputs)
      cuda::copy_ahead(&copied(row, step, 0),
                       loop.doutputs + (thread.batch_row(row) * thread.shape.timesteps + place(step)) * units + unit);
  }
  // Computes the gradient by h after the step, and returns whether the step is not masked. A masked step passes the
  // gradient on unchanged.
  __device__ bool take(int row, int step, float sum, float* gradient) const {
    *gradient = dh_before_output(row, sum);
    doutput(row) += loop.doutputs ? copied(row, step, 0) : 0.0F;
    const bool taken = !loop.mask || loop.mask[cell_at(row, step)];
    if (taken) *gradient += doutput(row);
    if (taken || loop.zero_output_for_mask) doutput(row) = 0.0F;
    carried(row) = taken ? 0.0F : *gradient;  // GRU sets it to the part through the blend
    return taken;
  }
  // In the additional last step, writes the gradients by the initial states and returns true.
  __device__ bool end(int row, int step, float sum) const {
    if (step < thread.shape.timesteps) return false;
    if (writer == 0) {
      const float by_output = loop.h0_as_first_output ? doutput(row) : 0.0F;
      loop.dh0[state_at(row)] = dh_before_output(row, sum) + by_output;
    }
    if (writer == 0 && loop.dc0) loop.dc0[state_at(row)] = dc(row);
    return true;
  }
  __device__ float dh_before_output(int row, float sum) const {
    return fmaf(sum, loop.factors ? loop.factors[state_at(row)] : 1.0F, carried(row));
  }
  // Computes the gates' gradients, and writes them to the operand of the next product and to loop.dz.
  __device__ void step(int row, int step, float sum, int next) const {
    if (!active || end(row, step, sum)) return;
    float gradient = 0.0F;
    float dz[kDz] = {};
    if (take(row, step, sum, &gradient)) static_cast<const Self*>(this)->step_back(row, step, gradient, dz);
    for (int gate = 0; gate < kGates; ++gate)
      thread.publish(next, row, unit * kGates + gate, dz[gate + 1 < kGates ? gate : kDz - 1], writer, writers);
    if (writer != 0) return;
    float* to = loop.dz + cell_at(row, step) * kDz * thread.shape.units + unit;
    for (int i = 0; i < kDz; ++i) to[static_cast<int64_t>(i) * thread.shape.units] = dz[i];
  }
  __device__ void finish(int) const {}
};

struct LstmBackward : BackwardWork<LstmBackward, 4, 6> {
  using BackwardWork::BackwardWork;
  __device__ void step_back(int row, int step, float gradient, float (&dz)[4]) const {
    const LstmGradients back = lstm_step_back(options, saved(row, step, 0), saved(row, step, 1), saved(row, step, 2),
                                              saved(row, step, 3), saved(row, step, 5), gradient, dc(row));
    for (int gate = 0; gate < 4; ++gate) dz[gate] = back.dz[gate];
    dc(row) = back.dc_prev;
  }
};

struct GruBackward : BackwardWork<GruBackward, 3, 5, 4> {
  using BackwardWork::BackwardWork;
  __device__ void step_back(int row, int step, float gradient, float (&dz)[4]) const {
    const float r = saved(row, step, 1);
    const GruUpdateGradients update =
        gru_update_back(options, saved(row, step, 0), saved(row, step, 2), saved(row, step, 3), gradient);
    dz[0] = update.dz;
    dz[1] = gru_reset_back(options, r, saved(row, step, 4), update.dcandidate);
    dz[2] = update.dcandidate;
    dz[3] = update.dcandidate * r;
    carried(row) = update.dh_prev;
  }
};

struct SimpleRnnBackward : BackwardWork<SimpleRnnBackward, 1, 2> {
  using BackwardWork::BackwardWork;
  __device__ void step_back(int row, int step, float gradient, float (&dz)[1]) const {
    dz[0] = gradient * slope(options.activation, saved(row, step, 0));
  }
};

}  // namespace

const PersistentLoops<BackwardLoop> kPersistentBackward =
    Loops<LstmBackward, GruBackward, SimpleRnnBackward>::kFunctions;

}  // namespace fastseq::cuda

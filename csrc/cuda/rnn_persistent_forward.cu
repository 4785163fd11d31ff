// The persistent loop of forward: see rnn_persistent.cuh.
#include "rnn_persistent.cuh"

namespace fastseq::cuda {
namespace {

// The common part of the cells: the thread's unit, the mask, states and outputs.
struct ForwardWork {
  using Loop = ForwardLoop;
  static constexpr int kRecurrentGates = 1;  // elements of a unit in the operand
  const ForwardLoop loop;
  const LoopThread thread;
  const CellOptions options;
  const int unit;
  const bool active;  // whether there is such a unit
  const int gates;

  __device__ ForwardWork(const ForwardLoop& the_loop, const LoopThread& the_thread, int the_unit, int the_gates)
      : loop(the_loop),
        thread(the_thread),
        options{the_loop.activation, the_loop.recurrent_activation},
        unit(the_unit),
        active(the_thread.busy && the_unit < the_thread.shape.units),
        gates(the_gates) {}

  __device__ int steps() const { return thread.shape.timesteps; }
  __device__ int time(int step) const { return TimeOrder{thread.shape.timesteps, loop.go_backwards}.time(step); }
  __device__ int64_t cell_at(int row, int step) const {
    return thread.batch_row(row) * thread.shape.timesteps + time(step);
  }
  __device__ int64_t state_at(int row) const { return thread.batch_row(row) * thread.shape.units + unit; }
  __device__ float* saved_at(int row, int step, int64_t width) const {
    return loop.workspace + cell_at(row, step) * width * thread.shape.units + unit;
  }
  // The slots that all cells have.
  __device__ float& h(int row) const { return thread.slot(0, row); }
  __device__ float& output(int row) const { return thread.slot(1, row); }
  __device__ float& z(int row, int step) const { return thread.slot(2 + step % 2, row); }

  __device__ float bias_of(int gate, int which) const {
    return active && loop.bias ? loop.bias[(which * gates + gate) * thread.shape.units + unit] : 0.0F;
  }
  // Starts the copy of the product of x for a gate of the thread's unit.
  __device__ void copy_z(int row, int step, int gate) const {
    if (!active || step >= steps()) return;
    copy_ahead(&z(row, step), loop.z + (cell_at(row, step) * gates + gate) * thread.shape.units + unit);
  }

  // This thread is number `writer` of the `writers` threads of the group that have this unit.
  __device__ void publish_h(int buffer, int row, float value, int writer, int writers) const {
    if (!active) return;
    thread.publish(buffer, row, unit, loop.factors ? value * loop.factors[state_at(row)] : value, writer, writers);
  }
  __device__ void begin_h(int row, int writer, int writers) const {
    h(row) = active && loop.h0 ? loop.h0[state_at(row)] : 0.0F;
    output(row) = loop.h0_as_first_output ? h(row) : 0.0F;
    publish_h(0, row, h(row), writer, writers);
  }
  __device__ bool on(int row, int step) const { return !loop.mask || loop.mask[cell_at(row, step)]; }
  // Updates h unless the step is masked (`taken` is false), and writes the output.
  __device__ void end_step(int row, int step, bool taken, float new_h, int next, int writer, int writers) const {
    if (taken) h(row) = new_h;
    output(row) = taken ? new_h : loop.zero_output_for_mask ? 0.0F : output(row);
    publish_h(next, row, h(row), writer, writers);
    if (active && loop.outputs && writer == 0)
      loop.outputs[(thread.batch_row(row) * thread.shape.timesteps + step) * thread.shape.units + unit] = output(row);
  }
  __device__ void finish_h(int row, int writer) const {
    if (!active || writer != 0) return;
    loop.h_n[state_at(row)] = h(row);
    loop.last_output[state_at(row)] = output(row);
  }
};

// A group computes one unit. Each lane computes one gate; all lanes compute the states.
struct LstmForward : ForwardWork {
  static constexpr int kOutputs = 4;
  static constexpr int kSlots = 5;
  static constexpr int kUnits = 1;
  const int gate;
  const float bias;

  __device__ LstmForward(const ForwardLoop& the_loop, const LoopThread& the_thread)
      : ForwardWork(the_loop, the_thread, the_thread.group, 4), gate(the_thread.output()), bias(bias_of(gate, 0)) {}
  __device__ float& c(int row) const { return thread.slot(4, row); }

  __device__ float weight(int index, int output) const {
    if (!active) return 0.0F;
    return loop.recurrent_kernel[(static_cast<int64_t>(index) * 4 + output) * thread.shape.units + unit];
  }
  __device__ void begin(int row) const {
    begin_h(row, thread.lane, thread.shape.lanes);
    c(row) = active && loop.c0 ? loop.c0[state_at(row)] : 0.0F;
  }
  __device__ void copy_ahead(int row, int step) const { copy_z(row, step, gate); }
  __device__ void step(int row, int step, float sum, int next) const {
    const bool taken = on(row, step);
    const float before = sum + (active ? z(row, step) : 0.0F) + bias;
    const float value = activate(gate == 2 ? options.activation : options.recurrent_activation, before);
    const Gathered all(value, thread.lane);
    const LstmState state = lstm_step(options, all.of(0), all.of(1), all.of(2), all.of(3), c(row));
    if (active && loop.workspace && thread.lane < 4) {
      float* saved = saved_at(row, step, 6);
      saved[gate * thread.shape.units] = value;
      if (gate < 2) saved[(4 + gate) * thread.shape.units] = gate == 0 ? h(row) : c(row);
    }
    if (taken) c(row) = state.c;
    end_step(row, step, taken, state.h, next, thread.lane, thread.shape.lanes);
  }
  __device__ void finish(int row) const {
    finish_h(row, thread.lane);
    if (active && thread.lane == 0) loop.c_n[state_at(row)] = c(row);
  }
};

// GRU with reset_after. Like LSTM, with three gates; the candidate's lane multiplies its sum by r once it has r.
struct GruForward : ForwardWork {
  static constexpr int kOutputs = 3;
  static constexpr int kSlots = 4;
  static constexpr int kUnits = 1;
  const int gate;  // 3: none
  const float bias, recurrent_bias;

  __device__ GruForward(const ForwardLoop& the_loop, const LoopThread& the_thread)
      : ForwardWork(the_loop, the_thread, the_thread.group, 3),
        gate(the_thread.output()),
        bias(gate < 3 ? bias_of(gate, 0) : 0.0F),
        recurrent_bias(gate < 3 ? bias_of(gate, 1) : 0.0F) {}

  __device__ float weight(int index, int output) const {
    if (!active) return 0.0F;
    return loop.recurrent_kernel[(static_cast<int64_t>(index) * 3 + output) * thread.shape.units + unit];
  }
  __device__ void begin(int row) const { begin_h(row, thread.lane, thread.shape.lanes); }
  __device__ void copy_ahead(int row, int step) const {
    if (gate < 3) copy_z(row, step, gate);
  }
  __device__ void step(int row, int step, float sum, int next) const {
    const bool taken = on(row, step);
    const float of_x = (active && gate < 3 ? z(row, step) : 0.0F) + bias;
    const float of_h = sum + recurrent_bias;
    const float value = gate == 2 ? of_h : activate(options.recurrent_activation, of_x + of_h);
    const Gathered all(value, thread.lane);
    const float candidate = Gathered(activate(options.activation, fmaf(all.of(1), of_h, of_x)), thread.lane)
                                .of(2);  // the third gate's lane
    const float new_h = gru_blend(all.of(0), candidate, h(row));
    if (active && loop.workspace && thread.lane < 4) {
      float* saved = saved_at(row, step, 5);
      saved[gate * thread.shape.units] = gate == 2 ? candidate : gate == 3 ? h(row) : value;
      if (gate == 2) saved[4 * thread.shape.units] = of_h;
    }
    end_step(row, step, taken, new_h, next, thread.lane, thread.shape.lanes);
  }
  __device__ void finish(int row) const { finish_h(row, thread.lane); }
};

// A group computes four units, each lane one of them.
struct SimpleRnnForward : ForwardWork {
  static constexpr int kOutputs = 4;
  static constexpr int kSlots = 4;
  static constexpr int kUnits = 4;
  const float bias;
  const int writer, writers;  // this thread's number among the threads of its unit

  __device__ SimpleRnnForward(const ForwardLoop& the_loop, const LoopThread& the_thread)
      : ForwardWork(the_loop, the_thread, the_thread.group * 4 + the_thread.output(), 1),
        bias(bias_of(0, 0)),
        writer(the_thread.lane / 4),
        writers(the_thread.shape.lanes / 4) {}

  __device__ float weight(int index, int output) const {
    const int column = thread.group * 4 + output;
    if (column >= thread.shape.units) return 0.0F;
    return loop.recurrent_kernel[static_cast<int64_t>(index) * thread.shape.units + column];
  }
  __device__ void begin(int row) const { begin_h(row, writer, writers); }
  __device__ void copy_ahead(int row, int step) const { copy_z(row, step, 0); }
  __device__ void step(int row, int step, float sum, int next) const {
    const bool taken = on(row, step);
    const float new_h = activate(options.activation, sum + (active ? z(row, step) : 0.0F) + bias);
    if (active && loop.workspace && writer == 0) {
      float* saved = saved_at(row, step, 2);
      saved[0] = new_h;
      saved[thread.shape.units] = h(row);
    }
    end_step(row, step, taken, new_h, next, writer, writers);
  }
  __device__ void finish(int row) const { finish_h(row, writer); }
};

}  // namespace

const PersistentLoops<ForwardLoop> kPersistentForward = Loops<LstmForward, GruForward, SimpleRnnForward>::kFunctions;

}  // namespace fastseq::cuda

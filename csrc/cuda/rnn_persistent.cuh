// The persistent time loop: all timesteps in one launch, for all cells, forward and backward.
//
// Every step is a product of a vector, the operand, with weights that stay the same, then elementwise work that
// computes the next operand. In forward, the operand is h and the weights are the columns of the recurrent kernel. In
// backward, they are dz and the rows of the recurrent kernel. The weights stay in registers for the whole sequence
// (Diamos et al. 2016, "Persistent RNNs"). If one multiprocessor has too few registers, they are divided between the
// blocks of a cluster. The operand is in shared memory, and every block writes its part of it to all blocks of the
// cluster. Clusters have different rows of the batch, so no cluster waits for another.
//
// Within a block, `lanes` neighbouring threads are a group. A group computes four outputs (three in the forward pass of
// GRU): the four gates of a unit, or four units. A thread has every lanes-th chunk of four elements of the operand. A
// thread's states, and the values that it copies ahead from global memory, are in shared memory as well, in slots that
// no other thread uses.
#pragma once

#include <type_traits>

#include "device.cuh"
#include "launch.h"
#include "rnn_cells.cuh"
#include "rnn_loop.h"

namespace fastseq::cuda {

// A thread's position in the loop, and its access to shared memory.
struct LoopThread {
  RnnLoopShape shape;
  int lane;         // its number in its group
  int group;        // the number of its group in the cluster
  int block;        // the number of its block in the cluster
  bool busy;        // whether it is in a group; other threads only wait at the barriers
  int row0, rows;   // the cluster's rows of the batch
  float* operands;  // [2][shape.rows][width]
  float* slots;     // [slots][shape.rows][threads]

  __device__ explicit LoopThread(const RnnLoopShape& the_shape) : shape(the_shape) {
    const int index = static_cast<int>(threadIdx.x);
    lane = index % shape.lanes;
    block = static_cast<int>(blockIdx.x) % shape.blocks;
    busy = index / shape.lanes < shape.groups;
    group = block * shape.groups + index / shape.lanes;
    row0 = static_cast<int>(blockIdx.x) / shape.blocks * shape.rows;
    const int left = shape.batch - row0;
    rows = left < shape.rows ? left : shape.rows;
    operands = shared_memory();
    slots = operands + 2 * shape.rows * width() + index;
  }

  __device__ int width() const { return shape.chunks * 4 * shape.lanes; }
  // The number of the group's output that reduce() returns to this lane.
  __device__ int output() const { return 2 * (lane & 1) + ((lane >> 1) & 1); }
  __device__ int64_t batch_row(int row) const { return row0 + row; }
  __device__ float& slot(int index, int row) const { return slots[(index * shape.rows + row) * shape.threads]; }
  __device__ float* operand(int buffer, int row) const { return operands + (buffer * shape.rows + row) * width(); }
  // Writes an element of an operand to all blocks of the cluster. This thread is number `writer` of the `writers`
  // threads that have the element, which divide the blocks.
  __device__ void publish(int buffer, int row, int index, float value, int writer, int writers) const {
    float* here = operand(buffer, row) + index;
    for (int to = writer; to < shape.blocks; to += writers)
      *shared_of_block(here, static_cast<unsigned>(to), static_cast<unsigned>(shape.blocks)) = value;
  }
  __device__ void sync() const { sync_cluster(static_cast<unsigned>(shape.blocks)); }
};

// Sums over the lanes of a group. Every lane gets the sum of its output(); lanes with the same output get the same
// bits.
template <int kOutputs>
__device__ inline float reduce(const float (&parts)[kOutputs], int lane, int lanes) {
  const auto part = [&](int output) { return output < kOutputs ? parts[output < kOutputs ? output : 0] : 0.0F; };
  const bool odd = lane & 1;
  const float first = (odd ? part(2) : part(0)) + exchange(odd ? part(0) : part(2), 1);
  const float second = (odd ? part(3) : part(1)) + exchange(odd ? part(1) : part(3), 1);
  const bool high = lane & 2;
  float sum = (high ? second : first) + exchange(high ? first : second, 2);
  for (int bits = 4; bits < lanes; bits *= 2) sum += exchange(sum, bits);
  return sum;
}

// The values of all four outputs of a group, gathered from its lanes.
struct Gathered {
  float own, by_1, by_2, by_3;  // those of this lane and of the lanes with the numbers lane ^ 1, lane ^ 2 and lane ^ 3
  int lane;
  __device__ Gathered(float value, int the_lane)
      : own(value), by_1(exchange(value, 1)), by_2(exchange(value, 2)), by_3(exchange(value, 3)), lane(the_lane) {}
  __device__ float of(int output) const {
    const int bits = ((output >> 1) | ((output & 1) << 1)) ^ (lane & 3);
    return bits == 0 ? own : bits == 1 ? by_1 : bits == 2 ? by_2 : by_3;
  }
};

// Runs Work's loop. Work has
//   kOutputs, kSlots
//   weight(index, output)       the weight of the operand's element `index` for an output of the thread's group
//   begin(row)                  fills the slots and publishes the thread's share of the first operand
//   copy_ahead(row, step)       starts the copies for a step, if there is such a step, to the slots of step % 2
//   step(row, step, sum, next)  takes the product of this step's operand and publishes the next one in buffer `next`
//   steps()                     the number of steps
//   finish(row)
template <class Work, int kChunks>
__device__ inline void run_loop(Work work, const LoopThread& thread, int operands) {
  const RnnLoopShape& shape = thread.shape;
  const int lane = thread.lane;
  float weights[Work::kOutputs][kChunks * 4];
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int index = (chunk * shape.lanes + lane) * 4 + i;
#pragma unroll
      for (int output = 0; output < Work::kOutputs; ++output)
        weights[output][chunk * 4 + i] = thread.busy && index < operands ? work.weight(index, output) : 0.0F;
    }
  for (int i = static_cast<int>(threadIdx.x); i < 2 * shape.rows * thread.width(); i += shape.threads)
    thread.operands[i] = 0.0F;
  thread.sync();
  const int steps = work.steps();
  for (int row = 0; row < thread.rows; ++row) work.begin(row);
  for (int step = 0; step < 2; ++step) {
    for (int row = 0; row < thread.rows; ++row) work.copy_ahead(row, step);
    end_copies();
  }
  thread.sync();
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<1>();
    for (int row = 0; row < thread.rows; ++row) {
      const float4* operand = reinterpret_cast<const float4*>(thread.operand(step % 2, row)) + lane;
      float parts[Work::kOutputs] = {};
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const float4 values = operand[chunk * shape.lanes];
#pragma unroll
        for (int output = 0; output < Work::kOutputs; ++output) {
          const float* w = weights[output] + chunk * 4;
          float part = parts[output];
          part = fmaf(values.x, w[0], part);
          part = fmaf(values.y, w[1], part);
          part = fmaf(values.z, w[2], part);
          parts[output] = fmaf(values.w, w[3], part);
        }
      }
      work.step(row, step, reduce(parts, lane, shape.lanes), (step + 1) % 2);
    }
    for (int row = 0; row < thread.rows; ++row) work.copy_ahead(row, step + 2);
    end_copies();
    thread.sync();
  }
  for (int row = 0; row < thread.rows; ++row) work.finish(row);
}

template <class Work, int kChunks>
__global__ void __launch_bounds__(most_threads(Work::kOutputs, kChunks))
    loop_kernel(const RnnLoopShape shape, const typename Work::Loop loop) {
  const LoopThread thread(shape);
  run_loop<Work, kChunks>(Work(loop, thread), thread, shape.units * Work::kRecurrentGates);
}

// Launches the kernel for the shape's number of chunks.
template <class Work>
Status launch_loop(const RnnLoopShape& shape, const typename Work::Loop& loop, Stream stream) {
  constexpr const char* kWhat = Work::Loop::kName;
  LaunchShape at;
  const int clusters = (shape.batch + shape.rows - 1) / shape.rows;
  at.grid = dim3(static_cast<unsigned>(clusters * shape.blocks));
  at.threads = static_cast<unsigned>(shape.threads);
  at.cluster = static_cast<unsigned>(shape.blocks);
  at.shared_bytes = shape.shared_bytes;
  if (shape.chunks == kChunkSizes[0]) return launch(kWhat, loop_kernel<Work, kChunkSizes[0]>, at, stream, shape, loop);
  if (shape.chunks == kChunkSizes[1]) return launch(kWhat, loop_kernel<Work, kChunkSizes[1]>, at, stream, shape, loop);
  if (shape.chunks == kChunkSizes[2]) return launch(kWhat, loop_kernel<Work, kChunkSizes[2]>, at, stream, shape, loop);
  return launch(kWhat, loop_kernel<Work, kChunkSizes[3]>, at, stream, shape, loop);
}

// The loops of one direction. of_cell calls body with a null pointer of the type of the cell's work.
template <class Lstm, class Gru, class SimpleRnn>
struct Loops {
  template <class Body>
  static auto of_cell(Cell cell, const Body& body) {
    if (cell == Cell::kLstm) return body(static_cast<Lstm*>(nullptr));
    if (cell == Cell::kGru) return body(static_cast<Gru*>(nullptr));
    return body(static_cast<SimpleRnn*>(nullptr));
  }
  static LoopCell loop_cell(Cell cell) {
    return of_cell(cell, [](auto* null) {
      using Work = std::remove_pointer_t<decltype(null)>;
      return LoopCell{Work::kOutputs, Work::kUnits, Work::kSlots, Work::kRecurrentGates};
    });
  }
  static Status run(const RnnLoopShape& shape, Cell cell, const typename Lstm::Loop& loop, Stream stream) {
    return of_cell(cell,
                   [&](auto* null) { return launch_loop<std::remove_pointer_t<decltype(null)>>(shape, loop, stream); });
  }
  static constexpr PersistentLoops<typename Lstm::Loop> kFunctions = {loop_cell, run};
};

// The timestep of a step. Outputs are in the order in which the steps are taken.
struct TimeOrder {
  int timesteps;
  bool go_backwards;
  __device__ int time(int place) const { return go_backwards ? timesteps - 1 - place : place; }
};

}  // namespace fastseq::cuda

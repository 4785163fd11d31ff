// The host's side of the persistent loops: what a cell's kernels take, and the launch of the one for a shape.
#pragma once

#include "launch.h"
#include "rnn_loop.h"

namespace fastseq::cuda {

// What find_loop_shape needs of a cell in one direction.
struct LoopCell {
  int outputs;           // that a group computes
  int units;             // that these belong to
  int slots;             // of a thread and row
  int operands_of_unit;  // elements that a unit has in the operand
};

LoopCell loop_cell_forward(Cell cell);
LoopCell loop_cell_backward(Cell cell);

// Kernels::kernel<n> for the shape's number of chunks.
template <class Kernels, class Loop>
Status launch_loop(const char* what, const RnnLoopShape& shape, const Loop& loop, Stream stream) {
  LaunchShape at;
  const int clusters = (shape.batch + shape.rows - 1) / shape.rows;
  at.grid = dim3(static_cast<unsigned>(clusters * shape.blocks));
  at.threads = static_cast<unsigned>(shape.threads);
  at.cluster = static_cast<unsigned>(shape.blocks);
  at.shared_bytes = shape.shared_bytes;
  if (shape.chunks <= kChunkSizes[0])
    return launch(what, Kernels::template kernel<kChunkSizes[0]>, at, stream, shape, loop);
  if (shape.chunks <= kChunkSizes[1])
    return launch(what, Kernels::template kernel<kChunkSizes[1]>, at, stream, shape, loop);
  if (shape.chunks <= kChunkSizes[2])
    return launch(what, Kernels::template kernel<kChunkSizes[2]>, at, stream, shape, loop);
  return launch(what, Kernels::template kernel<kChunkSizes[3]>, at, stream, shape, loop);
}

}  // namespace fastseq::cuda

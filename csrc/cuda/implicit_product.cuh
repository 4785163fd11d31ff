// Products of matrices of patches that are not in memory: their elements are read from the sequences (implicit GEMM:
// Chetlur et al. 2014, arXiv 1410.0759).
//
// A block of 128 threads computes a tile of 64 x 64 results, of which a thread has 8 x 4 in registers. The depth is
// divided into stages of 16. There are two buffers in shared memory, so that the next stage is fetched while this one
// is multiplied, with one barrier for each stage. A result is one sum in the order of depth, for any grid.
#pragma once

#include <cstddef>
#include <cstdint>

#include "convert.cuh"
#include "device.cuh"
#include "launch.h"

namespace fastseq::cuda {

// Four elements, which one instruction reads or writes.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T values[4];
};

// Whether a matrix can be read four elements at a time: its rows, `ld` elements apart, are aligned and have a multiple
// of four elements.
template <class T>
bool lies_by_four(const T* data, int64_t elements, int64_t ld) {
  return elements % 4 == 0 && ld % 4 == 0 && reinterpret_cast<uintptr_t>(data) % sizeof(Four<T>) == 0;
}

// A number as high * base + low. It is divided once and then incremented, since divisions of 64 bits are slow.
struct Digits {
  int64_t high, low;

  __device__ static Digits of(int64_t number, int64_t base) { return {number / base, number % base}; }
  // Adds a number that is also given as high and low.
  __device__ void add(int more_high, int more_low, int64_t base) {
    high += more_high;
    low += more_low;
    if (low < base) return;
    low -= base;
    ++high;
  }
};

// The matrix with a row for every position in every sequence, and a column for every element of a patch:
//
//   row (sequence, position), column (tap, element): data[sequence, timestep, element],
//   timestep = start + position position_step + tap tap_step
//
// of data (sequences, timesteps, ld). Elements whose timestep is outside of the sequence are zero.
template <class T>
struct Patches {
  const T* data;
  int64_t sequences, positions;
  int64_t taps, elements;
  int64_t timesteps, ld;
  int64_t start, position_step, tap_step;
  bool by_four;  // whether the columns of a tap can be read four at a time

  Patches(const T* the_data, int64_t the_sequences, int64_t the_positions, int64_t the_taps, int64_t the_elements,
          int64_t the_timesteps, int64_t the_ld)
      : data(the_data),
        sequences(the_sequences),
        positions(the_positions),
        taps(the_taps),
        elements(the_elements),
        timesteps(the_timesteps),
        ld(the_ld),
        start(0),
        position_step(1),
        tap_step(1),
        by_four(lies_by_four(the_data, the_elements, the_ld)) {}

  // An ordinary matrix (rows, elements), with rows `ld` elements apart.
  static Patches rows_of(const T* data, int64_t rows, int64_t elements, int64_t ld) {
    return Patches(data, 1, rows, 1, elements, rows, ld);
  }

  // Four elements of a row.
  __device__ void read(const Digits& row, Digits column, float* values) const {
    if (by_four) {
      const T* from = place(row, column);
      const Four<T> four = from ? *reinterpret_cast<const Four<T>*>(from) : Four<T>{};
      for (int i = 0; i < 4; ++i) values[i] = to_float(four.values[i]);
      return;
    }
    for (int i = 0; i < 4; ++i) {
      const T* from = place(row, column);
      values[i] = from ? to_float(*from) : 0.0F;
      column.add(0, 1, elements);
    }
  }

 private:
  // The address of an element; null if it is outside of the matrix or of the sequence.
  __device__ const T* place(const Digits& row, const Digits& column) const {
    const int64_t timestep = start + row.low * position_step + column.high * tap_step;
    const bool inside = row.high < sequences && column.high < taps && timestep >= 0 && timestep < timesteps;
    return inside ? data + (row.high * timesteps + timestep) * ld + column.low : nullptr;
  }
};

// The index of an operand's patches that runs along the depth of the product, over which it sums. The other index is
// the row of the results for operand a, and their column for b.
enum class Depth { kColumns, kRows };

constexpr int kTile = 64;
constexpr int kStage = 16;
constexpr int kProductThreads = 128;
constexpr int kBlocksAtOnce = 3;  // on a multiprocessor; with more, compute capability 12.0 has too few registers
constexpr int kThreadRows = 8;
constexpr int kThreadColumns = 4;
constexpr int kStageLine = kTile + 4;  // a multiple of 16 bytes; the padding spreads a column's writes over more banks
constexpr int kStageFloats = kStage * kStageLine;
constexpr size_t kProductSharedBytes = 2 * 2 * kStageFloats * sizeof(float);

// A thread's share of one operand's stages: four columns of two rows of the patches. A stage in shared memory is
// (depth, line), where a line has the operand's rows or columns of the tile.
template <class T, Depth kDepth>
class Stages {
 public:
  __device__ Stages(const Patches<T>& patches, int64_t first_line, int64_t first_depth) : patches_(patches) {
    const bool columns = kDepth == Depth::kColumns;
    column_ = Digits::of((columns ? first_depth : first_line) + own_column(), patches.elements);
    for (int i = 0; i < 2; ++i)
      rows_[i] = Digits::of((columns ? first_line : first_depth) + own_row(i), patches.positions);
    const int64_t base = columns ? patches.elements : patches.positions;
    step_high_ = static_cast<int>(kStage / base);
    step_low_ = static_cast<int>(kStage % base);
  }

  // Reads the next stage into registers.
  __device__ void fetch() {
    for (int i = 0; i < 2; ++i) patches_.read(rows_[i], column_, values_[i].values);
    if constexpr (kDepth == Depth::kColumns)
      column_.add(step_high_, step_low_, patches_.elements);
    else
      for (Digits& row : rows_) row.add(step_high_, step_low_, patches_.positions);
  }

  // Writes the stage from registers to shared memory.
  __device__ void put(float* stage) const {
    for (int i = 0; i < 2; ++i) {
      if constexpr (kDepth == Depth::kColumns)
        for (int j = 0; j < 4; ++j) stage[(own_column() + j) * kStageLine + own_row(i)] = values_[i].values[j];
      else
        *reinterpret_cast<Four<float>*>(stage + own_row(i) * kStageLine + own_column()) = values_[i];
    }
  }

 private:
  // The first column and the rows that the thread reads, counted from the first row and column of the stage.
  static constexpr int kFours = (kDepth == Depth::kColumns ? kStage : kTile) / 4;  // groups of four in a row
  __device__ static int own_column() { return static_cast<int>(threadIdx.x) % kFours * 4; }
  __device__ static int own_row(int i) {
    return static_cast<int>(threadIdx.x) / kFours + i * (kProductThreads / kFours);
  }

  const Patches<T>& patches_;
  Digits column_, rows_[2];
  int step_high_, step_low_;  // the distance of stages
  Four<float> values_[2];
};

// One of the products of a job: a b, summed over the depth from begin to end.
template <class A, class B>
struct Product {
  Patches<A> a;
  Patches<B> b;
  int64_t begin, end;
};

struct ThreadSums {
  float values[kThreadRows][kThreadColumns] = {};
};

// The first row and column of the thread's sums in the tile.
__device__ inline int first_own_row() { return static_cast<int>(threadIdx.x) / (kTile / kThreadColumns) * kThreadRows; }
__device__ inline int first_own_column() {
  return static_cast<int>(threadIdx.x) % (kTile / kThreadColumns) * kThreadColumns;
}

__device__ inline void add_stage(const float* a, const float* b, ThreadSums* sums) {
  a += first_own_row();
  b += first_own_column();
#pragma unroll
  for (int depth = 0; depth < kStage; ++depth, a += kStageLine, b += kStageLine) {
    const Four<float> upper = *reinterpret_cast<const Four<float>*>(a);
    const Four<float> lower = *reinterpret_cast<const Four<float>*>(a + 4);
    const Four<float> row = *reinterpret_cast<const Four<float>*>(b);
    for (int i = 0; i < kThreadRows; ++i)
      for (int j = 0; j < kThreadColumns; ++j)
        sums->values[i][j] += (i < 4 ? upper.values[i] : lower.values[i - 4]) * row.values[j];
  }
}

template <Depth kDepthOfA, Depth kDepthOfB, class A, class B>
__device__ ThreadSums multiply_tile(const Product<A, B>& product, int64_t first_row, int64_t first_column) {
  ThreadSums sums;
  if (product.begin >= product.end) return sums;
  float* const memory = shared_memory();
  Stages<A, kDepthOfA> a(product.a, first_row, product.begin);
  Stages<B, kDepthOfB> b(product.b, first_column, product.begin);
  const int64_t stages = (product.end - product.begin + kStage - 1) / kStage;
  a.fetch();
  b.fetch();
  for (int64_t stage = 0; stage < stages; ++stage) {
    float* const of_a = memory + (stage & 1) * 2 * kStageFloats;
    float* const of_b = of_a + kStageFloats;
    a.put(of_a);
    b.put(of_b);
    sync_block();  // all threads have also read the other buffer, which is written next
    if (stage + 1 < stages) {
      a.fetch();
      b.fetch();
    }
    add_stage(of_a, of_b, &sums);
  }
  sync_block();
  return sums;
}

// A job is `products` products of the same size (rows, columns), and a function that stores their results:
//
//   static constexpr Depth kDepthOfA, kDepthOfB;
//   int64_t products, rows, columns;
//   Product<A, B> product(int64_t number) const;
//   void store(int64_t number, int64_t row, int64_t column, int64_t count, const float* values) const;
//
// store() gets up to four columns of a row.
template <class Job>
__global__ void __launch_bounds__(kProductThreads, kBlocksAtOnce) multiply(const Job job) {
  const int64_t across = (job.columns + kTile - 1) / kTile;
  const int64_t down = (job.rows + kTile - 1) / kTile;
  for (int64_t tile = blockIdx.x; tile < job.products * down * across; tile += gridDim.x) {
    const int64_t number = tile / across / down;
    const int64_t first_row = tile / across % down * kTile;
    const int64_t first_column = tile % across * kTile;
    const ThreadSums sums = multiply_tile<Job::kDepthOfA, Job::kDepthOfB>(job.product(number), first_row, first_column);
    const int64_t column = first_column + first_own_column();
    const int64_t count = job.columns - column < kThreadColumns ? job.columns - column : kThreadColumns;
#pragma unroll
    for (int i = 0; i < kThreadRows; ++i) {  // unrolled, so that the sums stay in registers
      const int64_t row = first_row + first_own_row() + i;
      if (row < job.rows && count > 0) job.store(number, row, column, count, sums.values[i]);
    }
  }
}

inline int64_t tiles_of(int64_t rows, int64_t columns) {
  return (rows + kTile - 1) / kTile * ((columns + kTile - 1) / kTile);
}

template <class Job>
Status run_products(const char* what, const Job& job, Stream stream) {
  const int64_t tiles = job.products * tiles_of(job.rows, job.columns);
  if (tiles == 0) return {};
  return launch(what, multiply<Job>, {blocks_for(tiles, 1), kProductThreads, 1, kProductSharedBytes}, stream, job);
}

// Rounds and writes the values, for a job's store().
template <class T>
__device__ void store_four(T* to, int64_t count, bool by_four, const float* values) {
  Four<T> four;
  for (int i = 0; i < 4; ++i) round_to(values[i], &four.values[i]);
  if (by_four) {
    *reinterpret_cast<Four<T>*>(to) = four;
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = four.values[i];
}

}  // namespace fastseq::cuda

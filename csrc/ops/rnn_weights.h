// The weight gradients of a recurrent op. A cell is one step of one row. Every chunk of steps adds products over its
// cells:
//   dkernel += x^T dz,  drecurrent_kernel += h_prev^T dz,  dbias += 1^T dz.
// The rows of these matrices are divided among the threads of a subteam.
//
// Where many rows of x are equal (distinct_rows.h), dz is summed by these rows first: a chunk only adds its rows of dz
// to the sums, and dkernel is one product of the distinct rows with the sums in the end.
#pragma once

#include "batch_shards.h"
#include "rnn_layout.h"
#include "rnn_saved_states.h"

namespace fastseq {

// The distance between rows of dz. It is a whole number of vectors for any ISA, and an odd number of cache lines, so
// that the elements of a column, which a product reads together, are spread over the sets of the first-level cache.
template <class T>
int64_t dz_stride(const RnnPlan& plan) {
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t lines = (CellShape(plan.options).dz * plan.dims.units + kLine - 1) / kLine;
  return (lines | 1) * kLine;
}

// The cells of a shard in a chunk of steps, numbered row by row.
template <class T>
struct ChunkCells {
  const DealtRows& shard;
  int64_t begin;               // the chunk's first step
  const int64_t* first_cells;  // (rows of the shard + 1): the number of each row's first cell
  T* dz;                       // (cells, stride)
  int64_t stride;
  T* reset_h;  // (cells, U) for GRU without reset_after; else null

  int64_t count() const { return first_cells[shard.count()]; }
  int64_t cell(int64_t row, int64_t step) const { return first_cells[row] + step - begin; }
  T* dz_of(int64_t cell) const { return dz + cell * stride; }
};

// The distinct rows of x in a shard, and the sums of dz by these rows.
template <class T>
struct DistinctSums {
  const DistinctRows<T>& rows;
  int part;       // the shard
  int64_t count;  // of distinct rows; 0 if dz is not summed by rows
  T* dz;          // (count, stride)
  int64_t stride;
};

// Sums of the weight gradients.
template <class T>
struct WeightSums {
  T* kernel;            // (D, GU)
  T* recurrent_kernel;  // (U, GU)
  T* bias;              // (GU) or (2, GU); null without bias
};

template <class T>
class WeightGradients {
 public:
  // Scratch of one thread, for at most M = D + 1 + U + 1 rows.
  struct ThreadScratch {
    T* dropped;             // (max(D, U)): an operand times its dropout factors
    T* columns;             // (M, kDepthBlock), packed by tiles
    const T** column_rows;  // (M)
    T** results;            // (M)

    ThreadScratch(const RnnPlan& plan, Scratch& scratch) {
      const int64_t most = plan.dims.inputs + plan.dims.units + 2;
      const int64_t tile = kernels_of<T>(*plan.isa).tile_rows;
      dropped = scratch.take<T>(std::max(plan.dims.inputs, plan.dims.units));
      columns = scratch.take<T>((most / tile + 1) * column_tile_stride<T>(tile));
      column_rows = scratch.take<const T*>(most);
      results = scratch.take<T*>(most);
    }
  };

  WeightGradients(const RnnOperands<T>& operands, const Steps& steps, const SavedStates<T>& states, const Team& team,
                  const ThreadScratch& local, const WeightSums<T>& sums, const DistinctSums<T>& distinct)
      : o_(operands), steps_(steps), states_(states), team_(team), local_(local), sums_(sums), distinct_(distinct) {}

  void clear() const {
    const auto clear_rows = [&](const Job& job, Range range) {
      for (int64_t row = range.begin; row < range.end; ++row)
        std::fill_n(result(job, row), job.gates.count * o_.units, T(0));
    };
    if (distinct_.count == 0) return for_share(Matrices::kBoth, clear_rows);
    for_share(Matrices::kKernel, clear_rows);
    for_share(Matrices::kRecurrentKernel, clear_rows);
    const Range columns = distinct_columns();
    for (int64_t i = 0; i < distinct_.count; ++i)
      std::fill_n(distinct_.dz + i * distinct_.stride + columns.begin, columns.end - columns.begin, T(0));
  }

  // Adds the cells of a chunk.
  void add(const ChunkCells<T>& cells) const {
    const auto add_cells = [&](const Job& job, Range range) { add(cells, job, range); };
    if (distinct_.count == 0) return for_share(Matrices::kBoth, add_cells);
    for_share(Matrices::kRecurrentKernel, add_cells);
    const Range columns = distinct_columns();
    for (int64_t i = 0; i < cells.shard.count(); ++i)
      for (int64_t c = cells.first_cells[i]; c < cells.first_cells[i + 1]; ++c)
        add_to(columns.end - columns.begin, cells.dz_of(c) + columns.begin,
               distinct_.dz + distinct_.rows.number(row_of_x(cells, i, c)) * distinct_.stride + columns.begin);
  }

  // Adds what is left once all chunks have been added. Before, the threads must wait for each other.
  void finish() const {
    if (distinct_.count == 0) return;
    for_share(Matrices::kKernel, [&](const Job& job, Range range) {
      add_products(job, range, distinct_.count, distinct_.dz, distinct_.stride,
                   [&](int64_t i) { return o_.x + distinct_.rows.first(distinct_.part, i) * o_.inputs + range.begin; });
    });
  }

  // Adds the thread's share of another shard's sums, which are divided among all threads of the team.
  void add_shard(const WeightSums<T>& other) const {
    const int64_t columns = o_.cell.gates * o_.units;
    add_sums(team_, o_.inputs * columns, other.kernel, sums_.kernel);
    add_sums(team_, o_.units * columns, other.recurrent_kernel, sums_.recurrent_kernel);
    if (sums_.bias) add_sums(team_, (o_.has_two_biases() ? 2 : 1) * columns, other.bias, sums_.bias);
  }

 private:
  // The weight gradients of one group of gates: a row for each element of the operand, and one more for the bias.
  struct Job {
    const GateGroup& gates;
    bool recurrent;
    bool with_bias;
    int64_t rows;  // including the bias's
    int64_t cost() const { return rows * gates.count; }
    int64_t operands() const { return rows - (with_bias ? 1 : 0); }
  };

  enum class Matrices { kKernel, kRecurrentKernel, kBoth };

  // Calls body(job, rows) for the thread's share of the rows of these weight gradients.
  template <class Body>
  void for_share(Matrices matrices, const Body& body) const {
    const GateGroups groups[2] = {o_.cell.input_groups(o_.plan.input_factors),
                                  o_.cell.recurrent_groups(o_.plan.recurrent_factors, true)};
    const auto for_each_job = [&](const auto& take) {
      for (const bool recurrent : {false, true}) {
        if (matrices == (recurrent ? Matrices::kKernel : Matrices::kRecurrentKernel)) continue;
        const bool with_bias = sums_.bias && (!recurrent || o_.has_two_biases());
        for (const GateGroup& gates : groups[recurrent ? 1 : 0])
          take(Job{gates, recurrent, with_bias, (recurrent ? o_.units : o_.inputs) + (with_bias ? 1 : 0)});
      }
    };
    int64_t all = 0;
    for_each_job([&](const Job& job) { all += job.cost(); });
    const Range share = split(all, team_.subteam_size(), team_.rank_in_subteam());
    int64_t first = 0;
    for_each_job([&](const Job& job) {
      // A row belongs to the share in which its first gate lies.
      const auto row_at = [&](int64_t at) {
        return std::clamp<int64_t>((at - first + job.gates.count - 1) / job.gates.count, 0, job.rows);
      };
      const Range rows{row_at(share.begin), row_at(share.end)};
      if (rows.begin < rows.end) body(job, rows);
      first += job.cost();
    });
  }

  // The gradients of row `row` of the job's matrix; the bias is the row after the matrix.
  T* result(const Job& job, int64_t row) const {
    const int64_t ld = o_.cell.gates * o_.units;
    T* matrix = job.recurrent ? sums_.recurrent_kernel : sums_.kernel;
    T* begin = row < job.operands() ? matrix + row * ld : sums_.bias + (job.recurrent ? ld : 0);
    return begin + job.gates.first * o_.units;
  }

  // Adds a chunk's cells to rows `range` of the job's matrix.
  void add(const ChunkCells<T>& cells, const Job& job, Range range) const {
    const int64_t packed = std::min(range.end, job.operands()) - range.begin;
    int64_t i = 0;
    add_products(job, range, cells.count(), cells.dz, cells.stride, [&](int64_t c) {
      while (c >= cells.first_cells[i + 1]) ++i;
      const T* row = operand(cells, job, i, c) + range.begin;
      const T* factors = (job.recurrent ? o_.recurrent_dropout : o_.dropout).row(job.gates, cells.shard[i]);
      if (!factors) return row;
      multiply(packed, row, factors + range.begin, local_.dropped);
      return static_cast<const T*>(local_.dropped);
    });
  }

  // Adds the products of `count` operands with rows of dz to rows `range` of the job's matrix. operand(c) returns the
  // elements of operand c for these rows. It is called for each c in order.
  template <class Operand>
  void add_products(const Job& job, Range range, int64_t count, const T* dz, int64_t stride,
                    const Operand& operand) const {
    const int64_t rows = range.end - range.begin;
    const int64_t columns = job.gates.count * o_.units;
    const int64_t tile = o_.kernels.tile_rows;
    for (int64_t i = 0; i < rows; ++i) {
      local_.results[i] = result(job, range.begin + i);
      const int64_t at = i / tile * column_tile_stride<T>(tile) + i % tile;
      local_.column_rows[i] = local_.columns + at;
      // The operand of the bias is 1 in every cell. pack_column does not write this row.
      if (range.begin + i == job.operands())
        for (int64_t k = 0; k < kDepthBlock; ++k) local_.columns[at + k * tile] = T(1);
    }
    const int64_t packed = std::min(range.end, job.operands()) - range.begin;
    const int64_t blocks = (count + kDepthBlock - 1) / kDepthBlock;
    for (int64_t block = 0; block < blocks; ++block) {
      const Range span = split(count, blocks, block);
      for (int64_t c = span.begin; c < span.end; ++c)
        o_.kernels.pack_column(c - span.begin, packed, operand(c), local_.columns);
      o_.kernels.product({rows,
                          {span.end - span.begin, columns, 0},
                          local_.column_rows,
                          tile,
                          dz + span.begin * stride + job.gates.dz_first * o_.units,
                          stride,
                          local_.results,
                          local_.results});
    }
  }

  // The thread's columns of the sums of dz by distinct rows. The kernel's gates are one group, and come first in dz.
  Range distinct_columns() const {
    return split(o_.cell.gates * o_.units, team_.subteam_size(), team_.rank_in_subteam());
  }

  // The row of x, as a matrix (B T, D), of cell c, which belongs to row i of the shard.
  int64_t row_of_x(const ChunkCells<T>& cells, int64_t i, int64_t c) const {
    const int64_t b = cells.shard[i];
    return steps_.row_of_x(b, cells.begin + c - cells.first_cells[i]);
  }

  const T* operand(const ChunkCells<T>& cells, const Job& job, int64_t i, int64_t c) const {
    if (!job.recurrent) return o_.x + row_of_x(cells, i, c) * o_.inputs;
    if (job.gates.reset) return cells.reset_h + c * o_.units;
    return states_.hidden_before(cells.shard[i], cells.begin + c - cells.first_cells[i]);
  }

  const RnnOperands<T>& o_;
  const Steps& steps_;
  const SavedStates<T>& states_;
  const Team& team_;
  const ThreadScratch& local_;
  const WeightSums<T>& sums_;
  const DistinctSums<T> distinct_;
};

}  // namespace fastseq

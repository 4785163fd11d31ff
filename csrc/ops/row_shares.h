// The division of a table's rows among threads, where every row has any number of positions. One row may have half of
// all positions, such as the padding's. So the work on one row may be divided between threads, by columns.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fastseq {

// An element of the table at which one thread's share ends and the next thread's begins.
struct TableElement {
  int64_t row;
  int64_t column;
};

// The work of a row is `row_work`, plus 1 for each of its positions. Sets begins[v] to the work of all rows before row
// v, for v <= rows.
template <class Id>
void count_work(const Id* ids, int64_t positions, int64_t rows, int64_t row_work, int64_t* begins) {
  begins[0] = 0;
  std::fill(begins + 1, begins + rows + 1, row_work);
  for (int64_t p = 0; p < positions; ++p) ++begins[ids[p] + 1];
  for (int64_t v = 0; v < rows; ++v) begins[v + 1] += begins[v];
}

// The element before which there is this much work.
inline TableElement element_after(int64_t work, int64_t rows, int64_t columns, const int64_t* begins) {
  constexpr int64_t kColumns = 16;  // columns that are not divided: a cache line of floats
  const int64_t* next = std::upper_bound(begins, begins + rows + 1, work);
  const int64_t row = next - begins - 1;
  if (row == rows) return {row, 0};
  return {row, columns * (work - next[-1]) / (next[0] - next[-1]) / kColumns * kColumns};
}

}  // namespace fastseq

// What an ISA gives to the op drivers: a table of single-threaded tile kernels per dtype.
//
// The drivers in csrc/ops own time loops, threads and memory; a tile kernel owns nothing, allocates nothing and
// throws nothing. Every algorithm is written once (the .inl files) over a small vocabulary of vector operations
// (simd_*.h) and compiled once per ISA, in a translation unit of its own with that ISA's flags.
//
// All ISAs give the same bits for float: every element of a result goes through the same sequence of fused
// multiply-adds, additions and divisions whatever the vector length, and the scalar vocabulary rounds its
// multiply-add once, as the hardware does. double runs on the scalar kernels everywhere.
#pragma once

#include <cstdint>

#include "fastseq/activation.h"

namespace fastseq {

// A matrix B as the second operand of a product: depth x columns, of which the last `tail` are packed in another way
// than the others (product.inl): for a few columns beyond whole vectors, that is cheaper.
struct PackedShape {
  int64_t depth;
  int64_t columns;
  int64_t tail;
};

// How many columns of a matrix should be its tail, at most `most`. A part of the matrix with some of the last columns
// has these as its tail, so that every column is summed in the same way in whatever part.
inline int64_t tail_columns(int64_t depth, int64_t columns, int64_t most) {
  constexpr int64_t kMostColumns = 8;  // beyond, a partial vector costs no more
  constexpr int64_t kLeastDepth = 64;  // below, adding up the lanes would cost more than is saved
  const int64_t rest = columns % 16;
  return depth >= kLeastDepth && rest <= kMostColumns && rest <= most ? rest : 0;
}

// C[m][n] = init[m][n] + sum_k a[m][k * a_stride] * B[k][n] for m < rows, n < columns.
//
// Rows are given by pointers, so that any subset of rows (the unmasked ones) costs only itself, and so that a
// transposed operand is the same call with another stride. The sum over k is taken in blocks of at most kDepthBlock,
// each from zero, added to C in order; of a tail's columns in 16 interleaved sums. So the result does not depend on how
// rows and columns are split over tiles or threads.
template <class T>
struct ProductArgs {
  int64_t rows;
  PackedShape shape;     // of B; no tail with b_stride
  const T* const* a;     // rows pointers; a[m][k * a_stride] is element (m, k)
  int64_t a_stride;      // in elements; 1 where B is packed
  const T* b;            // packed, or row-major with b_stride
  int64_t b_stride;      // 0: packed by pack_row or pack_transposed; else elements from row to row, and up to a vector
                         // past the last column is read, never used
  const T* const* init;  // rows pointers to `columns` elements each, or null for zero; may equal c
  T* const* c;           // rows pointers to `columns` elements each
};

constexpr int64_t kDepthBlock = 128;

// The blocks of a sum over k < depth, as even as possible. A depth of 0 is one empty block.
struct DepthBlocks {
  int64_t depth;
  int64_t count;

  explicit DepthBlocks(int64_t the_depth)
      : depth(the_depth), count(the_depth > 0 ? (the_depth + kDepthBlock - 1) / kDepthBlock : 1) {}
  int64_t size(int64_t block) const { return depth / count + (block < depth % count ? 1 : 0); }
};

// Elements from one tile of a column-packed operand to the next: an odd number of cache lines, so that the tiles' lines
// of one column do not fall into the same sets of the first-level cache.
template <class T>
constexpr int64_t column_tile_stride(int64_t tile_rows) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return ((kDepthBlock * tile_rows / kLine) | 1) * kLine;
}

// sums[j] += sum_i of[i].weight rows[of[i].row * stride + j], for i < count and j < columns. The sum over i is one
// block, from zero, in order: that of a product whose other terms are zero.
template <class T>
struct WeightedRow {
  int32_t row;
  T weight;
};
template <class T>
struct WeightedRowsArgs {
  int64_t count;
  const WeightedRow<T>* of;
  const T* rows;
  int64_t stride;  // in elements
  int64_t columns;
  T* sums;
};

// What forward and backward are told of a step.
struct CellStep {
  int64_t rows;
  int64_t units;
  int64_t
      stride;  // U: from one value of a unit to the next in `saved` and dz, from row to row in h_prev, h and reset_h
  Activation activation;
  Activation recurrent_activation;
  bool reset_after;  // GRU
};

// The elementwise part of one step of the cells, over `rows` batch rows and `units` of their U units. "Gates" blocks
// lie side by side: gate g of row r of `z` is z[(r * G + g) * units], that of a row of `saved` saved[r][g * stride].
template <class T>
struct CellForwardArgs : CellStep {
  T* z;             // (rows, G * units): x_t kernel + bias. GRU keeps z and r here between its two parts
  T* recurrent;     // (rows, G * units): h_{t-1} recurrent_kernel + recurrent bias
  const T* h_prev;  // (rows, units)
  T* h;             // (rows, units) out; not h_prev
  T* c;             // (rows, units), dense: LSTM's state, updated
  T* reset_h;       // (rows, units): r h_{t-1} out, of GRU without reset_after
  T* const* saved;  // rows pointers, out: the workspace; or null
};

template <class T>
struct CellBackwardArgs : CellStep {
  const T* const* saved;     // rows pointers: the workspace of this step
  const T* const* previous;  // rows pointers to (units): c_{t-1} of LSTM, h_{t-1} of GRU
  const T* const* dy;        // rows pointers to (units) or null: gradient of the output beyond what comes through h
  T* dh;                     // (rows, units): gradient of h from the next step; GRU leaves what passes to h_{t-1} here
  T* dc;                     // (rows, units): likewise of LSTM's c, updated to that of c_{t-1}
  const T* dreset_h;         // (rows, units): gradient of r h_{t-1}, of GRU without reset_after
  T* const* dz;              // rows pointers, out: gradients of the pre-activations, gate by gate; for GRU with
                             // reset_after, a fourth block has those of the recurrent part of h
  T* const* reset_h;         // rows pointers to (units), out: r h_{t-1}, of GRU without reset_after
};

// Dropout of x as `rows` rows of `count` noise elements, each that of `repeat` elements of x. Rows share their noise.
template <class T>
struct DropoutArgs {
  uint32_t key[2];
  uint32_t counter[2];  // the last two words of every counter
  int64_t bits;         // a noise element is kept if these of its random bits
  int64_t threshold;    // are this number at least
  T scale;
  int64_t first;  // the first noise element's index
  int64_t rows;
  int64_t stride;  // elements of x from row to row
  int64_t count;
  int64_t repeat;
  const T* x;
  T* y;           // as x, which it may be
  uint8_t* mask;  // gets a bit for every noise element, 1 where it is kept, or is null; where it is not, `first` is a
                  // multiple of kDropoutBlock, and rows and repeat are 1
};
constexpr int64_t kDropoutBlock = 256;

template <class T>
using CellForward = void (*)(const CellForwardArgs<T>&);
template <class T>
using CellBackward = void (*)(const CellBackwardArgs<T>&);

// Pooling works on the rows of one window, `stride` elements from one to the next: `count` of them, at least 1, from
// `first` on. Those of a window that padding or a thread's share cuts are fewer than the pool size. Elements are the
// `channels` of a row, contiguous.
//
// out[c] = the greatest of first[i * stride + c], of equal ones the first. As in TensorFlow, NaN is never the greatest,
// and the lowest finite number stands where nothing is greater.
template <class T>
struct MaxPoolArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  const T* first;
  int64_t position;  // of the first row in its window: not 0 where the window begins before it
  T* out;            // (channels)
  void* argmax;      // (channels), out: positions in the window of what was taken; or null
  int index_bytes;   // of each of them: 1, 2 or 4 for uint8, uint16 or int32
};

// Gives each dout[c] to the row at position argmax[c], and 0 to the other rows, or nothing with `add`. A position
// outside of the rows counts for none of them.
template <class T>
struct MaxPoolBackwardArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  T* first;            // out
  int64_t position;    // as forward
  const T* dout;       // (channels)
  const void* argmax;  // (channels), as forward wrote it
  int index_bytes;
  bool add;  // to what the rows hold: for windows that overlap
};

// out[c] = the mean of first[i * stride + c].
template <class T>
struct AveragePoolArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  const T* first;
  T* out;  // (channels)
};

// Gives dout[c] / divisor to every row.
template <class T>
struct AveragePoolBackwardArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  T* first;         // out
  int64_t divisor;  // the rows that forward took the mean of
  const T* dout;    // (channels)
  bool add;         // as MaxPoolBackwardArgs
};

// An array before and after an update, in the same place or apart.
template <class T>
struct Updated {
  const T* from;
  T* to;
};

// fastseq/adam.h has the formulas.
template <class T>
struct AdamArgs {
  int64_t count;
  T momentum_rate;  // 1 - beta_1
  T velocity_rate;  // 1 - beta_2
  T alpha;
  T epsilon;
  const T* gradient;
  const T* squares;  // what stands for the gradient's square; null: that square
  Updated<T> variable;
  Updated<T> momentum;
  Updated<T> velocity;
  Updated<T> velocity_hat;  // null: no AMSGrad
};

template <class T>
struct KernelTable {
  int tile_rows;  // rows that a product takes at a time

  // Elements (not bytes) that a packed operand takes.
  int64_t (*packed_size)(const PackedShape&);
  // Writes row k of B (columns contiguous elements) into its place in `packed`.
  void (*pack_row)(int64_t k, const PackedShape&, const T* row, T* packed);
  // Writes columns [begin, end) of `rows` rows of B from `first` on, where B[first + k][n] = src[n * ld + k]: the
  // transpose of a row-major matrix.
  void (*pack_transposed)(int64_t begin, int64_t end, int64_t first, int64_t rows, const PackedShape&, const T* src,
                          int64_t ld, T* packed);
  // Writes `count` elements, in the order of a product's rows, as column k < kDepthBlock of its first operand, which
  // has tile_rows rows side by side: row m begins at m / tile_rows * column_tile_stride + m % tile_rows, and its
  // a_stride is tile_rows.
  void (*pack_column)(int64_t k, int64_t count, const T* column, T* packed);
  void (*product)(const ProductArgs<T>&);
  void (*add_weighted_rows)(const WeightedRowsArgs<T>&);

  // values[i] = a(values[i]); dz[i] = dvalues[i] a'(z[i]), where values[i] = a(z[i]).
  void (*activate)(Activation, int64_t count, T* values);
  void (*activation_gradient)(Activation, int64_t count, const T* values, const T* dvalues, T* dz);

  CellForward<T> lstm_forward;
  CellForward<T> gru_reset_forward;   // z and r; what r resets
  CellForward<T> gru_update_forward;  // the candidate and h
  CellForward<T> simple_rnn_forward;
  CellBackward<T> lstm_backward;
  CellBackward<T> gru_update_backward;
  CellBackward<T> gru_reset_backward;
  CellBackward<T> simple_rnn_backward;

  void (*max_pool)(const MaxPoolArgs<T>&);
  void (*max_pool_backward)(const MaxPoolBackwardArgs<T>&);
  void (*average_pool)(const AveragePoolArgs<T>&);
  void (*average_pool_backward)(const AveragePoolBackwardArgs<T>&);
  void (*dropout)(const DropoutArgs<T>&);
  // dx[i] = dy[i] * scale where bit i of the mask is 1, else 0; dx may be dy
  void (*dropout_gradient)(int64_t count, const uint8_t* mask, T scale, const T* dy, T* dx);

  void (*adam)(const AdamArgs<T>&);
  // sums[i] += from[i], squares[i] += from[i]²
  void (*add_with_squares)(int64_t count, const T* from, T* sums, T* squares);

  int chain_elements;  // how many multiply-adds a step of run_chains does
  T (*run_chains)(int64_t steps, T factor, T term);
};

struct Isa {
  const char* name;
  bool (*supported)();  // by this CPU and this operating system
  const KernelTable<float>* f32;
  const KernelTable<double>* f64;
};

// Defined by one translation unit each.
extern const KernelTable<float> kScalarF32;
extern const KernelTable<double> kScalarF64;
#ifdef FASTSEQ_HAVE_AVX2
extern const KernelTable<float> kAvx2F32;
#endif
#ifdef FASTSEQ_HAVE_AVX512
extern const KernelTable<float> kAvx512F32;
#endif
#ifdef FASTSEQ_HAVE_NEON
extern const KernelTable<float> kNeonF32;
#endif

// Every ISA compiled in, slowest first.
struct IsaList {
  const Isa* first;
  int size;
  const Isa* begin() const { return first; }
  const Isa* end() const { return first + size; }
};
IsaList compiled_isas();

}  // namespace fastseq

// The tables of tile kernels, which are single-threaded: one for each ISA and dtype.
//
// The drivers in csrc/ops have the time loops, the threads and the memory. A tile kernel allocates nothing and throws
// nothing. Every algorithm is written once (the .inl files) over a small vocabulary of vector operations (simd_*.h),
// and compiled once per ISA, in a separate translation unit with that ISA's flags.
//
// All ISAs give the same bits for float. Every element of a result is computed by the same sequence of fused
// multiply-adds, additions and divisions, whatever the vector length, and the scalar vocabulary rounds its multiply-add
// once, as the hardware does. double always uses the scalar kernels.
#pragma once

#include <cstdint>

#include "fastseq/activation.h"

namespace fastseq {

// A matrix B (depth, columns), the second operand of a product. Its last `tail` columns are packed differently
// (product.inl), which is cheaper for a few columns beyond whole vectors.
struct PackedShape {
  int64_t depth;
  int64_t columns;
  int64_t tail;
};

// The number of columns in a matrix's tail, at most `most`. If a part of the matrix has some of these columns, they are
// the part's tail. So a column is summed in the same order whatever part it is in.
inline int64_t tail_columns(int64_t depth, int64_t columns, int64_t most) {
  constexpr int64_t kMostColumns = 8;  // for more columns, a partial vector costs no more than a tail
  constexpr int64_t kLeastDepth = 64;  // for a lower depth, adding up the lanes costs more than the tail saves
  const int64_t rest = columns % 16;
  return depth >= kLeastDepth && rest <= kMostColumns && rest <= most ? rest : 0;
}

// C[m][n] = init[m][n] + sum_k a[m][k * a_stride] * B[k][n] for m < rows, n < columns.
//
// Rows are given by pointers, so that a subset of rows (the unmasked ones) costs no more than its share, and a
// transposed operand is the same call with another stride. The sum over k is split into blocks of at most kDepthBlock.
// Each block is summed from zero and added to C, in order. A column of the tail is 16 interleaved sums instead. So the
// result does not depend on the division of rows and columns into tiles or among threads.
template <class T>
struct ProductArgs {
  int64_t rows;
  PackedShape shape;  // the shape of B; no tail with b_stride
  const T* const* a;  // `rows` pointers; a[m][k * a_stride] is element (m, k)
  int64_t a_stride;   // in elements; 1 where B is packed
  const T* b;         // packed, or row-major with b_stride
  int64_t b_stride;   // 0: packed by pack_row or pack_transposed; else the distance of rows in elements. Then up to a
                      // vector past the last column is read, but not used
  const T* const* init;  // `rows` pointers to `columns` elements each, or null for zero; may equal c
  T* const* c;           // `rows` pointers to `columns` elements each
};

constexpr int64_t kDepthBlock = 128;

// The blocks of a sum over k < depth, with sizes as equal as possible. A depth of 0 is one empty block.
struct DepthBlocks {
  int64_t depth;
  int64_t count;

  explicit DepthBlocks(int64_t the_depth)
      : depth(the_depth), count(the_depth > 0 ? (the_depth + kDepthBlock - 1) / kDepthBlock : 1) {}
  int64_t size(int64_t block) const { return depth / count + (block < depth % count ? 1 : 0); }
};

// The distance of tiles in a column-packed operand, in elements. It is an odd number of cache lines, so that a column's
// lines, one in each tile, are spread over the sets of the first-level cache.
template <class T>
constexpr int64_t column_tile_stride(int64_t tile_rows) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return ((kDepthBlock * tile_rows / kLine) | 1) * kLine;
}

// sums[j] += sum_i of[i].weight rows[of[i].row * stride + j], for i < count and j < columns. The sum over i is one
// block, from zero and in order, as in a product whose other terms are zero.
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

// The arguments of a step that forward and backward have in common.
struct CellStep {
  int64_t rows;
  int64_t units;
  int64_t stride;  // U: the distance of gates in `saved` and dz, and of rows in h_prev, h and reset_h
  Activation activation;
  Activation recurrent_activation;
  bool reset_after;  // GRU
};

// The elementwise part of one step of a cell, for `rows` batch rows and `units` of their U units. The gates of a row
// come one after the other: gate g of row r begins at z[r][g * units], and in the workspace at saved[r][g * stride].
template <class T>
struct CellForwardArgs : CellStep {
  const T* const* z;  // `rows` pointers to (G * units): x_t kernel + bias
  T* recurrent;       // (rows, G * units): h_{t-1} recurrent_kernel + recurrent bias. GRU keeps the gate z here
                      // between its two parts
  const T* h_prev;    // (rows, units)
  T* h;               // out (rows, units); not h_prev
  T* c;               // (rows, units), contiguous: LSTM's state, updated
  T* reset_h;         // out (rows, units): r h_{t-1}, for GRU without reset_after
  T* const* saved;    // out: `rows` pointers to the workspace; or null
};

template <class T>
struct CellBackwardArgs : CellStep {
  const T* const* saved;     // `rows` pointers: the workspace of this step
  const T* const* previous;  // `rows` pointers to (units): c_{t-1} for LSTM, h_{t-1} for GRU
  const T* const* dy;        // `rows` pointers to (units), or null: the gradient of the step's output
  T* dh;                     // (rows, units): the gradient of h from the next step; GRU replaces it by the
                             // part of that of h_{t-1} which comes through no product
  T* dc;                     // (rows, units): the gradient of LSTM's c from the next step, updated to that of c_{t-1}
  const T* dreset_h;         // (rows, units): the gradient of r h_{t-1}, for GRU without reset_after
  T* const* dz;              // out: `rows` pointers to the gradients of the pre-activations, gate by gate; for GRU with
                             // reset_after, a fourth block has those of the recurrent part of the candidate
  T* const* reset_h;         // out: `rows` pointers to (units): r h_{t-1}, for GRU without reset_after
};

// Dropout of x (rows, count, repeat). All rows have the same noise: `count` elements, each for `repeat` elements of x.
template <class T>
struct DropoutArgs {
  uint32_t key[2];
  uint32_t counter[2];  // the last two words of every counter
  int64_t bits;         // a mask of a noise element's random bits; it is kept if the number in these bits
  int64_t threshold;    // is at least this
  T scale;
  int64_t first;  // index of the first noise element
  int64_t rows;
  int64_t stride;  // distance of the rows of x, in elements
  int64_t count;
  int64_t repeat;
  const T* x;
  T* y;           // like x; may be x itself
  uint8_t* mask;  // out: a bit for every noise element, 1 where it is kept; or null. With a mask, `first` is a multiple
                  // of kDropoutBlock, and rows and repeat are 1
};
constexpr int64_t kDropoutBlock = 256;

// fastseq/bernoulli.h has the formula.
struct BernoulliArgs {
  uint32_t key[2];
  uint32_t threshold;
  uint64_t first;  // the first counter
  int64_t count;
  bool* outputs;  // (count)
};

template <class T>
using CellForward = void (*)(const CellForwardArgs<T>&);
template <class T>
using CellBackward = void (*)(const CellBackwardArgs<T>&);

// The kernels of pooling compute the rows of one window: `count` rows, at least 1, from `first` on, `stride` elements
// apart. There are fewer rows than the pool size where padding or a thread's share cuts the window. A row has
// `channels` contiguous elements.
//
// out[c] = the greatest of first[i * stride + c]; among equal ones, the first. As in TensorFlow, NaN is never the
// greatest, and the result is the lowest finite number if nothing is greater.
template <class T>
struct MaxPoolArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  const T* first;
  int64_t position;    // position of the first row in its window; not 0 where the window begins before that row
  T* out;              // (channels)
  void* argmax;        // out (channels): the positions of the maxima in the window; or null
  int index_bytes;     // size of a position: 1, 2 or 4 for uint8, uint16 or int32
  bool propagate_nan;  // as in fastseq/pool.h
};

// Writes dout[c] to the row at position argmax[c] and 0 to the other rows; with `add`, adds dout[c] to that row. If no
// row has the position, dout[c] is dropped.
template <class T>
struct MaxPoolBackwardArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  T* first;            // out
  int64_t position;    // as in forward
  const T* dout;       // (channels)
  const void* argmax;  // (channels), as forward wrote it
  int index_bytes;
  bool add;  // for windows that overlap
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

// Writes dout[c] / divisor to every row, or adds it.
template <class T>
struct AveragePoolBackwardArgs {
  int64_t count;
  int64_t channels;
  int64_t stride;
  T* first;         // out
  int64_t divisor;  // the number of rows in forward's mean
  const T* dout;    // (channels)
  bool add;         // as in MaxPoolBackwardArgs
};

// An array before and after an update; both may be the same memory.
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
  const T* squares;  // used in place of the gradient's squares; null: computed from the gradient
  Updated<T> variable;
  Updated<T> momentum;
  Updated<T> velocity;
  Updated<T> velocity_hat;  // null: no AMSGrad
};

template <class T>
struct KernelTable {
  int tile_rows;  // the largest number of rows in a product's tile

  // The size of a packed operand in elements, not bytes.
  int64_t (*packed_size)(const PackedShape&);
  // Writes row k of B (columns contiguous elements) into its place in `packed`.
  void (*pack_row)(int64_t k, const PackedShape&, const T* row, T* packed);
  // Writes columns [begin, end) of rows [first, first + rows) of B, where B[first + k][n] = src[n * ld + k]: the
  // transpose of a row-major matrix.
  void (*pack_transposed)(int64_t begin, int64_t end, int64_t first, int64_t rows, const PackedShape&, const T* src,
                          int64_t ld, T* packed);
  // Writes `count` elements as column k < kDepthBlock of a product's first operand A. In this format, the elements of a
  // column are contiguous within a tile of tile_rows rows: row m of A begins at
  // m / tile_rows * column_tile_stride + m % tile_rows, and its a_stride is tile_rows.
  void (*pack_column)(int64_t k, int64_t count, const T* column, T* packed);
  void (*product)(const ProductArgs<T>&);
  void (*add_weighted_rows)(const WeightedRowsArgs<T>&);

  // values[i] = a(values[i]); dz[i] = dvalues[i] a'(z[i]), where values[i] = a(z[i]).
  void (*activate)(Activation, int64_t count, T* values);
  void (*activation_gradient)(Activation, int64_t count, const T* values, const T* dvalues, T* dz);

  CellForward<T> lstm_forward;
  CellForward<T> gru_reset_forward;   // z, r, and r times the candidate's recurrent part or times h_{t-1}
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
  // dx[i] = dy[i] * scale where bit i of the mask is 1, else 0; dx may be dy.
  void (*dropout_gradient)(int64_t count, const uint8_t* mask, T scale, const T* dy, T* dx);

  void (*bernoulli)(const BernoulliArgs&);
  void (*adam)(const AdamArgs<T>&);
  // sums[i] += from[i], squares[i] += from[i]²
  void (*add_with_squares)(int64_t count, const T* from, T* sums, T* squares);

  int chain_elements;  // the number of multiply-adds in a step of run_chains
  T (*run_chains)(int64_t steps, T factor, T term);
};

struct Isa {
  const char* name;
  bool (*supported)();  // whether this CPU and this operating system support it
  const KernelTable<float>* f32;
  const KernelTable<double>* f64;
};

// Each is defined in a translation unit of its ISA.
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

// All ISAs that are compiled in, slowest first.
struct IsaList {
  const Isa* first;
  int size;
  const Isa* begin() const { return first; }
  const Isa* end() const { return first + size; }
};
IsaList compiled_isas();

}  // namespace fastseq

// What an ISA gives to the op drivers: a table of single-threaded tile kernels per dtype.
//
// The drivers in csrc/ops own time loops, threads and memory; a tile kernel owns nothing, allocates nothing and
// throws nothing. Every algorithm is written once (product.inl, lstm_gates.inl) over a small vocabulary of vector
// operations (simd_*.h) and compiled once per ISA, in a translation unit of its own with that ISA's flags.
//
// All ISAs give the same bits for float: every element of a result goes through the same sequence of fused
// multiply-adds, additions and divisions whatever the vector length, and the scalar vocabulary rounds its
// multiply-add once, as the hardware does. double runs on the scalar kernels everywhere.
#pragma once

#include <cstdint>

namespace fastseq {

// C[m][n] = init[m][n] + sum_k a[m][k * a_stride] * B[k][n] for m < rows, n < columns.
//
// Rows are given by pointers, so that any subset of rows (the unmasked ones) costs only itself, and so that a
// transposed operand is the same call with another stride. The sum over k is taken in blocks of at most kDepthBlock,
// each from zero, added to C in order: the result does not depend on how rows and columns are split over tiles or
// threads.
template <class T>
struct ProductArgs {
  int64_t rows;
  int64_t depth;
  int64_t columns;
  const T* const* a;     // rows pointers; a[m][k * a_stride] is element (m, k)
  int64_t a_stride;      // in elements
  const T* b;            // packed by KernelTable::pack_row or pack_transposed, depth x columns
  const T* const* init;  // rows pointers to `columns` elements each, or null for zero; may equal c
  T* const* c;           // rows pointers to `columns` elements each
};

constexpr int64_t kDepthBlock = 128;

// One step of one batch row, activated gates in place of the pre-activations. U = units.
template <class T>
struct LstmGatesForwardArgs {
  int64_t units;
  T* gates;         // (4U) i, f, c, o: in pre-activations, out activations
  const T* c_prev;  // (U)
  T* c;             // (U) out; may be c_prev
  T* h;             // (U) out
};

template <class T>
struct LstmGatesBackwardArgs {
  int64_t units;
  const T* gates;   // (4U) activations i, f, c, o
  const T* c_prev;  // (U)
  const T* c;       // (U)
  const T* dy;      // (U) gradient of this step's output beyond what the next step sends through h, or null
  const T* dh;      // (U) gradient that the next step sends through h
  T* dc;            // (U) in: gradient of c from the next step; out: of c_prev
  T* dz;            // (4U) out: gradient of the pre-activations; may not alias gates
  T* h;             // (U) out: this step's hidden state, the same bits as forward's
};

template <class T>
struct KernelTable {
  int lanes;  // elements of T in a vector

  // Elements (not bytes) that a packed depth x columns operand takes.
  int64_t (*packed_size)(int64_t depth, int64_t columns);
  // Writes row k of B (columns contiguous elements) into its place in `packed`.
  void (*pack_row)(int64_t k, int64_t depth, int64_t columns, const T* row, T* packed);
  // Writes columns [begin, end) of B where B[k][n] = src[n * ld + k]: the transpose of a row-major matrix.
  void (*pack_transposed)(int64_t begin, int64_t end, int64_t depth, int64_t columns, const T* src, int64_t ld,
                          T* packed);
  void (*product)(const ProductArgs<T>&);

  void (*lstm_gates_forward)(const LstmGatesForwardArgs<T>&);
  void (*lstm_gates_backward)(const LstmGatesBackwardArgs<T>&);
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

// Every ISA compiled in, slowest first.
struct IsaList {
  const Isa* first;
  int size;
  const Isa* begin() const { return first; }
  const Isa* end() const { return first + size; }
};
IsaList compiled_isas();

}  // namespace fastseq

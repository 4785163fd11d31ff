// The packed product C = init + A B of kernels.h, over a vector vocabulary S.
//
// Packed layout of B (depth K x columns N): the columns are rounded up to whole vectors and split into panels of at
// most S::kTileVectors vectors, as even as possible (25 vectors become 4+4+4+4+3+3+3, not six 4s and a 1, which would
// leave too few accumulators to hide the latency of a multiply-add). A panel of w columns is K rows of w elements,
// one after the other; panels follow each other. Columns past N are zero.
//
// The tile kernel holds rows x vectors accumulators in registers over a block of K, after Goto and van de Geijn 2008.
// Order of loops: block of K, panel, tile of rows, so that a panel's block (at most 128 x 64 floats = 32 KiB) stays in
// the first-level cache for all rows.
#pragma once

#include <cstdint>

namespace fastseq {
namespace {

template <class S>
struct Panels {
  int64_t vectors;  // of all columns
  int64_t count;
  int64_t base;   // vectors of a narrow panel
  int64_t extra;  // the first `extra` panels have one more

  explicit Panels(int64_t columns)
      : vectors((columns + S::kLanes - 1) / S::kLanes),
        count((vectors + S::kTileVectors - 1) / S::kTileVectors),
        base(count ? vectors / count : 0),
        extra(count ? vectors % count : 0) {}
  int64_t first_vector(int64_t panel) const { return panel * base + (panel < extra ? panel : extra); }
  int64_t width(int64_t panel) const { return base + (panel < extra ? 1 : 0); }
};

template <class S>
int64_t packed_size(int64_t depth, int64_t columns) {
  return depth * Panels<S>(columns).vectors * S::kLanes;
}

template <class S>
void pack_row(int64_t k, int64_t depth, int64_t columns, const typename S::T* row, typename S::T* packed) {
  using T = typename S::T;
  const Panels<S> panels(columns);
  int64_t left = columns;
  for (int64_t p = 0; p < panels.count; ++p) {
    const int64_t width = panels.width(p) * S::kLanes;
    T* to = packed + panels.first_vector(p) * S::kLanes * depth + k * width;
    for (int64_t j = 0; j < width; j += S::kLanes, row += S::kLanes, left -= S::kLanes)
      S::store(to + j, left >= S::kLanes ? S::load(row) : S::load_partial(row, static_cast<int>(left)));
  }
}

template <class S>
void pack_transposed(int64_t begin, int64_t end, int64_t depth, int64_t columns, const typename S::T* src, int64_t ld,
                     typename S::T* packed) {
  using T = typename S::T;
  const Panels<S> panels(columns);
  // In blocks of k, so that the lines written (one per k, `width` elements apart) stay in the first-level cache.
  constexpr int64_t kBlock = 32;
  for (int64_t p = 0; p < panels.count; ++p) {
    const int64_t first = panels.first_vector(p) * S::kLanes;
    const int64_t width = panels.width(p) * S::kLanes;
    const int64_t from = first > begin ? first : begin;
    const int64_t to = first + width < end ? first + width : end;
    T* panel = packed + first * depth;
    for (int64_t k0 = 0; k0 < depth; k0 += kBlock) {
      const int64_t k1 = k0 + kBlock < depth ? k0 + kBlock : depth;
      for (int64_t n = from; n < to; ++n)
        for (int64_t k = k0; k < k1; ++k) panel[k * width + (n - first)] = src[n * ld + k];
      // Whoever packs the last column also clears the padding behind it.
      if (end == columns)
        for (int64_t n = columns > first ? columns : first; n < first + width; ++n)
          for (int64_t k = k0; k < k1; ++k) panel[k * width + (n - first)] = T(0);
    }
  }
}

// One tile: MR rows by NV vectors over one block of K. `valid` is how many lanes of the last vector are columns of C.
template <class S, int MR, int NV>
void product_tile(int64_t depth, const typename S::T* const* a, int64_t a_offset, int64_t a_stride,
                  const typename S::T* b, int64_t b_stride, const typename S::T* const* init,
                  typename S::T* const* c, int64_t column, int valid) {
  using T = typename S::T;
  using V = typename S::V;
  const T* rows[MR];
  V sums[MR][NV];
  for (int m = 0; m < MR; ++m) {
    rows[m] = a[m] + a_offset;
    for (int v = 0; v < NV; ++v) sums[m][v] = S::zero();
  }
  int64_t at = 0;
  for (int64_t k = 0; k < depth; ++k, at += a_stride, b += b_stride) {
    V bs[NV];
    for (int v = 0; v < NV; ++v) bs[v] = S::load(b + v * S::kLanes);
    for (int m = 0; m < MR; ++m) {
      const V am = S::set(rows[m][at]);
      for (int v = 0; v < NV; ++v) sums[m][v] = S::fma(am, bs[v], sums[m][v]);
    }
  }
  for (int m = 0; m < MR; ++m) {
    T* out = c[m] + column;
    const T* start = init ? init[m] + column : nullptr;
    for (int v = 0; v < NV; ++v) {
      if (v + 1 < NV || valid == S::kLanes) {
        const V first = start ? S::load(start + v * S::kLanes) : S::zero();
        S::store(out + v * S::kLanes, S::add(first, sums[m][v]));
      } else {
        const V first = start ? S::load_partial(start + v * S::kLanes, valid) : S::zero();
        S::store_partial(out + v * S::kLanes, S::add(first, sums[m][v]), valid);
      }
    }
  }
}

template <class S>
using TileFunction = void (*)(int64_t, const typename S::T* const*, int64_t, int64_t, const typename S::T*, int64_t,
                              const typename S::T* const*, typename S::T* const*, int64_t, int);

// The tile kernel for `rows` x `vectors`, both at least 1 and within S's limits.
template <class S, int R = 1, int N = 1>
inline TileFunction<S> find_tile(int64_t rows, int64_t vectors) {
  if constexpr (R < S::kTileRows) {
    if (rows > R) return find_tile<S, R + 1, N>(rows, vectors);
  }
  if constexpr (N < S::kTileVectors) {
    if (vectors > N) return find_tile<S, R, N + 1>(rows, vectors);
  }
  return product_tile<S, R, N>;
}

template <class S>
void product(const ProductArgs<typename S::T>& args) {
  using T = typename S::T;
  const Panels<S> panels(args.columns);
  // Row tiles as even as possible, for the same reason as panels.
  const int64_t tiles = (args.rows + S::kTileRows - 1) / S::kTileRows;
  const int64_t base = tiles ? args.rows / tiles : 0;
  const int64_t extra = tiles ? args.rows % tiles : 0;
  const T* const* init = args.init;
  // Blocks of the depth as even as possible too; a depth of 0 is one empty block, which still writes init.
  const int64_t blocks = args.depth > 0 ? (args.depth + kDepthBlock - 1) / kDepthBlock : 1;
  int64_t k0 = 0;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t block = args.depth / blocks + (i < args.depth % blocks ? 1 : 0);
    for (int64_t p = 0; p < panels.count; ++p) {
      const int64_t column = panels.first_vector(p) * S::kLanes;
      const int64_t vectors = panels.width(p);
      const int64_t left = args.columns - column - (vectors - 1) * S::kLanes;
      const int valid = static_cast<int>(left < S::kLanes ? left : S::kLanes);
      const int64_t b_stride = args.b_stride ? args.b_stride : vectors * S::kLanes;
      const T* b = args.b + (args.b_stride ? column : column * args.depth) + k0 * b_stride;
      const TileFunction<S> narrow = find_tile<S>(base, vectors);
      const TileFunction<S> wide = find_tile<S>(base + 1, vectors);
      int64_t row = 0;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t size = base + (t < extra ? 1 : 0);
        (t < extra ? wide : narrow)(block, args.a + row, k0 * args.a_stride, args.a_stride, b, b_stride,
                                    init ? init + row : nullptr, args.c + row, column, valid);
        row += size;
      }
    }
    k0 += block;
    init = args.c;
  }
}

}  // namespace
}  // namespace fastseq

// The packed product C = init + A B of kernels.h, over a vector vocabulary S.
//
// The columns of B are a body and a tail. The body (whole vectors, the last one possibly partial) is split into panels
// of at most S::kTiles.vectors vectors, with widths as equal as possible: 25 vectors become 4+4+4+4+3+3+3, not six 4s
// and a 1, which would have too few accumulators to hide the latency of a multiply-add. A panel of w columns has K
// contiguous rows of w elements. Panels are contiguous, too. Columns past the last one are zero.
//
// The tile kernel holds rows x vectors accumulators in registers over a block of K, after Goto and van de Geijn 2008.
// Order of loops: block of K, panel, tile of rows, so that a panel's block (at most 128 x 64 floats = 32 KiB) stays in
// the first-level cache for all rows.
//
// The tail is a few columns that would waste most of a vector: the last 4 of 100 columns would cost as much as 16. Each
// of its columns is packed separately, with 16 consecutive k together. A column's result is a dot product along K in 16
// interleaved sums, which are added up pairwise: lanes i and i + 8, then i + 4, i + 2, i + 1. This needs contiguous
// rows of A, which all packed products have.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "unrolled.h"

namespace fastseq {
namespace {

template <class S>
struct Panels {
  int64_t vectors;  // vectors in all panels
  int64_t count;    // number of panels
  int64_t base;     // vectors of a narrow panel
  int64_t extra;    // the first `extra` panels have one vector more

  explicit Panels(int64_t columns)
      : vectors((columns + S::kLanes - 1) / S::kLanes),
        count((vectors + S::kTiles.vectors - 1) / S::kTiles.vectors),
        base(count ? vectors / count : 0),
        extra(count ? vectors % count : 0) {}
  int64_t first_vector(int64_t panel) const { return panel * base + (panel < extra ? panel : extra); }
  int64_t width(int64_t panel) const { return base + (panel < extra ? 1 : 0); }
};

constexpr int64_t kDotLanes = 16;  // interleaved sums, for every ISA

// The position of element (k, c) of the tail, from the beginning of the tail on.
inline int64_t tail_offset(int64_t k, int64_t c, int64_t tail) {
  return (k / kDotLanes * tail + c) * kDotLanes + k % kDotLanes;
}

// The number of elements before the tail.
template <class S>
int64_t body_size(const PackedShape& shape) {
  return shape.depth * Panels<S>(shape.columns - shape.tail).vectors * S::kLanes;
}

template <class S>
int64_t packed_size(const PackedShape& shape) {
  const int64_t chunks = (shape.depth + kDotLanes - 1) / kDotLanes;
  return body_size<S>(shape) + chunks * kDotLanes * shape.tail;
}

template <class S>
void pack_row(int64_t k, const PackedShape& shape, const typename S::T* row, typename S::T* packed) {
  using T = typename S::T;
  const int64_t depth = shape.depth;
  const int64_t tail = shape.tail;
  const Panels<S> panels(shape.columns - tail);
  int64_t left = shape.columns - tail;
  for (int64_t p = 0; p < panels.count; ++p) {
    const int64_t width = panels.width(p) * S::kLanes;
    T* to = packed + panels.first_vector(p) * S::kLanes * depth + k * width;
    for (int64_t j = 0; j < width; j += S::kLanes, row += S::kLanes, left -= S::kLanes)
      S::store(to + j, left >= S::kLanes ? S::load(row) : S::load_partial(row, static_cast<int>(left)));
  }
  row += left;  // to the end of the body, back from a partial vector
  T* to = packed + body_size<S>(shape);
  for (int64_t c = 0; c < tail; ++c) to[tail_offset(k, c, tail)] = row[c];
}

template <class S>
void pack_transposed(int64_t begin, int64_t end, int64_t first_row, int64_t rows, const PackedShape& shape,
                     const typename S::T* src, int64_t ld, typename S::T* packed) {
  using T = typename S::T;
  const int64_t depth = shape.depth;
  const int64_t tail = shape.tail;
  const int64_t body = shape.columns - tail;
  const Panels<S> panels(body);
  // In blocks of k, so that the cache lines written (one for each k, `width` elements apart) stay in the first-level
  // cache.
  constexpr int64_t kBlock = 32;
  for (int64_t p = 0; p < panels.count; ++p) {
    const int64_t first = panels.first_vector(p) * S::kLanes;
    const int64_t width = panels.width(p) * S::kLanes;
    const int64_t last = first + width < body ? first + width : body;
    const int64_t from = first > begin ? first : begin;
    const int64_t to = last < end ? last : end;
    T* panel = packed + first * depth + first_row * width;
    for (int64_t k0 = 0; k0 < rows; k0 += kBlock) {
      const int64_t k1 = k0 + kBlock < rows ? k0 + kBlock : rows;
      for (int64_t n = from; n < to; ++n)
        for (int64_t k = k0; k < k1; ++k) panel[k * width + (n - first)] = src[n * ld + k];
      // The call that packs the last column of the body also clears the padding after it.
      if (begin < body && end >= body)
        for (int64_t n = last; n < first + width; ++n)
          for (int64_t k = k0; k < k1; ++k) panel[k * width + (n - first)] = T(0);
    }
  }
  T* tail_begin = packed + body_size<S>(shape);
  for (int64_t n = begin > body ? begin : body; n < end; ++n)
    for (int64_t k = 0; k < rows; ++k) tail_begin[tail_offset(first_row + k, n - body, tail)] = src[n * ld + k];
}

template <class S>
void pack_column(int64_t k, int64_t count, const typename S::T* column, typename S::T* packed) {
  constexpr int64_t kRows = S::kTiles.rows;
  packed += k * kRows;
  for (; count >= kRows; count -= kRows, column += kRows, packed += column_tile_stride<typename S::T>(kRows))
    for (int64_t m = 0; m < kRows; ++m) packed[m] = column[m];
  for (int64_t m = 0; m < count; ++m) packed[m] = column[m];
}

// One tile: MR rows by NV vectors over one block of K. The first `valid` lanes of the last vector are columns of C.
template <class S, int MR, int NV>
void product_tile(int64_t depth, const typename S::T* const* a, int64_t a_offset, int64_t a_stride,
                  const typename S::T* b, int64_t b_stride, const typename S::T* const* init, typename S::T* const* c,
                  int64_t column, int valid) {
  using T = typename S::T;
  using V = typename S::V;
  const T* rows[MR];
  V sums[MR][NV];
  unrolled<MR>([&](auto m) {
    rows[m] = a[m] + a_offset;
    unrolled<NV>([&](auto v) { sums[m][v] = S::set(0); });
  });
  int64_t at = 0;
  for (int64_t k = 0; k < depth; ++k, at += a_stride, b += b_stride) {
    V bs[NV];
    unrolled<NV>([&](auto v) { bs[v] = S::load(b + v * S::kLanes); });
    // Always inlined, so that inlining happens early. Otherwise GCC also keeps some of the sums in memory, on NEON.
    unrolled<MR>([&](auto m) __attribute__((always_inline)) {
      const V am = S::set(rows[m][at]);
      unrolled<NV>([&](auto v) __attribute__((always_inline)) { sums[m][v] = S::fma(am, bs[v], sums[m][v]); });
    });
  }
  // Writes a row's sums. load_last and store_last access the last vector, which may be partial.
  const auto finish = [&](auto m, auto load_last, auto store_last) {
    T* out = c[m] + column;
    const T* start = init ? init[m] + column : nullptr;
    unrolled<NV - 1>([&](auto v) {
      const V first = start ? S::load(start + v * S::kLanes) : S::set(0);
      S::store(out + v * S::kLanes, S::add(first, sums[m][v]));
    });
    constexpr int kLast = (NV - 1) * S::kLanes;
    store_last(out + kLast, S::add(start ? load_last(start + kLast) : S::set(0), sums[m][NV - 1]));
  };
  if (valid == S::kLanes)
    unrolled<MR>([&](auto m) { finish(m, [](const T* p) { return S::load(p); }, [](T* p, V v) { S::store(p, v); }); });
  else
    unrolled<MR>([&](auto m) {
      finish(
          m, [valid](const T* p) { return S::load_partial(p, valid); },
          [valid](T* p, V v) { S::store_partial(p, v, valid); });
    });
}

template <class S>
using TileFunction = void (*)(int64_t, const typename S::T* const*, int64_t, int64_t, const typename S::T*, int64_t,
                              const typename S::T* const*, typename S::T* const*, int64_t, int);

// The tile kernel for `rows` x `vectors`, both at least 1 and within S's limits.
template <class S, int R = 1, int N = 1>
inline TileFunction<S> find_tile(int64_t rows, int64_t vectors) {
  if constexpr (R < S::kTiles.rows) {
    if (rows > R) return find_tile<S, R + 1, N>(rows, vectors);
  }
  if constexpr (N < S::kTiles.vectors) {
    if (vectors > N) return find_tile<S, R, N + 1>(rows, vectors);
  }
  return product_tile<S, R, N>;
}

// One tile of the tail: MR rows by NC columns over all of K.
template <class S, int MR, int NC>
void tail_tile(int64_t depth, const typename S::T* const* a, const typename S::T* b, int64_t tail,
               const typename S::T* const* init, typename S::T* const* c, int64_t column) {
  using T = typename S::T;
  using V = typename S::V;
  constexpr int kParts = static_cast<int>(kDotLanes) / S::kLanes;
  V sums[MR][NC][kParts];
  unrolled<MR>([&](auto m) {
    unrolled<NC>([&](auto n) { unrolled<kParts>([&](auto part) { sums[m][n][part] = S::set(0); }); });
  });
  const auto multiply_add = [&](int64_t k, auto part, auto load) {
    const int64_t at = k + part * S::kLanes;
    V bs[NC];
    unrolled<NC>([&](auto n) { bs[n] = load(b + tail_offset(at, n, tail)); });
    unrolled<MR>([&](auto m) {
      const V am = load(a[m] + at);
      unrolled<NC>([&](auto n) { sums[m][n][part] = S::fma(am, bs[n], sums[m][n][part]); });
    });
  };
  int64_t k = 0;
  for (; k + kDotLanes <= depth; k += kDotLanes)
    unrolled<kParts>([&](auto part) { multiply_add(k, part, [](const T* p) { return S::load(p); }); });
  unrolled<kParts>([&](auto part) {
    const int64_t left = depth - k - part * S::kLanes;
    if (left >= S::kLanes) {
      multiply_add(k, part, [](const T* p) { return S::load(p); });
    } else if (left > 0) {
      const int valid = static_cast<int>(left);
      multiply_add(k, part, [valid](const T* p) { return S::load_partial(p, valid); });
    }
  });
  unrolled<MR>([&](auto m) {
    unrolled<NC>([&](auto n) {
      const T first = init ? init[m][column + n] : T(0);
      c[m][column + n] = first + S::add_lanes(sums[m][n]);
    });
  });
}

template <class S>
using TailFunction = void (*)(int64_t, const typename S::T* const*, const typename S::T*, int64_t,
                              const typename S::T* const*, typename S::T* const*, int64_t);

template <class S, int R = 1, int N = 1>
inline TailFunction<S> find_tail_tile(int64_t rows, int64_t columns) {
  if constexpr (R < S::kTiles.tail_rows) {
    if (rows > R) return find_tail_tile<S, R + 1, N>(rows, columns);
  }
  if constexpr (N < S::kTiles.tail_columns) {
    if (columns > N) return find_tail_tile<S, R, N + 1>(rows, columns);
  }
  return tail_tile<S, R, N>;
}

template <class S>
void product_tail(const ProductArgs<typename S::T>& args) {
  const int64_t tail = args.shape.tail;
  const int64_t body = args.shape.columns - tail;
  const typename S::T* b = args.b + body_size<S>(args.shape);
  for (int64_t row = 0; row < args.rows; row += S::kTiles.tail_rows)
    for (int64_t n = 0; n < tail; n += S::kTiles.tail_columns)
      find_tail_tile<S>(args.rows - row, tail - n)(args.shape.depth, args.a + row, b + n * kDotLanes, tail,
                                                   args.init ? args.init + row : nullptr, args.c + row, body + n);
}

template <class S>
void product(const ProductArgs<typename S::T>& args) {
  using T = typename S::T;
  const int64_t depth = args.shape.depth;
  const int64_t columns = args.shape.columns - args.shape.tail;
  if (args.shape.tail) product_tail<S>(args);
  const Panels<S> panels(columns);
  // Tiles have numbers of rows as equal as possible, for the same reason as panels.
  const int64_t tiles = (args.rows + S::kTiles.rows - 1) / S::kTiles.rows;
  const int64_t base = tiles ? args.rows / tiles : 0;
  const int64_t extra = tiles ? args.rows % tiles : 0;
  const T* const* init = args.init;
  // Even an empty block writes init.
  const DepthBlocks blocks(depth);
  int64_t k0 = 0;
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t block = blocks.size(i);
    for (int64_t p = 0; p < panels.count; ++p) {
      const int64_t column = panels.first_vector(p) * S::kLanes;
      const int64_t vectors = panels.width(p);
      const int64_t left = columns - column - (vectors - 1) * S::kLanes;
      const int valid = static_cast<int>(left < S::kLanes ? left : S::kLanes);
      const int64_t b_stride = args.b_stride ? args.b_stride : vectors * S::kLanes;
      const T* b = args.b + (args.b_stride ? column : column * depth) + k0 * b_stride;
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

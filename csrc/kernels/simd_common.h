// What every vector vocabulary needs alike.
#pragma once

#include <cstdint>
#include <cstring>

namespace fastseq {

// A positive float's bits, as an integer, are its logarithm to the base 2 but for scale, offset and an error below
// 0.09. So this constant less the bits is near the bits of its reciprocal: within 5.1 %.
constexpr int32_t kReciprocalMagic = 0x7EF311C3;

// How much of its registers a vocabulary's loops fill.
struct Tiles {
  int rows;          // of a product's tile
  int vectors;       // of its columns
  int tail_rows;     // of a tile of a tail, which keeps 16 lanes for each row and column
  int tail_columns;  // likewise
  int sums;          // vectors of sums of weighted rows
  int side_by_side;  // activations at a time
};

namespace {

template <class To, class From>
inline To bit_copy(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_copy needs equal sizes");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace

}  // namespace fastseq

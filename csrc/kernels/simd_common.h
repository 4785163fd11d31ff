// Constants and types for all vector vocabularies.
#pragma once

#include <cstdint>
#include <cstring>

namespace fastseq {

// The bits of a positive float, read as an integer, are its logarithm to the base 2 up to scale, offset and an error
// below 0.09. So this constant minus the bits is close to the bits of the reciprocal: the error is at most 5.1 %.
constexpr int32_t kReciprocalMagic = 0x7EF311C3;

// The tile sizes of a vocabulary, which depend on its number of registers.
struct Tiles {
  int rows;          // rows of a product's tile
  int vectors;       // vectors of columns of a product's tile
  int tail_rows;     // rows of a tile in a tail; it has 16 sums for each row and column
  int tail_columns;  // columns of a tile in a tail
  int sums;          // vectors of sums in add_weighted_rows
  int side_by_side;  // vectors of activations that are computed together (simd_wide.h)
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

// Elementwise operations and sums on matrices that have a row for each (row, step) pair of a batch.
#pragma once

#include <cstdint>

#include "fastseq/array.h"
#include "fastseq/cuda.h"
#include "fastseq/status.h"

namespace fastseq::cuda {

// The operand of a product. `to` (B T, width) in float32 is `from` times the factors of its batch row times `times`. It
// is zero where the mask is false, whatever `from` has there.
struct Operand {
  int64_t batch, timesteps, width;
  const void* from;  // rows of `stride` elements
  DType dtype;       // the dtype of `from`
  int64_t stride;
  const float* factors;  // (B, width), or null
  const float* times;    // rows of `stride` elements, or null
  const uint8_t* mask;   // (B, T), or null
};
Status make_operand(const Operand& operand, float* to, Stream stream);

// Sets `to` (B T, width) to `from` (B T, width) times the factors (B, width) of its batch row, or adds that to it.
Status add_scaled(int64_t batch, int64_t timesteps, int64_t width, const float* from, const float* factors, bool add,
                  float* to, Stream stream);

// Sums the columns of a matrix in a fixed order: sums (width) of from (rows, width). `parts` has
// column_sums_parts(width) floats.
int64_t column_sums_parts(int64_t width);
Status column_sums(int64_t rows, int64_t width, const float* from, float* parts, float* sums, Stream stream);

}  // namespace fastseq::cuda

// Checks of the arrays a caller hands over. One wording for every front end.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq {

// "(20, 100, 46)"
std::string shape_text(const int64_t* shape, int rank, int full_rank);

// An option: pool_size must be at least 1, got 0. By default at most what an int32 holds, so that products of two of
// them are far from overflow.
Status check_range(const char* name, int64_t value, int64_t least, int64_t most = INT32_MAX);
// No size is negative, and the product of those that are not 0 is at most 2^47: more elements than there are addresses
// for, and few enough that an op's own sums and products of sizes do not overflow. Whatever checks an array checks
// this, too.
Status check_sizes(const char* name, const int64_t* shape, int rank);
Status check_sizes(const char* name, std::initializer_list<int64_t> shape);
// kernel must have dtype float32, got float64
Status check_dtype(const char* name, const Array& array, DType expected);
// dtype and shape; an absent array fails.
Status check_array(const char* name, const Array& array, DType dtype, std::initializer_list<int64_t> shape);
// dtype and shape of another one, of any rank; an absent array fails.
Status check_like(const char* name, const Array& array, const Array& like);
// One that does not fit: "kernel must have shape " + expected + ", got (4, 19)".
Status wrong_shape(const char* name, const std::string& expected, const Array& array);
// As check_array, but an absent array passes.
Status check_optional(const char* name, const Array& array, DType dtype, std::initializer_list<int64_t> shape);
// Which float types an op takes: float32 and float64, or float32, float16 and bfloat16.
enum class Floats { kCpu, kCuda };
// One of these types, of the given rank. `letters` names the dimensions: "(batch, timesteps, inputs)".
Status check_float_rank(const char* name, const Array& array, int rank, const char* letters,
                        Floats floats = Floats::kCpu);
// int32 or int64, of any shape.
Status check_integer(const char* name, const Array& array);
// Every element of an integer array is in [0, size): "ids must be in [0, 5000), got 5003 at (3, 17)".
Status check_indices(const char* name, const Array& array, int64_t size);

}  // namespace fastseq

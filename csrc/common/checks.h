// Checks of a call's arrays and options. All front ends have these error messages.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "fastseq/array.h"
#include "fastseq/status.h"

namespace fastseq {

// "(20, 100, 46)"
std::string shape_text(const int64_t* shape, int rank, int full_rank);

// An option: "pool_size must be at least 1, got 0". By default the largest value is that of an int32, so that the
// product of two options does not overflow an int64.
Status check_range(const char* name, int64_t value, int64_t least, int64_t most = INT32_MAX);
// No size is negative, and the product of the sizes other than 0 is at most 2^47. No memory holds more elements, and an
// op's sums and products of such sizes do not overflow. All checks of an array below include this one.
Status check_sizes(const char* name, const int64_t* shape, int rank);
Status check_sizes(const char* name, std::initializer_list<int64_t> shape);
// "kernel must have dtype float32, got float64"
Status check_dtype(const char* name, const Array& array, DType expected);
// dtype and shape; an absent array fails.
Status check_array(const char* name, const Array& array, DType dtype, std::initializer_list<int64_t> shape);
// The dtype and shape of another array, of any rank; an absent array fails.
Status check_like(const char* name, const Array& array, const Array& like);
// The error for a wrong shape: "kernel must have shape " + expected + ", got (4, 19)".
Status wrong_shape(const char* name, const std::string& expected, const Array& array);
// As check_array, but an absent array passes.
Status check_optional(const char* name, const Array& array, DType dtype, std::initializer_list<int64_t> shape);
// The float types that an op takes: kCpu, float32 and float64; kCuda, float32, float16 and bfloat16.
enum class Floats { kCpu, kCuda };
// An array of one of these types and of the given rank. `letters` names the dimensions: "(batch, timesteps, inputs)".
Status check_float_rank(const char* name, const Array& array, int rank, const char* letters,
                        Floats floats = Floats::kCpu);
// float32 or float64, or any dtype besides these of floats, integers and bools; of `least` to Array::kMaxRank
// dimensions.
Status check_floats(const char* name, const Array& array, int least = 0);
Status check_elements(const char* name, const Array& array, int least = 0);
// int32 or int64, of any shape.
Status check_integer(const char* name, const Array& array);
// Every element of an integer array is in [0, size): "ids must be in [0, 5000), got 5003 at (3, 17)".
Status check_indices(const char* name, const Array& array, int64_t size);

}  // namespace fastseq

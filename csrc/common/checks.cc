#include "checks.h"

#include <algorithm>
#include <iterator>

namespace fastseq {
namespace {

// The position of element `index` in an array of this shape: "(3, 17)".
std::string place_text(const Array& array, int64_t index) {
  int64_t place[Array::kMaxRank] = {};
  for (int i = array.rank - 1; i >= 0; --i) {
    place[i] = index % array.shape[i];
    index /= array.shape[i];
  }
  return shape_text(place, array.rank, array.rank);
}

template <class Index>
Status check_indices_as(const char* name, const Array& array, int64_t size) {
  if (!array.data) return {};  // the array has no memory yet
  int64_t count = 1;
  for (int i = 0; i < array.rank; ++i) count *= array.shape[i];
  const Index* begin = array.as<const Index>();
  const Index* end = begin + count;
  const Index* outside = std::find_if(begin, end, [&](Index index) { return index < 0 || index >= size; });
  if (outside == end) return {};
  return Status::invalid_argument(std::string(name) + " must be in [0, " + std::to_string(size) + "), got " +
                                  std::to_string(*outside) + " at " + place_text(array, outside - begin));
}

// Present, with a dtype that the op takes.
Status check_float_dtype(const char* name, const Array& array, Floats floats) {
  if (!array.present) return Status::invalid_argument(std::string(name) + " is required, got None");
  const DType dtype = array.dtype;
  const bool half = dtype == DType::kFloat16 || dtype == DType::kBFloat16;
  if (dtype == DType::kFloat32 || (floats == Floats::kCpu ? dtype == DType::kFloat64 : half)) return {};
  return Status::invalid_dtype(std::string(name) + " must have dtype " +
                               (floats == Floats::kCpu ? "float32 or float64" : "float32, float16 or bfloat16") +
                               ", got " + dtype_name(dtype));
}

// From `least` to kMaxRank dimensions.
Status check_least_rank(const char* name, const Array& array, int least) {
  if (array.rank >= least && array.rank <= Array::kMaxRank) return check_sizes(name, array.shape, array.rank);
  const bool low = array.rank < least;
  return Status::invalid_argument(std::string(name) + " must have at " + (low ? "least " : "most ") +
                                  std::to_string(low ? least : Array::kMaxRank) + " dimensions, got shape " +
                                  shape_text(array.shape, array.rank, array.rank));
}

}  // namespace

const char* dtype_name(DType dtype) {
  static constexpr const char* kNames[] = {"float32", "float64", "float16", "bfloat16", "bool",
                                           "uint8",   "uint16",  "int32",   "int64",    "another dtype"};
  static_assert(std::size(kNames) == static_cast<size_t>(DType::kOther) + 1, "a dtype without a name");
  return kNames[static_cast<size_t>(dtype)];
}

std::string shape_text(const int64_t* shape, int rank, int full_rank) {
  std::string text = "(";
  const int shown = rank < Array::kMaxRank ? rank : Array::kMaxRank;
  for (int i = 0; i < shown; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  if (shown < full_rank) text += ", ...";
  if (full_rank == 1) text += ",";
  return text + ")";
}

Status check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  const std::string bound = value < least ? "least " + std::to_string(least) : "most " + std::to_string(most);
  return Status::invalid_argument(std::string(name) + " must be at " + bound + ", got " + std::to_string(value));
}

Status check_sizes(const char* name, const int64_t* shape, int rank) {
  constexpr int64_t kMost = int64_t{1} << 47;
  int64_t left = kMost;
  for (int i = 0; i < std::min(rank, Array::kMaxRank); ++i) {
    if (shape[i] < 0 || shape[i] > left)
      return Status::invalid_argument(
          std::string(name) +
          " must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, got " + "shape " +
          shape_text(shape, rank, rank));
    if (shape[i] > 0) left /= shape[i];
  }
  return {};
}

Status check_sizes(const char* name, std::initializer_list<int64_t> shape) {
  return check_sizes(name, shape.begin(), static_cast<int>(shape.size()));
}

Status check_dtype(const char* name, const Array& array, DType expected) {
  if (array.dtype == expected) return {};
  return Status::invalid_dtype(std::string(name) + " must have dtype " + dtype_name(expected) + ", got " +
                               dtype_name(array.dtype));
}

Status check_array(const char* name, const Array& array, DType dtype, std::initializer_list<int64_t> shape) {
  if (!array.present) return Status::invalid_argument(std::string(name) + " is required, got None");
  FASTSEQ_RETURN_IF_ERROR(check_dtype(name, array, dtype));
  bool same = array.rank == static_cast<int>(shape.size());
  for (int i = 0; same && i < array.rank; ++i) same = array.shape[i] == shape.begin()[i];
  if (same) return check_sizes(name, shape);
  const int rank = static_cast<int>(shape.size());
  return wrong_shape(name, shape_text(shape.begin(), rank, rank), array);
}

Status check_like(const char* name, const Array& array, const Array& like) {
  if (!array.present) return Status::invalid_argument(std::string(name) + " is required, got None");
  FASTSEQ_RETURN_IF_ERROR(check_dtype(name, array, like.dtype));
  if (array.rank == like.rank && std::equal(array.shape, array.shape + array.rank, like.shape))
    return check_sizes(name, array.shape, array.rank);
  return wrong_shape(name, shape_text(like.shape, like.rank, like.rank), array);
}

Status wrong_shape(const char* name, const std::string& expected, const Array& array) {
  return Status::invalid_argument(std::string(name) + " must have shape " + expected + ", got " +
                                  shape_text(array.shape, array.rank, array.rank));
}

Status check_optional(const char* name, const Array& array, DType dtype, std::initializer_list<int64_t> shape) {
  return array.present ? check_array(name, array, dtype, shape) : Status();
}

Status check_float_rank(const char* name, const Array& array, int rank, const char* letters, Floats floats) {
  FASTSEQ_RETURN_IF_ERROR(check_float_dtype(name, array, floats));
  if (array.rank == rank) return check_sizes(name, array.shape, rank);
  return wrong_shape(name, letters, array);
}

Status check_floats(const char* name, const Array& array, int least) {
  FASTSEQ_RETURN_IF_ERROR(check_float_dtype(name, array, Floats::kCpu));
  return check_least_rank(name, array, least);
}

Status check_elements(const char* name, const Array& array, int least) {
  if (!array.present) return Status::invalid_argument(std::string(name) + " is required, got None");
  for (const DType known : {DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kInt64, DType::kBool})
    if (array.dtype == known) return check_least_rank(name, array, least);
  return Status::invalid_dtype(std::string(name) + " must have dtype float32, float64, int32, int64 or bool, got " +
                               dtype_name(array.dtype));
}

Status check_integer(const char* name, const Array& array) {
  if (!array.present) return Status::invalid_argument(std::string(name) + " is required, got None");
  if (array.dtype == DType::kInt32 || array.dtype == DType::kInt64) return check_sizes(name, array.shape, array.rank);
  return Status::invalid_dtype(std::string(name) + " must have dtype int32 or int64, got " + dtype_name(array.dtype));
}

Status check_indices(const char* name, const Array& array, int64_t size) {
  return array.dtype == DType::kInt32 ? check_indices_as<int32_t>(name, array, size)
                                      : check_indices_as<int64_t>(name, array, size);
}

}  // namespace fastseq

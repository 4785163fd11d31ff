// A view of an array whose memory the caller owns. Every op takes its arrays as such views.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace fastseq {

enum class DType { kFloat32, kFloat64, kFloat16, kBFloat16, kBool, kUInt8, kUInt16, kInt32, kInt64, kOther };

// The size of one element; 0 for kOther.
constexpr size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kBool:
    case DType::kUInt8:
      return 1;
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kUInt16:
      return 2;
    case DType::kOther:
      break;
  }
  return 0;
}

// NumPy's name of the dtype, such as "float32".
const char* dtype_name(DType dtype);

// C-contiguous, in the machine's byte order. `present` is false for an optional array that is not given; `data` cannot
// tell that, since it may be null for an array without elements.
struct Array {
  static constexpr int kMaxRank = 8;  // ops take no higher rank; of an array of higher rank, the first sizes are kept

  void* data = nullptr;
  DType dtype = DType::kOther;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  bool present = false;

  // An array that has no memory yet.
  static Array like(DType dtype, std::initializer_list<int64_t> shape) {
    Array array;
    array.dtype = dtype;
    array.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), array.shape);
    array.present = true;
    return array;
  }

  // The same array with another dtype.
  Array of_dtype(DType other) const {
    Array array = *this;
    array.dtype = other;
    return array;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

}  // namespace fastseq

// A view of somebody else's array, as every op takes it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace fastseq {

enum class DType { kFloat32, kFloat64, kFloat16, kBFloat16, kBool, kUInt8, kUInt16, kInt32, kInt64, kOther };

// Of one element; 0 of kOther.
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

// As NumPy has it: "float32".
const char* dtype_name(DType dtype);

// C-contiguous, in the machine's byte order; the caller owns the memory. `present` tells an optional array that is not
// given from one without elements, whose data may be null too.
struct Array {
  static constexpr int kMaxRank = 8;  // of any array an op takes; of a higher rank only the first sizes are kept

  void* data = nullptr;
  DType dtype = DType::kOther;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  bool present = false;

  // One to be: without memory.
  static Array like(DType dtype, std::initializer_list<int64_t> shape) {
    Array array;
    array.dtype = dtype;
    array.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), array.shape);
    array.present = true;
    return array;
  }

  // The same but for its dtype.
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

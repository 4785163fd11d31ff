// Divides one block of memory into aligned arrays. With a null base it only measures the size that they need, so that
// the same code measures and divides.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastseq {

class Scratch {
 public:
  explicit Scratch(void* base) : base_(static_cast<char*>(base)) {}

  template <class T>
  T* take(int64_t count) {
    constexpr size_t kAlignment = 64;
    T* array = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

}  // namespace fastseq

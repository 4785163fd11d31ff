// Memory for the arrays and the scratch of a call, recycled between calls.
//
// The system hands out large blocks as pages that it clears when they are first touched, and takes them back when they
// are freed: a training step that allocates its workspace and gradients anew spends up to a sixth of its time there. So
// large blocks that come back are kept, up to a limit, for the next call that wants as much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "fastseq/array.h"

namespace fastseq {

// Smaller ones come from the C++ heap and go back to it at once.
constexpr size_t kSmallestRecycledBlock = size_t{1} << 20;
// Of every block.
constexpr size_t kMemoryAlignment = 64;

// Of an array. Throws std::bad_alloc where the number is none of a size_t.
size_t array_bytes(DType dtype, const int64_t* shape, int rank);

// At least `bytes` bytes, content undefined. Throws std::bad_alloc.
void* take_memory(size_t bytes);
// `bytes` as they were asked for; null is nothing.
void give_memory_back(void* memory, size_t bytes) noexcept;

// Whether memory is the begin of a block of 4 MiB or more from here, by where it lies: others' hardly ever lie so.
bool is_large_block(const void* memory);

// Bytes that are kept for reuse, and their return to the system.
size_t idle_memory();
void release_idle_memory();

// From now on, all memory that is taken is filled with NaN (on) or not. For tests: shows that nothing is read before it
// is written, and that all outputs are.
void poison_fresh_memory(bool on);
bool fresh_memory_is_poisoned();

// Owns a block.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes) : data_(take_memory(bytes)), bytes_(bytes) {}
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory() { give_memory_back(data_, bytes_); }
  void* get() const { return data_; }

 private:
  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace fastseq

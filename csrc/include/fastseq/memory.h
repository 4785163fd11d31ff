// Memory for the arrays and the scratch of a call, recycled between calls.
//
// The system clears the pages of a large block when they are first touched, and takes them back when the block is
// freed. A training step that allocates its workspace and gradients anew spends up to a sixth of its time on that. So
// large blocks that are given back are kept, up to a limit, for a later call that needs a block of the same size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "fastseq/array.h"

namespace fastseq {

// Smaller blocks come from the C++ heap and go back to it at once.
constexpr size_t kSmallestRecycledBlock = size_t{1} << 20;
// The alignment of every block.
constexpr size_t kMemoryAlignment = 64;

// The size of an array. Throws std::bad_alloc where it does not fit a size_t.
size_t array_bytes(DType dtype, const int64_t* shape, int rank);

// At least `bytes` bytes, content undefined. Throws std::bad_alloc.
void* take_memory(size_t bytes);
// `bytes` is the number given to take_memory; `memory` may be null.
void give_memory_back(void* memory, size_t bytes) noexcept;

// Whether `memory` is the beginning of a block of 4 MiB or more from take_memory. A guess from the address: such blocks
// are aligned to 2 MiB, and memory of other origin hardly ever is.
bool is_large_block(const void* memory);

// The number of bytes that are kept for reuse, and their return to the system.
size_t idle_memory();
void release_idle_memory();

// Sets whether take_memory fills the memory with NaN. For tests: shows reads before the first write, and outputs that
// are not written.
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

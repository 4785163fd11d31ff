// Recycled memory: see fastseq/memory.h.
//
// There are few block sizes, eight for each power of two. So calls of nearly equal size can use the same blocks, and at
// most an eighth of a block is unused (and never touched). Idle blocks are in one list, the longest idle first.
#include "fastseq/memory.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "control_groups.h"
#include "patient_lock.h"

namespace fastseq {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Python shows what() to the user.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(size_t bytes) { std::snprintf(text_, sizeof(text_), "fastseq: no memory for %zu bytes", bytes); }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[64];
};

// The size of the block for a request of `bytes`.
size_t block_size(size_t bytes) {
  if (bytes < kSmallestRecycledBlock) return bytes;
  size_t step = kSmallestRecycledBlock / 8;
  while (bytes / step >= 16) step *= 2;
  return (bytes + step - 1) / step * step;
}

size_t block_alignment(size_t size) { return size < 2 * kHugePage ? kMemoryAlignment : kHugePage; }

// Null where there is no memory.
void* new_block(size_t size) {
  void* block = ::operator new(std::max<size_t>(size, 1), std::align_val_t(block_alignment(size)), std::nothrow);
#ifdef MADV_HUGEPAGE
  // Huge pages are fewer pages to clear and to look up. This is advice; nothing depends on it.
  if (block && size >= 2 * kHugePage) madvise(block, size / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}

void delete_block(void* block, size_t size) { ::operator delete(block, std::align_val_t(block_alignment(size))); }

// An eighth of the memory of the machine or of the control group, whichever is less, and at most 1 GiB.
size_t idle_limit() {
  size_t most = size_t{1} << 33;
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) most = std::min(most, static_cast<size_t>(pages) * static_cast<size_t>(page));
  most = std::min<uint64_t>(most, ControlGroups::of_this_process().memory_bytes());
  return most / 8;
}

class IdleBlocks {
 public:
  // A block of exactly this size, or null.
  void* take(size_t size) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    // The block that became idle last is the likeliest to be still in a cache.
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      if (block->size != size) continue;
      void* data = block->data;
      blocks_.erase(std::next(block).base());
      bytes_ -= size;
      return data;
    }
    return nullptr;
  }

  bool keep(void* data, size_t size) {
    static const size_t kLimit = idle_limit();
    if (size > kLimit) return false;
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    while (bytes_ + size > kLimit) drop_first();
    blocks_.push_back({data, size});
    bytes_ += size;
    return true;
  }

  size_t bytes() {
    const PatientLock lock(mutex_);
    return lock ? bytes_ : 0;
  }

  void release() {
    const PatientLock lock(mutex_);
    while (lock && !blocks_.empty()) drop_first();
  }

 private:
  struct Block {
    void* data;
    size_t size;
  };

  void drop_first() {
    delete_block(blocks_.front().data, blocks_.front().size);
    bytes_ -= blocks_.front().size;
    blocks_.erase(blocks_.begin());
  }

  // take() and keep() only try to lock it, and do without the list where that fails. In a forked child it always fails
  // if a thread of the parent held the lock at the time of the fork.
  std::mutex mutex_;
  std::vector<Block> blocks_;
  size_t bytes_ = 0;
};

// Never destroyed: arrays may outlive static objects.
IdleBlocks& idle_blocks() {
  static auto* blocks = new IdleBlocks;
  return *blocks;
}

// Releases the idle blocks if the system has no memory left.
void* new_block_at_any_cost(size_t size) {
  void* block = new_block(size);
  if (!block) {
    idle_blocks().release();
    block = new_block(size);
  }
  if (!block) throw OutOfMemory(size);
  return block;
}

std::atomic<bool> g_poison{false};

}  // namespace

size_t array_bytes(DType dtype, const int64_t* shape, int rank) {
  size_t bytes = dtype_bytes(dtype);
  for (int i = 0; i < rank; ++i)
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(shape[i]), &bytes)) throw std::bad_alloc();
  return bytes;
}

void* take_memory(size_t bytes) {
  if (bytes > PTRDIFF_MAX / 2) throw OutOfMemory(bytes);
  const size_t size = block_size(bytes);
  void* block = size < kSmallestRecycledBlock ? nullptr : idle_blocks().take(size);
  if (!block) block = new_block_at_any_cost(size);
  if (fresh_memory_is_poisoned()) std::memset(block, 0xFF, size);
  return block;
}

void give_memory_back(void* memory, size_t bytes) noexcept {
  if (!memory) return;
  const size_t size = block_size(bytes);
  try {
    if (size >= kSmallestRecycledBlock && idle_blocks().keep(memory, size)) return;
  } catch (...) {
    // The list could not grow.
  }
  delete_block(memory, size);
}

bool is_large_block(const void* memory) { return memory && reinterpret_cast<uintptr_t>(memory) % kHugePage == 0; }

size_t idle_memory() { return idle_blocks().bytes(); }
void release_idle_memory() { idle_blocks().release(); }
void poison_fresh_memory(bool on) { g_poison.store(on, std::memory_order_relaxed); }

bool fresh_memory_is_poisoned() { return g_poison.load(std::memory_order_relaxed); }

}  // namespace fastseq

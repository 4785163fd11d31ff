// The common part of the core's tests: random numbers, and arrays that end at a page without access, so that any read
// or write past them stops the test.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fastseq/array.h"
#include "fastseq/memory.h"
#include "fastseq/status.h"

namespace fastseq::test {

[[noreturn]] inline void fail(const std::string& message) {
  std::printf("\n%s\n", message.c_str());
  std::exit(1);
}

inline void require(const Status& status) {
  if (!status.ok()) fail(status.message());
}

// Steele et al. 2014, "Fast splittable pseudorandom number generators".
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t count) { return static_cast<int64_t>(next() % static_cast<uint64_t>(count)); }
  bool coin() { return below(2) == 1; }
  // In [-1, 1), exact in float.
  float number() { return static_cast<float>(below(int64_t{1} << 24) - (int64_t{1} << 23)) * 0x1p-23F; }
  // Any float there is, half of them special ones. The smallest normal one is not among these: what rounds up to it is
  // flushed to zero on ARM, where that is decided before rounding, and kept on x86.
  float any() {
    constexpr uint32_t kSpecial[] = {0, 1, 0x7FFFFF, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000};
    auto bits = static_cast<uint32_t>(next());
    if (coin()) bits = (bits & 0x80000000U) | kSpecial[below(7)];
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }

 private:
  uint64_t state_;
};

constexpr int kPoison = 0xFF;  // of floats: a NaN

// The last page ends in `bytes` bytes of poison.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes) : bytes_(bytes), room_((bytes + page() - 1) / page() * page()) {
    void* base = mmap(nullptr, room_ + page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) fail("no memory");
    base_ = static_cast<unsigned char*>(base);
    protect(PROT_READ | PROT_WRITE);
    std::memset(base_, kBefore, room_ - bytes_);
    std::memset(data(), kPoison, bytes_);
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, room_ + page()); }

  void* data() const { return base_ + room_ - bytes_; }
  void make_read_only() const { protect(PROT_READ); }
  bool clean_before() const {
    for (size_t i = 0; i < room_ - bytes_; ++i)
      if (base_[i] != kBefore) return false;
    return true;
  }

 private:
  static constexpr unsigned char kBefore = 0xA5;
  static size_t page() {
    static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return size;
  }
  void protect(int access) const {
    if (room_ && mprotect(base_, room_, access) != 0) fail("mprotect failed");
  }

  size_t bytes_;
  size_t room_;
  unsigned char* base_;
};

// Arrays with names, and their memory.
class Arrays {
 public:
  struct Named {
    std::string name;
    Array array;
    std::unique_ptr<GuardedMemory> memory;
    size_t size;
  };

  Array make(const char* name, DType dtype, const std::vector<int64_t>& shape) {
    Array array;
    array.present = true;
    array.dtype = dtype;
    size_t size = 1;
    for (const int64_t length : shape) {
      array.shape[array.rank++] = length;
      size *= static_cast<size_t>(length);
    }
    std::unique_ptr<GuardedMemory> memory(new GuardedMemory(size * dtype_bytes(dtype)));
    array.data = memory->data();
    all_.push_back({name, array, std::move(memory), size});
    return array;
  }
  const std::vector<Named>& all() const { return all_; }
  void make_read_only() const {
    for (const Named& named : all_) named.memory->make_read_only();
  }

 private:
  std::vector<Named> all_;
};

// An array of the same dtype and shape, or absent as the other.
inline Array make_like(Arrays& arrays, const char* name, const Array& other) {
  if (!other.present) return {};
  return arrays.make(name, other.dtype, std::vector<int64_t>(other.shape, other.shape + other.rank));
}

inline bool same_bytes(const Array& one, const Array& other) {
  const size_t bytes = array_bytes(one.dtype, one.shape, one.rank);
  return bytes == array_bytes(other.dtype, other.shape, other.rank) &&
         (bytes == 0 || std::memcmp(one.data, other.data, bytes) == 0);
}

template <class T>
constexpr DType kDType = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;

}  // namespace fastseq::test

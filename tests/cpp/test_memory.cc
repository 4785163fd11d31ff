// Recycled memory and scratch.
#include "fastseq/memory.h"

#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <thread>

#include "check.h"
#include "common/scratch.h"

namespace fastseq::test {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

template <class Body>
bool throws_bad_alloc(const Body& body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

TEST(array_bytes_are_those_of_all_elements) {
  const int64_t shape[] = {3, 5, 7};
  CHECK_EQUAL(array_bytes(DType::kFloat32, shape, 3), 420U);
  CHECK_EQUAL(array_bytes(DType::kFloat64, shape, 0), 8U);
  CHECK_EQUAL(array_bytes(DType::kUInt16, shape, 1), 6U);
  const int64_t empty[] = {0, int64_t{1} << 40};
  CHECK_EQUAL(array_bytes(DType::kFloat32, empty, 2), 0U);
  const int64_t large[] = {int64_t{1} << 31, 3};
  CHECK_EQUAL(array_bytes(DType::kFloat32, large, 2), size_t{12} << 31);
}

TEST(more_bytes_than_a_size_holds_are_bad_alloc) {
  const int64_t shape[] = {int64_t{1} << 31, int64_t{1} << 31, 4};
  CHECK(throws_bad_alloc([&] { (void)array_bytes(DType::kFloat32, shape, 3); }));
  CHECK(throws_bad_alloc([] { (void)take_memory(std::numeric_limits<size_t>::max()); }));
  CHECK(throws_bad_alloc([] { (void)take_memory(PTRDIFF_MAX); }));
}

TEST(large_blocks_come_back) {
  release_idle_memory();
  void* block = take_memory(10 * kMiB);
  give_memory_back(block, 10 * kMiB);
  CHECK(idle_memory() >= 10 * kMiB);
  void* again = take_memory(10 * kMiB - 5);  // nearly as large
  CHECK_EQUAL(again, block);
  CHECK_EQUAL(idle_memory(), 0U);
  give_memory_back(again, 10 * kMiB - 5);
  release_idle_memory();
  CHECK_EQUAL(idle_memory(), 0U);
}

TEST(small_blocks_and_nothing_are_not_kept) {
  release_idle_memory();
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, kSmallestRecycledBlock - 1}) {
    void* block = take_memory(bytes);
    CHECK(block != nullptr);
    give_memory_back(block, bytes);
  }
  give_memory_back(nullptr, 5 * kMiB);
  CHECK_EQUAL(idle_memory(), 0U);
}

TEST(idle_memory_has_a_limit) {
  release_idle_memory();
  constexpr size_t kBlock = 256 * kMiB;
  void* blocks[6];
  for (void*& block : blocks) block = take_memory(kBlock);  // untouched, so that it costs nothing
  for (void* block : blocks) give_memory_back(block, kBlock);
  CHECK(idle_memory() <= 1024 * kMiB);
  release_idle_memory();
}

TEST(blocks_are_aligned) {
  for (const size_t bytes : {size_t{1}, size_t{100}, kMiB, 3 * kMiB, 4 * kMiB, 33 * kMiB + 7}) {
    const Memory memory(bytes);
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(memory.get()) % kMemoryAlignment, 0U);
    if (bytes >= 4 * kMiB) CHECK(is_large_block(memory.get()));
  }
  CHECK(!is_large_block(nullptr));
}

TEST(poison_is_in_new_and_in_used_blocks) {
  poison_fresh_memory(true);
  for (int round = 0; round < 2; ++round) {
    for (const size_t bytes : {size_t{40}, 2 * kMiB}) {
      const Memory memory(bytes);
      auto* begin = static_cast<unsigned char*>(memory.get());
      for (size_t i = 0; i < bytes; ++i) CHECK_EQUAL(begin[i], 0xFF);
      std::memset(begin, 0, bytes);
    }
  }
  poison_fresh_memory(false);
  release_idle_memory();
}

TEST(memory_moves) {
  Memory first(2 * kMiB);
  void* block = first.get();
  Memory second(std::move(first));
  CHECK_EQUAL(second.get(), block);
  Memory third;
  third = std::move(second);
  CHECK_EQUAL(third.get(), block);
}

TEST(threads_share_no_block) {
  std::vector<std::thread> threads;
  std::atomic<bool> shared{false};
  for (int id = 0; id < 4; ++id)
    threads.emplace_back([id, &shared] {
      for (int round = 0; round < 50; ++round) {
        const Memory memory(kMiB + static_cast<size_t>(round % 3) * kMiB / 2);
        auto* bytes = static_cast<volatile char*>(memory.get());
        for (size_t i = 0; i < kMiB; i += 4096) bytes[i] = static_cast<char>(id);
        for (size_t i = 0; i < kMiB; i += 4096)
          if (bytes[i] != static_cast<char>(id)) shared = true;
        if (round % 10 == 0) release_idle_memory();
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(!shared);
}

TEST(scratch_is_aligned_and_carved_as_it_was_measured) {
  alignas(64) char memory[1024];
  const auto take_all = [](Scratch& scratch) {
    scratch.take<char>(1);
    scratch.take<double>(9);
    scratch.take<int64_t>(0);
    return scratch.take<float>(17);
  };
  Scratch measure(nullptr);
  CHECK(take_all(measure) == nullptr);
  Scratch carve(memory);
  auto* last = reinterpret_cast<char*>(take_all(carve));
  CHECK_EQUAL(last - memory, 192);
  CHECK_EQUAL(measure.used(), 320U);
  CHECK_EQUAL(carve.used(), measure.used());
}

}  // namespace
}  // namespace fastseq::test

// Calls that get no memory. This replaces operator new, as sanitizers do, so it cannot be built with one.
#include <cstddef>
#include <cstdlib>
#include <new>

#include "check.h"
#include "fastseq/dropout.h"
#include "fastseq/memory.h"

namespace {
bool g_no_memory = false;
}  // namespace

// The library's come from here, too.
void* operator new(size_t size, std::align_val_t alignment) {
  void* block = nullptr;
  if (g_no_memory || posix_memalign(&block, static_cast<size_t>(alignment), size) != 0) throw std::bad_alloc();
  return block;
}
void* operator new(size_t size) { return operator new(size, std::align_val_t{alignof(std::max_align_t)}); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { std::free(block); }

namespace fastseq::test {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

template <class Body>
bool fails_without_memory(const Body& body) {
  bool failed = false;
  g_no_memory = true;
  try {
    body();
  } catch (const std::bad_alloc&) {
    failed = true;
  }
  g_no_memory = false;
  return failed;
}

TEST(no_memory_is_bad_alloc_and_leaves_everything_usable) {
  release_idle_memory();
  for (const size_t bytes : {size_t{1}, 3 * kMiB, 64 * kMiB}) {
    CHECK(fails_without_memory([&] { (void)take_memory(bytes); }));
    CHECK(fails_without_memory([&] { const Memory memory(bytes); }));
    const Memory memory(bytes);
    std::memset(memory.get(), 1, bytes);
  }
}

TEST(a_block_that_cannot_be_kept_is_freed) {
  // Enough blocks for the list of idle ones to grow at some time while there is no memory.
  release_idle_memory();
  void* blocks[40];
  for (void*& block : blocks) block = take_memory(kMiB);
  g_no_memory = true;
  for (void* block : blocks) give_memory_back(block, kMiB);
  g_no_memory = false;
  CHECK(idle_memory() < 40 * kMiB);
  release_idle_memory();
}

TEST(an_idle_block_needs_no_memory) {
  release_idle_memory();
  void* block = take_memory(10 * kMiB);
  give_memory_back(block, 10 * kMiB);
  void* again = nullptr;
  CHECK(!fails_without_memory([&] { again = take_memory(10 * kMiB - 5); }));
  CHECK_EQUAL(again, block);
  CHECK(fails_without_memory([] { (void)take_memory(10 * kMiB); }));
  give_memory_back(again, 10 * kMiB - 5);
  release_idle_memory();
}

TEST(an_op_without_memory_can_be_called_again) {
  Arrays arrays;
  Random random(1);
  const Array x = random_numbers<float>(arrays, random, "x", {100});
  const Array y = arrays.make("y", DType::kFloat32, {100});
  DropoutPlan plan;
  require(dropout_plan(x, {}, &plan));
  for (const int threads : {1, 3}) {
    plan.threads = threads;
    // What its threads meet at.
    CHECK(fails_without_memory([&] { require(dropout(plan, x, y)); }));
    require(dropout(plan, x, y));
    for (int i = 0; i < 100; ++i) CHECK_EQUAL(y.as<float>()[i], x.as<float>()[i]);
  }
}

}  // namespace
}  // namespace fastseq::test

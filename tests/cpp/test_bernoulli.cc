// Random booleans beside their definition (fastseq/bernoulli.h), computed element by element.
#include "fastseq/bernoulli.h"

#include <cmath>

#include "check.h"
#include "kernels/bernoulli.inl"

namespace fastseq::test {
namespace {

// Threefry2x32-20, as its paper writes it; the exclusive or of both words.
uint32_t threefry_by_the_book(uint32_t key0, uint32_t key1, uint64_t counter) {
  const uint32_t keys[3] = {key0, key1, 0x1BD11BDAU ^ key0 ^ key1};
  const int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  uint32_t x0 = static_cast<uint32_t>(counter >> 32) + key0;
  uint32_t x1 = static_cast<uint32_t>(counter) + key1;
  for (uint32_t round = 0; round < 20; ++round) {
    x0 += x1;
    x1 = x1 << rotations[round % 8] | x1 >> (32 - rotations[round % 8]);
    x1 ^= x0;
    if (round % 4 != 3) continue;
    const uint32_t injected = round / 4 + 1;
    x0 += keys[injected % 3];
    x1 += keys[(injected + 1) % 3] + injected;
  }
  return x0 ^ x1;
}

TEST(threefry_gives_the_known_answers) {
  // The vectors that Salmon et al. publish with their generator.
  const struct {
    uint32_t key[2];
    uint32_t counter[2];
    uint32_t expected[2];
  } known[] = {
      {{0, 0}, {0, 0}, {0x6B200159U, 0x99BA4EFEU}},
      {{0xFFFFFFFFU, 0xFFFFFFFFU}, {0xFFFFFFFFU, 0xFFFFFFFFU}, {0x1CB996FCU, 0xBB002BE7U}},
      {{0x13198A2EU, 0x03707344U}, {0x243F6A88U, 0x85A308D3U}, {0xC4923A9CU, 0x483DF7A0U}},
  };
  for (const auto& one : known) {
    const uint32_t keys[3] = {one.key[0], one.key[1], one.key[0] ^ one.key[1] ^ 0x1BD11BDAU};
    const uint32_t expected = one.expected[0] ^ one.expected[1];
    CHECK_EQUAL(threefry(keys, one.counter[0], one.counter[1]), expected);
    CHECK_EQUAL(threefry_by_the_book(keys[0], keys[1], uint64_t{one.counter[0]} << 32 | one.counter[1]), expected);
  }
}

bool expected_at(const int32_t* key, uint64_t counter, double probability) {
  const uint32_t word = threefry_by_the_book(static_cast<uint32_t>(key[0]), static_cast<uint32_t>(key[1]), counter);
  return std::ldexp(static_cast<double>(word >> 9), -23) < static_cast<double>(static_cast<float>(probability));
}

Array make_key(Arrays& arrays) {
  const Array key = arrays.make("key", DType::kInt32, {2});
  key.as<int32_t>()[0] = -5;
  key.as<int32_t>()[1] = 123456789;
  return key;
}

TEST(booleans_are_their_definition) {
  on_every_isa([] {
    for (const int64_t count : {0, 1, 15, 17, 255, 256, 257, 1003, 200001}) {
      for (const double probability : {0.0, 1e-7, 0.3, 0.5, 1.0}) {
        Arrays arrays;
        const Array key = make_key(arrays);
        const Array outputs = arrays.make("outputs", DType::kBool, {count});
        BernoulliOptions options;
        options.count = count;
        options.probability = probability;
        BernoulliPlan plan;
        require(bernoulli_plan(key, options, &plan));
        plan.threads = num_threads();
        require(bernoulli(plan, key, outputs));
        for (int64_t i = 0; i < count; ++i)
          CHECK_EQUAL(outputs.as<bool>()[i], expected_at(key.as<int32_t>(), static_cast<uint64_t>(i), probability));
      }
    }
  });
}

TEST(counters_go_on_after_32_bits) {
  on_every_isa([] {
    Arrays arrays;
    const Array key = make_key(arrays);
    const Array outputs = arrays.make("outputs", DType::kBool, {600});
    BernoulliPlan plan;
    require(bernoulli_plan(key, {}, &plan));
    const auto* words = key.as<int32_t>();
    const uint64_t first = (uint64_t{1} << 32) - 301;
    plan.isa->f32->bernoulli({{static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[1])},
                              plan.threshold,
                              first,
                              600,
                              outputs.as<bool>()});
    for (uint64_t i = 0; i < 600; ++i) CHECK_EQUAL(outputs.as<bool>()[i], expected_at(words, first + i, 0.5));
  });
}

TEST(errors_name_the_argument) {
  BernoulliPlan plan;
  BernoulliOptions options;
  const Array key = shaped(DType::kInt32, {2});
  CHECK_INVALID(bernoulli_plan(shaped(DType::kInt32, {3}), options, &plan), "key must have shape (2,), got (3,)");
  CHECK_DTYPE(bernoulli_plan(shaped(DType::kInt64, {2}), options, &plan), "key must have dtype int32, got int64");
  options.count = -1;
  CHECK_INVALID(bernoulli_plan(key, options, &plan), "count must be at least 0, got -1");
  options.count = 3;
  options.probability = 1.5;
  CHECK_INVALID(bernoulli_plan(key, options, &plan), "probability must be in [0, 1], got 1.500000");
  options.probability = std::nan("");
  CHECK_INVALID(bernoulli_plan(key, options, &plan), "probability must be in [0, 1], got nan");
  options.probability = 0.5;
  require(bernoulli_plan(key, options, &plan));
  CHECK_INVALID(bernoulli(plan, key, shaped(DType::kBool, {4})), "outputs must have shape (3,), got (4,)");
}

}  // namespace
}  // namespace fastseq::test

// Dropout beside its definition (fastseq/dropout.h), computed element by element.
#include "fastseq/dropout.h"

#include <cfloat>

#include "check.h"
#include "kernels/philox.inl"
#include "kernels/simd_scalar.h"

namespace fastseq::test {
namespace {

struct Words {
  uint32_t word[4];
};

// Philox4x32-10, as its paper writes it.
Words philox_by_the_book(Words counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * counter.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57U} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

TEST(philox_gives_the_known_answers) {
  // The vectors that Salmon et al. publish with their generator.
  const struct {
    Words counter;
    uint32_t key[2];
    Words expected;
  } known[] = {
      {{{0, 0, 0, 0}}, {0, 0}, {{0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U}}},
      {{{0xFFFFFFFFU, 0xFFFFFFFFU, 0xFFFFFFFFU, 0xFFFFFFFFU}},
       {0xFFFFFFFFU, 0xFFFFFFFFU},
       {{0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU}}},
      {{{0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U}},
       {0xA4093822U, 0x299F31D0U},
       {{0xD16CFE09U, 0x94FDCCEBU, 0x5001E420U, 0x24126EA1U}}},
  };
  for (const auto& one : known) {
    uint64_t words[4];
    for (int i = 0; i < 4; ++i) words[i] = one.counter.word[i];
    philox<ScalarWords>(one.key, words);
    const Words book = philox_by_the_book(one.counter, one.key[0], one.key[1]);
    for (int i = 0; i < 4; ++i) {
      CHECK_EQUAL(static_cast<uint32_t>(words[i]), one.expected.word[i]);
      CHECK_EQUAL(book.word[i], one.expected.word[i]);
    }
  }
}

// Whether element i is kept, where the rate is exact in the format of the noise.
class Noise {
 public:
  Noise(int64_t seed0, int64_t seed1, int random_bits) : random_bits_(random_bits) {
    const auto a = static_cast<uint64_t>(seed0);
    const auto b = static_cast<uint64_t>(seed1);
    const Words scrambled = philox_by_the_book({{static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32),
                                                 static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32)}},
                                               0x3EC8F720U, 0x02461E29U);
    for (int i = 0; i < 2; ++i) {
      key_[i] = scrambled.word[i];
      counter_[i] = scrambled.word[2 + i];
    }
  }
  double uniform(int64_t i) const {
    uint64_t bits = 0;
    if (random_bits_ == 52)
      bits = (uint64_t{word(2 * i)} & 0xFFFFFU) << 32 | word(2 * i + 1);
    else
      bits = word(i) & ((uint64_t{1} << random_bits_) - 1);
    return std::ldexp(static_cast<double>(bits), -random_bits_);
  }

 private:
  uint32_t word(int64_t index) const {
    const auto block = static_cast<uint64_t>(index / 4);
    const Words drawn = philox_by_the_book(
        {{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), counter_[0], counter_[1]}}, key_[0],
        key_[1]);
    return drawn.word[index % 4];
  }

  int random_bits_;
  uint32_t key_[2];
  uint32_t counter_[2];
};

template <class T>
void check_dropout(int64_t count, double rate, HalfType half) {
  DropoutOptions options;
  options.rate = rate;
  options.seed[0] = -3;
  options.seed[1] = int64_t{1} << 33;
  options.cast_from = half;
  Arrays arrays;
  Random random(1);
  const Array x = random_numbers<T>(arrays, random, "x", {count});
  const Array y = arrays.make("y", kDType<T>, {count});
  const Array dx = arrays.make("dx", kDType<T>, {count});
  DropoutPlan plan;
  require(dropout_plan(x, options, &plan));
  plan.threads = num_threads();
  const Array mask = arrays.make("mask", DType::kUInt8, {dropout_mask_bytes(plan)});
  require(dropout(plan, x, y, mask));
  require(dropout_gradient(plan, mask, x, dx));
  const int random_bits = half == HalfType::kFloat16 ? 10 : half == HalfType::kBfloat16 ? 7 : sizeof(T) == 8 ? 52 : 23;
  const Noise noise(options.seed[0], options.seed[1], random_bits);
  for (int64_t i = 0; i < count; ++i) {
    const bool keep = noise.uniform(i) >= rate;
    CHECK_EQUAL((mask.as<uint8_t>()[i / 8] >> (i % 8) & 1) != 0, keep);
    const T expected = keep ? x.as<T>()[i] * static_cast<T>(1.0 / (1.0 - rate)) : T{0};
    CHECK_EQUAL(y.as<T>()[i], expected);
    CHECK_EQUAL(dx.as<T>()[i], expected);
  }
  for (int64_t i = count; i < 8 * dropout_mask_bytes(plan); ++i)
    CHECK_EQUAL(mask.as<uint8_t>()[i / 8] >> (i % 8) & 1, 0);
}

TEST(dropout_is_its_definition) {
  on_every_isa([] {
    for (const int64_t count : {0, 1, 5, 31, 257, 1003}) {
      check_dropout<float>(count, 0.25, HalfType::kNone);
      check_dropout<float>(count, 0.5, HalfType::kFloat16);
      check_dropout<float>(count, 0.75, HalfType::kBfloat16);
      check_dropout<double>(count, 0.25, HalfType::kNone);
      check_dropout<double>(count, 0.0, HalfType::kNone);
    }
  });
}

TEST(a_rate_of_one_drops_everything_nan_too) {
  on_every_isa([] {
    for (const double rate : {1.0, std::nextafter(1.0, 0.0)}) {
      Arrays arrays;
      const Array x = arrays.make("x", DType::kFloat32, {100});  // poison: NaN
      const Array y = arrays.make("y", DType::kFloat32, {100});
      DropoutOptions options;
      options.rate = rate;
      DropoutPlan plan;
      require(dropout_plan(x, options, &plan));
      require(dropout(plan, x, y));
      for (int i = 0; i < 100; ++i) CHECK_EQUAL(y.as<float>()[i], 0.0F);
    }
  });
}

TEST(shared_noise_is_broadcast) {
  on_every_isa([] {
    Arrays arrays;
    Random random(2);
    const Array x = random_numbers<float>(arrays, random, "x", {3, 7, 5});
    const Array y = arrays.make("y", DType::kFloat32, {3, 7, 5});
    const Array mask = arrays.make("mask", DType::kUInt8, {2});
    DropoutOptions options;
    options.rate = 0.5;
    options.seed[0] = 11;
    options.noise_shape = {3, 1, 5};
    DropoutPlan plan;
    require(dropout_plan(x, options, &plan));
    plan.threads = num_threads();
    require(dropout(plan, x, y));
    const Noise noise(11, 0, 23);
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 7; ++j)
        for (int64_t k = 0; k < 5; ++k) {
          const int64_t at = (i * 7 + j) * 5 + k;
          const bool keep = noise.uniform(i * 5 + k) >= 0.5;
          CHECK_EQUAL(y.as<float>()[at], keep ? 2.0F * x.as<float>()[at] : 0.0F);
        }
    CHECK_INVALID(dropout(plan, x, y, mask), "mask must be absent where noise_shape is not x's shape");
  });
}

TEST(nothing_takes_no_time) {
  DropoutOptions options;
  options.rate = 0.5;
  options.noise_shape = {-1, 1};
  const Array x = shaped(DType::kFloat32, {int64_t{1} << 46, 0});
  DropoutPlan plan;
  require(dropout_plan(x, options, &plan));
  require(dropout(plan, x, x));
  options.noise_shape = {1, -1};
  require(dropout_plan(x, options, &plan));
  require(dropout(plan, x, x));
}

TEST(results_that_do_not_fit_are_named) {
  Arrays arrays;
  const Array x = arrays.make("x", DType::kFloat32, {9});
  DropoutPlan plan;
  require(dropout_plan(x, {}, &plan));
  CHECK_INVALID(dropout(plan, x, arrays.make("y", DType::kFloat32, {8})), "y must have shape (9,), got (8,)");
  CHECK_DTYPE(dropout(plan, x, arrays.make("y", DType::kFloat64, {9})), "y must have dtype float32, got float64");
  CHECK_INVALID(dropout_gradient(plan, arrays.make("mask", DType::kUInt8, {1}), x, x),
                "mask must have shape (2,), got (1,)");
}

}  // namespace
}  // namespace fastseq::test

// The rows of an array that are equal, bit by bit.
//
// Behind an Embedding many are: of the 2,000 tokens in a batch of Reuters' texts a fifth are different. What depends on
// a row alone needs computing once for all rows that are equal. Rows are compared by their content, so it does not
// matter where they come from. A sample tells whether it is worth looking for all of them.
//
// Threads hash the rows, one thread looks up the hashes, and threads compare the rows that have the same hash. If two
// of them differ, which one in 2^64 pairs does, no rows are taken as equal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "common/scratch.h"
#include "runtime/range.h"

namespace fastseq {

template <class T>
class DistinctRows {
 public:
  // Of an array (rows, width), to share products with a matrix (width, columns). There may be at most `most` distinct
  // rows in each of `parts`, which threads find separately. With `most` = 0 none are looked for.
  DistinctRows(int64_t rows, int64_t width, int64_t columns, int64_t most, int parts, int threads, Scratch& scratch)
      : rows_(rows), width_(width), columns_(columns), most_(most), parts_(parts), threads_(threads) {
    while (most > 0 && slots_ < 2 * most) slots_ *= 2;
    if (most == 0) return;
    hashes_ = scratch.take<uint64_t>(rows);
    numbers_ = scratch.take<int32_t>(rows);
    firsts_ = scratch.take<int64_t>(parts * most);
    hash_table_ = scratch.take<Slot>(parts * slots_);
    counts_ = scratch.take<int64_t>(parts);
    promising_ = scratch.take<bool>(1);
    differ_ = scratch.take<uint8_t>(parts * threads);
  }

  // Whether it pays to share the products of rows with a matrix (width, columns), of which `distinct` are different.
  // The costs are multiply-adds in the time that a row takes to be found, one of its elements to be hashed and
  // compared, and an element of its results to be read.
  static bool pays(int64_t distinct, int64_t rows, int64_t width, int64_t columns) {
    constexpr double kFinding = 1500;
    constexpr double kHashing = 16;
    constexpr double kReading = 8;
    const auto saved = static_cast<double>(rows - distinct) * static_cast<double>(width * columns);
    const double cost = kFinding + kHashing * static_cast<double>(width) + kReading * static_cast<double>(columns);
    return saved >= static_cast<double>(rows) * cost;
  }

  static constexpr int64_t kSample = 256;

  // One thread calls this first. It decides by a sample whether to look further. for_each_row(body) calls body(row) for
  // at most kSample rows.
  template <class ForEachRow>
  void sample(const T* array, const ForEachRow& for_each_row) const {
    if (most_ == 0) return;
    uint64_t sampled[kSample];
    int64_t count = 0;
    for_each_row([&](int64_t row) { sampled[count++] = hash_of(array + row * width_); });
    std::sort(sampled, sampled + count);
    const int64_t different = std::unique(sampled, sampled + count) - sampled;
    *promising_ = count > 0 && 4 * (count - different) >= count;
    std::fill_n(counts_, parts_, 0);
    std::fill_n(differ_, parts_ * threads_, uint8_t{0});
  }
  bool promising() const { return most_ > 0 && *promising_; }

  // Threads divide the rows.
  void hash(const T* array, int64_t row) const { hashes_[row] = hash_of(array + row * width_); }

  // One thread calls this for a part. for_each_row(body) calls body(row) for every row of the part.
  template <class ForEachRow>
  void find(int part, const ForEachRow& for_each_row) const {
    Slot* slots = hash_table_ + part * slots_;
    int64_t* firsts = firsts_ + part * most_;
    std::fill_n(slots, slots_, Slot{0, kEmpty});
    int64_t all = 0;
    int32_t found = 0;
    for_each_row([&](int64_t row) {
      ++all;
      if (found > most_) return;
      const uint64_t hash = hashes_[row];
      auto at = static_cast<int64_t>(hash & static_cast<uint64_t>(slots_ - 1));
      while (slots[at].number != kEmpty && slots[at].hash != hash) at = (at + 1) & (slots_ - 1);
      if (slots[at].number == kEmpty) {
        if (found == most_) return void(++found);
        firsts[found] = row;
        slots[at] = {hash, found++};
      }
      numbers_[row] = slots[at].number;
    });
    counts_[part] = found <= most_ && pays(found, all, width_, columns_) ? found : 0;
  }

  // Threads divide the rows of a part.
  void compare(int part, int thread, const T* array, int64_t row) const {
    if (std::memcmp(array + row * width_, array + first(part, number(row)) * width_, sizeof(T) * size_of_row()) != 0)
      differ_[part * threads_ + thread] = 1;
  }

  // The number of distinct rows of a part, if all rows with the same hash are equal; 0 if they are not worth it.
  int64_t count_by_hash(int part) const { return most_ > 0 ? counts_[part] : 0; }
  // The same once all threads have compared; 0 if rows with the same hash differ.
  int64_t count(int part) const {
    if (count_by_hash(part) == 0) return 0;
    const uint8_t* differ = differ_ + part * threads_;
    return std::find(differ, differ + threads_, uint8_t{1}) == differ + threads_ ? counts_[part] : 0;
  }
  // The number of a row's content, below count().
  int64_t number(int64_t row) const { return numbers_[row]; }
  // A row with this content.
  int64_t first(int part, int64_t number) const { return firsts_[part * most_ + number]; }
  int64_t most() const { return most_; }

 private:
  static constexpr int32_t kEmpty = -1;
  struct Slot {
    uint64_t hash;
    int32_t number;
  };

  size_t size_of_row() const { return static_cast<size_t>(width_); }

  // Four chains of multiplications, since each waits for its last result.
  uint64_t hash_of(const T* row) const {
    constexpr uint64_t kFactor = 0x9E3779B97F4A7C15U;
    constexpr size_t kChains = 4;
    uint64_t chains[kChains] = {1, 2, 3, 4};
    const auto* bytes = reinterpret_cast<const unsigned char*>(row);
    size_t left = sizeof(T) * size_of_row();
    uint64_t words[kChains];
    for (; left >= sizeof(words); left -= sizeof(words), bytes += sizeof(words)) {
      std::memcpy(words, bytes, sizeof(words));
      for (size_t i = 0; i < kChains; ++i) chains[i] = (chains[i] ^ words[i]) * kFactor;
    }
    std::memset(words, 0, sizeof(words));
    std::memcpy(words, bytes, left);
    uint64_t hash = 0;
    for (size_t i = 0; i < kChains; ++i) {
      hash = (hash ^ chains[i] ^ words[i]) * kFactor;
      hash ^= hash >> 32;
    }
    return hash;
  }

  int64_t rows_;
  int64_t width_;
  int64_t columns_;
  int64_t most_;
  int64_t parts_;
  int64_t threads_;
  int64_t slots_ = 1;
  uint64_t* hashes_ = nullptr;  // (rows)
  int32_t* numbers_ = nullptr;  // (rows)
  int64_t* firsts_ = nullptr;   // (parts, most)
  Slot* hash_table_ = nullptr;  // (parts, slots)
  int64_t* counts_ = nullptr;   // (parts)
  bool* promising_ = nullptr;
  uint8_t* differ_ = nullptr;  // (parts, threads): whether a thread has met rows that differ
};

}  // namespace fastseq

// Weighted sums of a few rows out of many: a product whose first operand is mostly zeros.
//
// The sums of as many columns as possible are in registers, and every multiply-add loads its operand. That is about
// half the speed of a dense product, so it pays if at most every third row has a weight other than zero.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "vectors.inl"

namespace fastseq {
namespace {

template <class S>
void add_weighted_rows(const WeightedRowsArgs<typename S::T>& args) {
  for_each_vector<S, S::kTiles.sums>(args.columns, [&](auto vocabulary, int64_t j, auto load, auto store) {
    using W = decltype(vocabulary);
    typename W::V sums = W::set(0);
    const typename S::T* rows = args.rows + j;
    const int64_t stride = args.stride;
    const WeightedRow<typename S::T>* const end = args.of + args.count;
    for (const WeightedRow<typename S::T>* next = args.of; next != end; ++next)
      sums = W::fma(W::set(next->weight), load(rows + next->row * stride), sums);
    store(args.sums + j, W::add(load(args.sums + j), sums));
  });
}

}  // namespace
}  // namespace fastseq

// Builds a KernelTable from a vector vocabulary: included by each ISA's translation unit after its simd_*.h.
#pragma once

#include "kernels.h"
#include "lstm_gates.inl"
#include "product.inl"

namespace fastseq {
namespace {

template <class S>
constexpr KernelTable<typename S::T> make_table() {
  return {S::kLanes,  packed_size<S>,        pack_row<S>,           pack_transposed<S>,
          product<S>, lstm_gates_forward<S>, lstm_gates_backward<S>};
}

}  // namespace
}  // namespace fastseq

// Builds a KernelTable from a vector vocabulary: included by each ISA's translation unit after its simd_*.h.
#pragma once

#include "adam.inl"
#include "dropout.inl"
#include "elementwise.inl"
#include "gru.inl"
#include "kernels.h"
#include "lstm.inl"
#include "peak.inl"
#include "pool.inl"
#include "product.inl"
#include "simple_rnn.inl"
#include "weighted_rows.inl"

namespace fastseq {
namespace {

template <class S>
constexpr KernelTable<typename S::T> make_table() {
  return {S::kTileRows,
          packed_size<S>,
          pack_row<S>,
          pack_transposed<S>,
          pack_column<S>,
          product<S>,
          add_weighted_rows<S>,
          activate<S>,
          activation_gradient<S>,
          lstm_forward<S>,
          gru_reset_forward<S>,
          gru_update_forward<S>,
          simple_rnn_forward<S>,
          lstm_backward<S>,
          gru_update_backward<S>,
          gru_reset_backward<S>,
          simple_rnn_backward<S>,
          max_pool<S>,
          max_pool_backward<S>,
          average_pool<S>,
          average_pool_backward<S>,
          dropout<S>,
          dropout_gradient<S>,
          adam<S>,
          add_with_squares<S>,
          kChains<S> * S::kLanes,
          run_chains<S>};
}

}  // namespace
}  // namespace fastseq

// Makes a KernelTable from a vector vocabulary. Each ISA's translation unit includes this after its simd_*.h.
#pragma once

#include "adam.inl"
#include "bernoulli.inl"
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
  KernelTable<typename S::T> table{};
  table.tile_rows = S::kTiles.rows;
  table.chain_elements = kChains<S> * S::kLanes;
  table.packed_size = packed_size<S>;
  table.pack_row = pack_row<S>;
  table.pack_transposed = pack_transposed<S>;
  table.pack_column = pack_column<S>;
  table.product = product<S>;
  table.add_weighted_rows = add_weighted_rows<S>;
  table.activate = activate<S>;
  table.activation_gradient = activation_gradient<S>;
  table.lstm_forward = lstm_forward<S>;
  table.gru_reset_forward = gru_reset_forward<S>;
  table.gru_update_forward = gru_update_forward<S>;
  table.simple_rnn_forward = simple_rnn_forward<S>;
  table.lstm_backward = lstm_backward<S>;
  table.gru_update_backward = gru_update_backward<S>;
  table.gru_reset_backward = gru_reset_backward<S>;
  table.simple_rnn_backward = simple_rnn_backward<S>;
  table.max_pool = max_pool<S>;
  table.max_pool_backward = max_pool_backward<S>;
  table.average_pool = average_pool<S>;
  table.average_pool_backward = average_pool_backward<S>;
  table.dropout = dropout<S>;
  table.dropout_gradient = dropout_gradient<S>;
  table.bernoulli = bernoulli<S>;
  table.adam = adam<S>;
  table.add_with_squares = add_with_squares<S>;
  table.run_chains = run_chains<S>;
  return table;
}

}  // namespace
}  // namespace fastseq

// Products of matrices, one for each batch item: the contract. elementary.h says what all elementary operations share.
#pragma once

#include "fastseq/elementary.h"

namespace fastseq {

// outputs[i] = a[i] b[i], or a[i] times the transpose of b[i].
//
// Parallel over the batch: a thread packs one b[i] after the other into its part of the scratch.
struct BatchProduct : Elementary {
  Array a;  // floats (B, M, K)
  Array b;  // of a's dtype (B, K, N); with transpose_b, (B, N, K)
  bool transpose_b = false;

  static const char* name() { return "batch_product"; }
  template <class Visit>
  void for_each_input(const Visit& visit) {
    visit(Input::required("a", 3), a);
    visit(Input::required("b", 3), b);
  }
  template <class Visit>
  void for_each_option(const Visit& visit) {
    visit("transpose_b", transpose_b);
  }
  Status make_plan();
  Status run(void* scratch) const;
};

}  // namespace fastseq

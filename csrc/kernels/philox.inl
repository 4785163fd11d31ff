// The generator Philox4x32-10 (Salmon et al. 2011), many counters at a time.
//
// There is a vector for each of the four words of a counter, with one 64-bit lane for each counter. The word is the low
// half of its lane; the high half may have any value, since the widening product does not read it. So a round is two
// products, two shifts and two exclusive ors of three operands.
#pragma once

#include <cstdint>

namespace fastseq {
namespace {

template <class W>
inline __attribute__((always_inline)) void philox(const uint32_t* key, typename W::V (&words)[4]) {
  using V = typename W::V;
  uint32_t key0 = key[0];
  uint32_t key1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const V product0 = W::product(words[0], W::set(0xD2511F53U));
    const V product1 = W::product(words[2], W::set(0xCD9E8D57U));
    words[0] = W::exclusive_or(W::high(product1), words[1], W::set(key0));
    words[1] = product1;
    words[2] = W::exclusive_or(W::high(product0), words[3], W::set(key1));
    words[3] = product0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

}  // namespace
}  // namespace fastseq

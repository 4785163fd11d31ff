// The TensorFlow ops Fastseq{Lstm,Gru,SimpleRnn}{Forward,Backward}.
#include "fastseq/rnn.h"

#include "stated_op.h"

namespace fastseq::tensorflow {
namespace {

template <Cell kCell>
bool register_cell() {
  return register_stated<RnnForward<kCell>>() && register_stated<RnnBackward<kCell>>();
}

const bool kRegistered =
    register_cell<Cell::kLstm>() && register_cell<Cell::kGru>() && register_cell<Cell::kSimpleRnn>();

}  // namespace
}  // namespace fastseq::tensorflow

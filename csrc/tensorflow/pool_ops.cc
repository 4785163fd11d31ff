// The TensorFlow ops Fastseq{Max,Average}Pool{Forward,Backward}.
//
// Backward takes the number of timesteps of x instead of x, so that x need not be kept.
#include "fastseq/pool.h"

#include "stated_op.h"

namespace fastseq::tensorflow {
namespace {

const bool kRegistered = register_stated<PoolForward<true>>() && register_stated<PoolBackward<true>>() &&
                         register_stated<PoolForward<false>>() && register_stated<PoolBackward<false>>();

}  // namespace
}  // namespace fastseq::tensorflow

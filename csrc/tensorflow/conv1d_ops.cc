// The TensorFlow ops FastseqConv1d{Forward,Backward}.
#include "fastseq/conv1d.h"

#include "stated_op.h"

namespace fastseq::tensorflow {
namespace {

const bool kRegistered = register_stated<Conv1dForward<>>() && register_stated<Conv1dBackward<>>();

}  // namespace
}  // namespace fastseq::tensorflow

// The positions that max pooling saves, as a tensor of raw bytes, so that their dtype is the core's own affair: (batch,
// pooled timesteps, channels * bytes of a position), or nothing along every dimension where they are not saved.
#pragma once

#include "fastseq/pool.h"
#include "op_support.h"

namespace fastseq::tensorflow {

inline int64_t position_bytes(int64_t pool_size) {
  return static_cast<int64_t>(dtype_bytes(max_pool_index_dtype(pool_size)));
}

// The same array as positions of their own dtype, where its bytes fit.
inline Array positions(const Array& bytes, int64_t pool_size, int64_t channels) {
  Array array = bytes;
  if (array.rank != 3 || array.shape[2] != channels * position_bytes(pool_size)) return array;
  array.dtype = max_pool_index_dtype(pool_size);
  array.shape[2] = channels;
  return array;
}

// The context's next output; absent where they are not to be saved.
inline Array next_positions(Context& context, bool save, int64_t pool_size, int64_t batch, int64_t pooled,
                            int64_t channels) {
  return positions(
      context.next_optional_output(save, DType::kUInt8, {batch, pooled, channels * position_bytes(pool_size)}),
      pool_size, channels);
}

}  // namespace fastseq::tensorflow

"""The operations as functions of arrays, without a framework.

With NumPy arrays the functions compute on the CPU. The float arrays of a call must have one dtype, float32 or float64,
and be C-contiguous. They are neither copied nor cast. Several threads read them, some more than once, while the GIL is
released: do not change them during a call.

Arrays of other libraries that support DLPack, such as PyTorch and JAX, may be in the CPU's memory as well. The results
are arrays of the first array's library. With arrays of PyTorch, CuPy or JAX in the memory of an NVIDIA GPU, the
functions that have kernels for GPUs compute there. Then the float arrays must have one dtype, float32, float16 or
bfloat16, be C-contiguous and be on one device. docs/cuda.md has the list of these functions, and explains how calls
are ordered with other work on the GPU.
"""

from __future__ import annotations

from fastseq.functional.adam import AdamState, adam
from fastseq.functional.arrays import FloatArray
from fastseq.functional.conv1d import (
    Conv1DGradients,
    conv1d_backward,
    conv1d_forward,
    conv1d_max_pool_backward,
    conv1d_max_pool_forward,
)
from fastseq.functional.dropout import dropout
from fastseq.functional.embedding import embedding_backward, embedding_forward
from fastseq.functional.pool import (
    MaxPoolResult,
    average_pool_backward,
    average_pool_forward,
    max_pool_backward,
    max_pool_forward,
    pooled_timesteps,
)
from fastseq.functional.rnn import (
    LSTMGradients,
    LSTMResult,
    RNNGradients,
    RNNResult,
    RNNWorkspace,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    simple_rnn_backward,
    simple_rnn_forward,
)

__all__ = [
    "AdamState",
    "Conv1DGradients",
    "FloatArray",
    "LSTMGradients",
    "LSTMResult",
    "MaxPoolResult",
    "RNNGradients",
    "RNNResult",
    "RNNWorkspace",
    "adam",
    "average_pool_backward",
    "average_pool_forward",
    "conv1d_backward",
    "conv1d_forward",
    "conv1d_max_pool_backward",
    "conv1d_max_pool_forward",
    "dropout",
    "embedding_backward",
    "embedding_forward",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "max_pool_backward",
    "max_pool_forward",
    "pooled_timesteps",
    "simple_rnn_backward",
    "simple_rnn_forward",
]

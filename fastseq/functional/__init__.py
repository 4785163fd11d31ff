"""The operations over arrays, with no framework in between.

NumPy arrays are computed on the CPU: float32 or float64, all of one call alike, C-contiguous; they are neither copied
nor cast. They are read where they are, some more than once and by several threads, and with Python's lock released: do
not change them during a call.

Arrays of any other library with DLPack, such as PyTorch's and JAX's, are taken likewise in the CPU's memory, and the
results are arrays of the first array's library. Those of PyTorch, CuPy or JAX in the memory of an NVIDIA GPU are
computed there, by the functions that have kernels for GPUs: float32, float16 or bfloat16, all of one call alike,
C-contiguous, on one device. docs/cuda.md says which, and how calls are ordered with the framework's own.
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

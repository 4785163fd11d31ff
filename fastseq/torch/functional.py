"""The operations of `fastseq.functional` on PyTorch's tensors, differentiable by autograd.

They work in eager mode, under `torch.compile` without a graph break, and under `torch.export`. If no gradient is asked
for (`torch.no_grad`, `torch.inference_mode`, or no argument that requires a gradient), nothing is saved for backward.
Second-order gradients raise an error that says so.
"""

from __future__ import annotations

import torch

from fastseq.autodiff.functions import Functions, LSTMOutputs, RNNOutputs
from fastseq.torch.operations import call

__all__ = [
    "LSTMOutputs",
    "RNNOutputs",
    "average_pool",
    "conv1d",
    "conv1d_max_pool",
    "embedding",
    "gru",
    "lstm",
    "max_pool",
    "simple_rnn",
]

_functions: Functions[torch.Tensor] = Functions(call)
lstm, gru, simple_rnn = _functions.lstm, _functions.gru, _functions.simple_rnn
conv1d, conv1d_max_pool = _functions.conv1d, _functions.conv1d_max_pool
max_pool, average_pool = _functions.max_pool, _functions.average_pool
embedding = _functions.embedding

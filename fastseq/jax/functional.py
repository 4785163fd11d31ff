"""The operations of `fastseq.functional` on JAX's arrays, differentiable by `jax.grad`.

They work under `jit`, `grad` and `vmap`, inside `scan`, `remat` and `shard_map`, and eagerly. If no gradient is asked
for, nothing is saved for backward. Second-order gradients and forward mode raise errors that say so.
"""

from __future__ import annotations

import jax

from fastseq.autodiff.functions import Functions, LSTMOutputs, RNNOutputs
from fastseq.jax.operations import call
from fastseq.jax.random import bernoulli

__all__ = [
    "LSTMOutputs",
    "RNNOutputs",
    "average_pool",
    "bernoulli",
    "conv1d",
    "conv1d_max_pool",
    "embedding",
    "gru",
    "lstm",
    "max_pool",
    "simple_rnn",
]

_functions: Functions[jax.Array] = Functions(call)
lstm, gru, simple_rnn = _functions.lstm, _functions.gru, _functions.simple_rnn
conv1d, conv1d_max_pool = _functions.conv1d, _functions.conv1d_max_pool
max_pool, average_pool = _functions.max_pool, _functions.average_pool
embedding = _functions.embedding

"""fastseq's kernels for JAX: the functions of `fastseq.jax.functional`."""

from __future__ import annotations

try:
    import jax
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError("fastseq.jax needs JAX 0.5 or newer: pip install jax") from error

if not hasattr(jax, "ffi"):
    raise ImportError(f"fastseq.jax needs JAX 0.5 or newer, got {jax.__version__}")

from fastseq.jax.functional import (
    LSTMOutputs,
    RNNOutputs,
    average_pool,
    bernoulli,
    conv1d,
    conv1d_max_pool,
    embedding,
    gru,
    lstm,
    max_pool,
    simple_rnn,
)

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

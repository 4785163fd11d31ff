"""The kernels on JAX's arrays, differentiable by `jax.grad`: `fastseq.jax`.

Embedding and Adam run on stock Keras, because XLA compiles them into the training step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fastseq.jax.operations import call
from fastseq.jax.random import bernoulli
from fastseq.keras.backend.autodiff import Exporting, Operations

__all__ = [
    "activation_name",
    "adam",
    "average_pool",
    "conv1d",
    "dropout",
    "embedding",
    "exporting",
    "h0_as_first_output",
    "is_distributed",
    "max_pool",
    "rnn",
    "supports_jit",
    "traced_convolution",
    "unavailable_because",
]

h0_as_first_output = True
supports_jit = True
adam = embedding = traced_convolution = None
exporting = Exporting(lambda: True)

_operations = Operations(call)
rnn, conv1d = _operations.rnn, _operations.conv1d
max_pool, average_pool = _operations.max_pool, _operations.average_pool

_ACTIVATIONS = {
    jnp.tanh: "tanh",
    jax.nn.tanh: "tanh",
    jax.nn.sigmoid: "sigmoid",
    jax.nn.relu: "relu",
}


def dropout(x: jax.Array, rate: float, seed: Any, noise_shape: Sequence[int | None] | None) -> jax.Array:
    """See `fastseq.keras.backend.Backend`. XLA fuses all but the drawing with what is around it."""
    shape = x.shape if noise_shape is None else noise_shape
    sizes = [x.shape[axis] if size is None else size for axis, size in enumerate(shape)]
    keep = 1.0 - rate
    kept = jnp.broadcast_to(bernoulli(seed, keep, sizes), x.shape)
    return jax.lax.select(kept, x / keep, jnp.zeros_like(x))


def unavailable_because() -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    platform = jax.default_backend()
    if platform != "cpu":
        return f"JAX uses a {platform} here, for which Keras has kernels of its own, and ours run on the CPU"
    return None


def is_distributed(optimizer: Any) -> bool:
    """See `fastseq.keras.backend.Backend`."""
    return False


def activation_name(function: Callable[..., Any]) -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    return _ACTIVATIONS.get(function)

"""The kernels on JAX's arrays, differentiable by `jax.grad`: `fastseq.jax`.

On JAX, Keras draws dropout's masks with JAX's random number generator, whose numbers the kernels cannot reproduce. So
Dropout runs on stock Keras. Embedding and Adam do so, too, because XLA compiles them into the training step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fastseq.jax.operations import call
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
    "max_pool",
    "rnn",
    "supports_jit",
    "traced_convolution",
    "unavailable_because",
]

h0_as_first_output = True
supports_jit = True
adam = dropout = embedding = traced_convolution = None
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


def unavailable_because() -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    platform = jax.default_backend()
    if platform != "cpu":
        return f"JAX uses a {platform} here, for which Keras has kernels of its own, and ours run on the CPU"
    return None


def activation_name(function: Callable[..., Any]) -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    return _ACTIVATIONS.get(function)

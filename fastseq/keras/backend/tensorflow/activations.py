"""TensorFlow's own activation functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# From a function to the kernels' name of it. Aliases such as tf.nn.tanh and tf.math.tanh are one function.
_ACTIVATIONS: dict[Callable[..., Any], str] = {
    tf.identity: "linear",
    tf.nn.relu: "relu",
    tf.sigmoid: "sigmoid",
    tf.tanh: "tanh",
}


def activation_name(function: Callable[..., Any]) -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    return _ACTIVATIONS.get(function)

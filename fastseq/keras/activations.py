"""Maps activation functions, Keras's and the backend's own, to the kernels' names of them."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.keras import backend

_ACTIVATIONS = {
    keras.activations.tanh: "tanh",
    keras.activations.sigmoid: "sigmoid",
    keras.activations.hard_sigmoid: "hard_sigmoid",
    keras.activations.relu: "relu",
    keras.activations.linear: "linear",
}
# The same functions in `keras.ops`, which are other objects.
_OPERATIONS = {getattr(keras.ops, name): name for name in ("tanh", "sigmoid", "hard_sigmoid", "relu")}


def native_name(activation: Any) -> str | None:
    """The kernels' name of an activation function, or None if they do not have it."""
    try:
        name = _ACTIVATIONS.get(activation) or _OPERATIONS.get(activation)
        if name is None and backend.is_supported():
            name = backend.load().activation_name(activation)
        return name
    except TypeError:  # not hashable
        return None


def not_native_because(argument: str, activation: Any) -> str | None:
    """Why the kernels cannot compute a layer's activation, or None if they can."""
    if native_name(activation) is not None:
        return None
    names = ", ".join(_ACTIVATIONS.values())
    return f"{argument} must be one of keras.activations.{{{names}}}, got {describe(activation)}"


def describe(thing: Any) -> str:
    """The full name of a function or class; the `repr` of anything else."""
    name = getattr(thing, "__qualname__", None)
    return f"{thing.__module__}.{name}" if name else repr(thing)

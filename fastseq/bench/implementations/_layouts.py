"""The layouts of other libraries: their order of axes and of gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Axes are letters: batch, timesteps, channels. This is Keras's order.
_KERAS = "BTC"
RECURRENT, CONVOLUTION = "TBC", "BCT"  # the order of other libraries


def keras_layout(layout: str) -> str:
    """The same axes in Keras's order."""
    return "".join(axis for axis in _KERAS if axis in layout)


def permutation(layout: str, target: str) -> tuple[int, ...]:
    """The axes for a transpose from one layout to another."""
    return tuple(layout.index(axis) for axis in target)


def from_keras(array: NDArray[Any], layout: str) -> NDArray[Any]:
    """An array in Keras's layout, converted to this layout and contiguous."""
    return np.ascontiguousarray(array.transpose(permutation(keras_layout(layout), layout)))


def to_keras(array: NDArray[Any], layout: str) -> NDArray[Any]:
    """The inverse of `from_keras`."""
    return array.transpose(permutation(layout, keras_layout(layout)))


def reorder(weights: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
    """Moves block order[g] of the last axis to position g."""
    blocks = np.split(weights, len(order), axis=-1)
    return np.ascontiguousarray(np.concatenate([blocks[g] for g in order], axis=-1))


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order with which `reorder` undoes `reorder` by `order`."""
    return tuple(order.index(g) for g in range(len(order)))

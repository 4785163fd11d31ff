"""Other libraries' order of gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def reorder(weights: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
    """Puts block order[g] of the last axis in place g."""
    blocks = np.split(weights, len(order), axis=-1)
    return np.ascontiguousarray(np.concatenate([blocks[g] for g in order], axis=-1))


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """What undoes `reorder` by `order`."""
    return tuple(order.index(g) for g in range(len(order)))

"""The types of arrays that the functions take and return."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Any stands for the arrays of other libraries.
FloatArray = NDArray[np.float32] | NDArray[np.float64] | Any
IndexArray = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32] | Any
MaskArray = NDArray[np.bool_] | Any


def integer(name: str, value: object) -> int:
    """The argument as an int; raises `TypeError` if it is not an integer."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None

"""What is checked of every operation in the same way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import runtime

_STEP = 1e-6  # see tolerances.FINITE_DIFFERENCE


def finite_difference(loss: Callable[[], float], array: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gradient of a loss by an array that it reads; each element is changed and put back."""
    difference = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + _STEP
        above = loss()
        array[index] = kept - _STEP
        difference[index] = (above - loss()) / (2 * _STEP)
        array[index] = kept
    return difference


def assert_same_bits(
    run: Callable[[], Mapping[str, Any]], isas: Iterable[str], threads: Iterable[int], what: object
) -> None:
    """That a call gives the results that the scalar kernels give in one thread."""
    runtime.set_isa("scalar")
    runtime.set_num_threads(1)
    expected = run()
    for isa, number in itertools.product(isas, threads):
        runtime.set_isa(isa)
        runtime.set_num_threads(number)
        for name, array in run().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{isa} {number} {what} {name}")

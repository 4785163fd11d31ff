"""Pooling calls for the tests, and functions that run them with the kernels or with the definition."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest

POOLINGS = ("max", "average")
every_pooling = pytest.mark.parametrize("pooling", POOLINGS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

# pool_size, strides, padding: apart, side by side, overlapping, none of which is a multiple of another.
Window = tuple[int, "int | None", str]
WINDOWS: list[Window] = list(itertools.product((1, 2, 3, 5, 9), (None, 1, 2, 7), ("valid", "same")))


class Results(NamedTuple):
    """Of forward and backward; argmax is None of averages."""

    outputs: Any
    argmax: Any
    dx: Any


def fits(timesteps: int, window: Window) -> bool:
    pool_size, strides, padding = window
    return padding == "same" or timesteps - pool_size >= -(strides or pool_size)


def small_integers(size: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Any:
    """Of few values, so that windows have ties."""
    return np.random.default_rng(seed).integers(-3, 4, size).astype(dtype)


def any_numbers(size: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Any:
    """Of few values, NaN and infinities among them."""
    values = np.array([np.nan, -np.inf, np.inf, np.finfo(dtype).min, -1.5, -0.0, 0.0, 2.0], dtype)
    return np.random.default_rng(seed).choice(values, size, p=[0.2, 0.4, 0.05, 0.15, 0.05, 0.05, 0.05, 0.05])


def run_pool(module: Any, pooling: str, x: Any, window: Window, doutputs: Any = None, **options: bool) -> Results:
    """The functions of `functional` or `reference`; without `doutputs`, random ones. The options are forward's."""
    argmax = None
    if pooling == "max":
        result = module.max_pool_forward(x, *window, **options)
        outputs, argmax = result.outputs, result.argmax
    else:
        outputs = module.average_pool_forward(x, *window)
    if doutputs is None:
        doutputs = np.random.default_rng(1).standard_normal(outputs.shape).astype(x.dtype)
    if pooling == "max":
        return Results(outputs, argmax, module.max_pool_backward(argmax, doutputs, x.shape[1], *window))
    return Results(outputs, None, module.average_pool_backward(doutputs, x.shape[1], *window))


every_nan = pytest.mark.parametrize("propagate_nan", [False, True], ids=["numbers", "nan"])


def special_windows(lowest: float, propagate_nan: bool) -> dict[tuple[float, ...], tuple[float, int]]:
    """Windows of 3 with NaN and infinities, and the maximum and its place in each; `lowest` is the dtype's."""
    nan, inf = np.nan, np.inf
    if propagate_nan:
        return {
            (nan, 1, 2): (nan, 0),
            (1, nan, 0): (nan, 1),
            (nan, 2, nan): (nan, 2),
            (nan, nan, nan): (nan, 2),
            (-inf, -inf, -inf): (-inf, 0),
            (-inf, nan, -5): (nan, 1),
            (-inf, lowest, -inf): (lowest, 1),
            (-inf, inf, inf): (inf, 1),
            (inf, nan, inf): (nan, 1),
        }
    return {
        (nan, 1, 2): (2, 2),
        (1, nan, 0): (1, 0),
        (nan, nan, nan): (lowest, 0),
        (-inf, -inf, -inf): (lowest, 0),
        (-inf, nan, -5): (-5, 2),
        (-inf, inf, inf): (inf, 1),
        (nan, inf, nan): (inf, 1),
    }

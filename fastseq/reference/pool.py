"""The definition of max and average pooling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastseq.reference.activations import Float64


class MaxPoolForward(NamedTuple):
    """The result of `max_pool_forward`; shapes as in `fastseq.functional.MaxPoolResult`."""

    outputs: Float64
    argmax: NDArray[np.int64]


def windows(timesteps: int, pool_size: int, strides: int | None = None, padding: str = "valid") -> list[range]:
    """The timesteps of every window. Those in the padding are below 0, or `timesteps` and above.

    With "same" there are timesteps / strides windows, rounded up. The sequence is padded at both ends, with one
    timestep more at the end if the padding is odd.
    """
    strides = pool_size if strides is None else strides
    if padding == "same":
        count = -(-timesteps // strides)
        before = max((count - 1) * strides + pool_size - timesteps, 0) // 2
    else:
        count = (timesteps - pool_size) // strides + 1
        before = 0
    return [range(begin, begin + pool_size) for begin in (p * strides - before for p in range(count))]


def _inside(window: range, timesteps: int) -> range:
    return range(max(window.start, 0), min(window.stop, timesteps))


def max_pool_forward(
    x: ArrayLike, pool_size: int, strides: int | None = None, padding: str = "valid", *, propagate_nan: bool = False
) -> MaxPoolForward:
    """The greatest value of every window, and its position in the window.

    Among equal values it is the first. A value counts only if it is greater than the lowest finite number of x's dtype;
    NaN never does. With `propagate_nan`, all values count, NaN is greater than every number, and the last NaN is the
    greatest.

    Args:
        x: (batch, timesteps, channels).
        pool_size: The size of a window, in timesteps.
        strides: The distance between windows, in timesteps; None for `pool_size`.
        padding: "valid" or "same".
        propagate_nan: See above.
    """
    given = np.asarray(x)
    values = given.astype(np.float64)
    batch, timesteps, channels = values.shape
    all_windows = windows(timesteps, pool_size, strides, padding)
    least = -np.inf if propagate_nan else float(np.finfo(given.dtype).min)
    outputs = np.full((batch, len(all_windows), channels), least)
    argmax = np.zeros(outputs.shape, np.int64)
    for p, window in enumerate(all_windows):
        argmax[:, p] = _inside(window, timesteps).start - window.start
        for t in _inside(window, timesteps):
            greater = values[:, t] > outputs[:, p]
            if propagate_nan:
                greater |= np.isnan(values[:, t])
            outputs[:, p] = np.where(greater, values[:, t], outputs[:, p])
            argmax[:, p] = np.where(greater, t - window.start, argmax[:, p])
    return MaxPoolForward(outputs, argmax)


def max_pool_backward(
    argmax: NDArray[np.integer],
    doutputs: ArrayLike,
    timesteps: int,
    pool_size: int,
    strides: int | None = None,
    padding: str = "valid",
) -> Float64:
    """The gradient by x: every output's gradient, at the position of its maximum.

    Args:
        argmax: The result of `max_pool_forward`.
        doutputs: (batch, pooled timesteps, channels), the loss's gradient by `outputs`.
        timesteps: The number of timesteps of x.
        pool_size: As in `max_pool_forward`.
        strides: As in `max_pool_forward`.
        padding: As in `max_pool_forward`.
    """
    gradient = np.asarray(doutputs, dtype=np.float64)
    dx = np.zeros((gradient.shape[0], timesteps, gradient.shape[2]))
    for p, window in enumerate(windows(timesteps, pool_size, strides, padding)):
        for t in _inside(window, timesteps):
            dx[:, t] += np.where(argmax[:, p] == t - window.start, gradient[:, p], 0.0)
    return dx


def average_pool_forward(x: ArrayLike, pool_size: int, strides: int | None = None, padding: str = "valid") -> Float64:
    """The mean of the timesteps of every window that are in the sequence; arguments as in `max_pool_forward`."""
    values = np.asarray(x, dtype=np.float64)
    batch, timesteps, channels = values.shape
    insides = [_inside(window, timesteps) for window in windows(timesteps, pool_size, strides, padding)]
    outputs = np.zeros((batch, len(insides), channels))
    for p, inside in enumerate(insides):
        outputs[:, p] = values[:, inside.start : inside.stop].sum(axis=1) / len(inside)
    return outputs


def average_pool_backward(
    doutputs: ArrayLike, timesteps: int, pool_size: int, strides: int | None = None, padding: str = "valid"
) -> Float64:
    """The gradient by x, an equal part for every timestep of a window; arguments as in `max_pool_backward`."""
    gradient = np.asarray(doutputs, dtype=np.float64)
    dx = np.zeros((gradient.shape[0], timesteps, gradient.shape[2]))
    for p, window in enumerate(windows(timesteps, pool_size, strides, padding)):
        inside = _inside(window, timesteps)
        dx[:, inside.start : inside.stop] += gradient[:, p : p + 1] / len(inside)
    return dx

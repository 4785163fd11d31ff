"""Max and average pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastseq._libraries import core as _core
from fastseq.functional.arrays import FloatArray, IndexArray, integer
from fastseq.functional.devices import compute

__all__ = [
    "MaxPoolResult",
    "average_pool_backward",
    "average_pool_forward",
    "max_pool_backward",
    "max_pool_forward",
    "pooled_timesteps",
]


@dataclass(frozen=True)
class MaxPoolResult:
    """What `max_pool_forward` returns.

    Attributes:
        outputs: (batch, pooled timesteps, channels).
        argmax: The same shape, uint8, uint16 or int32, whichever is the smallest to hold `pool_size - 1`: the position
            of each maximum in its window, padding included. None without `save_argmax`.
    """

    outputs: FloatArray
    argmax: IndexArray | None


def pooled_timesteps(timesteps: int, pool_size: int, strides: int | None = None, padding: str = "valid") -> int:
    """The number of timesteps that pooling leaves.

    Args:
        timesteps: Of the sequence.
        pool_size: Of a window, in timesteps.
        strides: From one window to the next; None for `pool_size`.
        padding: "valid" for the windows that lie in the sequence as a whole, "same" for one at every `strides`
            timesteps.

    Returns:
        (timesteps - pool_size) // strides + 1 for "valid", timesteps / strides rounded up for "same".

    Raises:
        ValueError: `padding` is neither, a number is too small, or the result would be negative.
        TypeError: A number is not an int.

    >>> from fastseq.functional import pooled_timesteps
    >>> pooled_timesteps(10, 4), pooled_timesteps(10, 4, padding="same"), pooled_timesteps(10, 4, strides=1)
    (2, 3, 7)
    """
    size = integer("pool_size", pool_size)
    step = size if strides is None else integer("strides", strides)
    return _core.pooled_timesteps(integer("timesteps", timesteps), size, step, padding)


def max_pool_forward(
    x: FloatArray, pool_size: int, strides: int | None = None, padding: str = "valid", *, save_argmax: bool = True
) -> MaxPoolResult:
    """The greatest value of every window of timesteps, as `keras.layers.MaxPooling1D` computes it.

    Args:
        x: (batch, timesteps, channels).
        pool_size: Of a window, in timesteps.
        strides: From one window to the next; None for `pool_size`. Windows overlap where it is smaller.
        padding: "valid" for the windows that lie in the sequence as a whole. "same" for a window at every `strides`
            timesteps: those that reach beyond the sequence, at either end, have what is inside of it.
        save_argmax: Save what `max_pool_backward` needs.

    Returns:
        A `MaxPoolResult`. Of equal values the first one is the maximum. NaN never is, and where nothing in a window
        is greater than the lowest finite number, that is its maximum, at the window's first timestep: both as in
        TensorFlow on a CPU.

    Raises:
        ValueError: A size does not fit, x is not C-contiguous, or `padding` is none of the above.
        TypeError: x is no array of float32 or float64, or a number is not an int.

    References:
        The exact definition is `fastseq.reference.max_pool_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import max_pool_forward
    >>> x = np.array([3, 1, 4, 1, 5, 9], np.float32).reshape(1, 6, 1)
    >>> result = max_pool_forward(x, pool_size=2)
    >>> result.outputs.ravel().tolist(), result.argmax.ravel().tolist()
    ([3.0, 4.0, 9.0], [0, 0, 1])
    """
    return MaxPoolResult(**_pool("max_pool_forward", locals()))


def max_pool_backward(
    argmax: IndexArray,
    doutputs: FloatArray,
    timesteps: int,
    pool_size: int,
    strides: int | None = None,
    padding: str = "valid",
) -> FloatArray:
    """The gradient of a scalar loss by the x of `max_pool_forward`.

    Args:
        argmax: From `max_pool_forward`, called with the same arguments as are given here.
        doutputs: (batch, pooled timesteps, channels), the loss's gradient by `outputs`.
        timesteps: Of x.
        pool_size: As `max_pool_forward`, and so for the next two.
        strides: As `max_pool_forward`.
        padding: As `max_pool_forward`.

    Returns:
        dx, (batch, timesteps, channels): each gradient at the place its maximum was taken from, added up where several
        windows have taken the same.

    Raises:
        ValueError: As `max_pool_forward`.
        TypeError: As `max_pool_forward`, or the dtype of `argmax` is not that of `max_pool_forward`.

    References:
        The exact definition is `fastseq.reference.max_pool_backward`.

    >>> import numpy as np
    >>> from fastseq.functional import max_pool_backward, max_pool_forward
    >>> x = np.array([3, 1, 4, 1, 5, 9], np.float32).reshape(1, 6, 1)
    >>> result = max_pool_forward(x, pool_size=2)
    >>> max_pool_backward(result.argmax, np.ones_like(result.outputs), 6, pool_size=2).ravel().tolist()
    [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    """
    return _pool("max_pool_backward", locals())["dx"]


def average_pool_forward(
    x: FloatArray, pool_size: int, strides: int | None = None, padding: str = "valid"
) -> FloatArray:
    """The mean of every window of timesteps, as `keras.layers.AveragePooling1D` computes it.

    Args:
        x: (batch, timesteps, channels).
        pool_size: As `max_pool_forward`, and so for the next two.
        strides: As `max_pool_forward`.
        padding: As `max_pool_forward`. A window that reaches beyond the sequence is the mean of what is inside of it.

    Returns:
        outputs, (batch, pooled timesteps, channels).

    Raises:
        ValueError: As `max_pool_forward`.
        TypeError: As `max_pool_forward`.

    References:
        The exact definition is `fastseq.reference.average_pool_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import average_pool_forward
    >>> x = np.array([3, 1, 4, 1, 5], np.float32).reshape(1, 5, 1)
    >>> average_pool_forward(x, pool_size=2, padding="same").ravel().tolist()
    [2.0, 2.5, 5.0]
    """
    return _pool("average_pool_forward", locals())["outputs"]


def average_pool_backward(
    doutputs: FloatArray, timesteps: int, pool_size: int, strides: int | None = None, padding: str = "valid"
) -> FloatArray:
    """The gradient of a scalar loss by the x of `average_pool_forward`.

    Args:
        doutputs: (batch, pooled timesteps, channels), the loss's gradient by the outputs.
        timesteps: Of x.
        pool_size: As `max_pool_forward`, and so for the next two.
        strides: As `max_pool_forward`.
        padding: As `average_pool_forward`.

    Returns:
        dx, (batch, timesteps, channels).

    Raises:
        ValueError: As `max_pool_forward`.
        TypeError: As `max_pool_forward`.

    References:
        The exact definition is `fastseq.reference.average_pool_backward`.
    """
    return _pool("average_pool_backward", locals())["dx"]


def _pool(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    strides = arguments["strides"]
    return compute(operation, {**arguments, "strides": arguments["pool_size"] if strides is None else strides})

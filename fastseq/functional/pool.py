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
    """The result of `max_pool_forward`.

    Attributes:
        outputs: (batch, pooled timesteps, channels).
        argmax: The position of each maximum in its window, including the padding, in the same shape as `outputs`. The
            dtype is the smallest of uint8, uint16 and int32 that holds `pool_size - 1`. None without `save_argmax`.
    """

    outputs: FloatArray
    argmax: IndexArray | None


def pooled_timesteps(timesteps: int, pool_size: int, strides: int | None = None, padding: str = "valid") -> int:
    """The number of timesteps after pooling.

    Args:
        timesteps: The number of timesteps of the sequence.
        pool_size: The size of a window, in timesteps.
        strides: The distance between windows, in timesteps; None for `pool_size`.
        padding: "valid" for the windows that lie within the sequence, "same" for a window at every `strides` timesteps.

    Returns:
        (timesteps - pool_size) // strides + 1 for "valid", timesteps / strides rounded up for "same".

    Raises:
        ValueError: `padding` is not one of these, a number is too small, or the result would be negative.
        TypeError: A number is not an int.

    >>> from fastseq.functional import pooled_timesteps
    >>> pooled_timesteps(10, 4), pooled_timesteps(10, 4, padding="same"), pooled_timesteps(10, 4, strides=1)
    (2, 3, 7)
    """
    size = integer("pool_size", pool_size)
    step = size if strides is None else integer("strides", strides)
    return _core.pooled_timesteps(integer("timesteps", timesteps), size, step, padding)


def max_pool_forward(
    x: FloatArray,
    pool_size: int,
    strides: int | None = None,
    padding: str = "valid",
    *,
    propagate_nan: bool = False,
    save_argmax: bool = True,
) -> MaxPoolResult:
    """The greatest value of every window of timesteps, as `keras.layers.MaxPooling1D` computes it.

    Args:
        x: (batch, timesteps, channels).
        pool_size: The size of a window, in timesteps.
        strides: The distance between windows, in timesteps; None for `pool_size`. Windows overlap if it is smaller.
        padding: "valid" for the windows that lie within the sequence. "same" for a window at every `strides`
            timesteps; windows that reach beyond either end of the sequence have its timesteps only.
        propagate_nan: What the maximum of a window with NaN or of nothing but -inf is.
            False, as in Keras on TensorFlow on a CPU: NaN is never the maximum. If no value of a window is greater than
            the lowest finite number, that number is the maximum, at the window's first timestep.
            True, as in PyTorch and JAX: NaN if the window has one, at the last NaN's timestep. For a window of -inf it
            is -inf, at the window's first timestep.
        save_argmax: Whether to save the positions of the maxima, which `max_pool_backward` needs.

    Returns:
        A `MaxPoolResult`. Among equal values the first one is the maximum.

    Raises:
        ValueError: A size does not fit, x is not C-contiguous, or `padding` is not one of the above.
        TypeError: x is not an array of float32 or float64, or a number is not an int.

    References:
        The exact definition is `fastseq.reference.max_pool_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import max_pool_forward
    >>> x = np.array([3, 1, 4, 1, 5, 9], np.float32).reshape(1, 6, 1)
    >>> result = max_pool_forward(x, pool_size=2)
    >>> result.outputs.ravel().tolist(), result.argmax.ravel().tolist()
    ([3.0, 4.0, 9.0], [0, 0, 1])
    >>> x[0, 1] = np.nan
    >>> max_pool_forward(x, pool_size=2, propagate_nan=True).outputs.ravel().tolist()
    [nan, 4.0, 9.0]
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
        argmax: The result of `max_pool_forward` with the same options.
        doutputs: (batch, pooled timesteps, channels), the loss's gradient by `outputs`.
        timesteps: The number of timesteps of x.
        pool_size: As in `max_pool_forward`.
        strides: As in `max_pool_forward`.
        padding: As in `max_pool_forward`.

    Returns:
        dx, (batch, timesteps, channels): the gradient of every output at the position of its maximum. Gradients of
        several windows with the same maximum are added up.

    Raises:
        ValueError: As in `max_pool_forward`.
        TypeError: As in `max_pool_forward`, or the dtype of `argmax` is not that of `max_pool_forward`.

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
        pool_size: As in `max_pool_forward`.
        strides: As in `max_pool_forward`.
        padding: As in `max_pool_forward`. For a window that reaches beyond the sequence, the result is the mean of the
            window's timesteps in the sequence.

    Returns:
        outputs, (batch, pooled timesteps, channels).

    Raises:
        ValueError: As in `max_pool_forward`.
        TypeError: As in `max_pool_forward`.

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
        timesteps: The number of timesteps of x.
        pool_size: As in `max_pool_forward`.
        strides: As in `max_pool_forward`.
        padding: As in `average_pool_forward`.

    Returns:
        dx, (batch, timesteps, channels).

    Raises:
        ValueError: As in `max_pool_forward`.
        TypeError: As in `max_pool_forward`.

    References:
        The exact definition is `fastseq.reference.average_pool_backward`.
    """
    return _pool("average_pool_backward", locals())["dx"]


def _pool(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    strides = arguments["strides"]
    return compute(operation, {**arguments, "strides": arguments["pool_size"] if strides is None else strides})

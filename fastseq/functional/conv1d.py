"""One-dimensional convolution, with and without max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastseq.functional.arrays import FloatArray
from fastseq.functional.devices import compute
from fastseq.functional.pool import MaxPoolResult

__all__ = [
    "Conv1DGradients",
    "conv1d_backward",
    "conv1d_forward",
    "conv1d_max_pool_backward",
    "conv1d_max_pool_forward",
]


@dataclass(frozen=True)
class Conv1DGradients:
    """The result of `conv1d_backward`: the loss's gradient by each input."""

    dx: FloatArray
    dkernel: FloatArray
    dbias: FloatArray | None  # None without bias


def conv1d_forward(
    x: FloatArray,
    kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> FloatArray:
    """A convolution along time with bias and activation, as `keras.layers.Conv1D` computes it.

    Args:
        x: (batch, timesteps, channels).
        kernel: (kernel_size, channels / groups, filters).
        bias: (filters,), or None for zero.
        activation: "linear", "relu", "tanh", "sigmoid" or "hard_sigmoid".
        strides: The distance between outputs, in timesteps of x.
        padding: "valid": no padding. "same": timesteps / strides outputs, rounded up. "causal": as many outputs as
            "same", but no output depends on a later timestep.
        dilation_rate: The distance between taps of the kernel, in timesteps of x. Unlike in Keras, it may be combined
            with `strides`.
        groups: The number of groups into which channels and filters are divided; each group is convolved separately.

    Returns:
        (batch, output timesteps, filters).

    Raises:
        ValueError: A shape or option does not fit, an array is not C-contiguous, or, with padding "valid", x has fewer
            timesteps than the kernel spans.
        TypeError: An argument is not an array, or its dtype is not float32 or float64, or differs from x's.

    References:
        The exact definition is `fastseq.reference.conv1d_forward`. The product with packed operands is after Goto and
        van de Geijn 2008; without a matrix of patches: Chaudhary et al. 2021 (arXiv 2104.08002).

    >>> import numpy as np
    >>> from fastseq.functional import conv1d_forward
    >>> conv1d_forward(np.ones((2, 10, 3)), np.ones((5, 3, 4))).shape
    (2, 6, 4)
    """
    return compute("conv1d_forward", locals())["outputs"]


def conv1d_backward(
    outputs: FloatArray,
    doutputs: FloatArray,
    x: FloatArray,
    kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Conv1DGradients:
    """The gradients of a scalar loss by the inputs of `conv1d_forward`.

    Args:
        outputs: The result of `conv1d_forward` with the other arguments.
        doutputs: (batch, output timesteps, filters), the loss's gradient by the outputs.
        x: As given to `conv1d_forward`, like all arguments that follow.
        kernel: See `conv1d_forward`.
        bias: As given to `conv1d_forward`; its values are not used.
        activation: See `conv1d_forward`.
        strides: See `conv1d_forward`.
        padding: See `conv1d_forward`.
        dilation_rate: See `conv1d_forward`.
        groups: See `conv1d_forward`.

    Returns:
        A `Conv1DGradients`.

    Raises:
        ValueError: As in `conv1d_forward`.
        TypeError: As in `conv1d_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import conv1d_backward, conv1d_forward
    >>> x, kernel = np.ones((2, 10, 3)), np.ones((5, 3, 4))
    >>> y = conv1d_forward(x, kernel)
    >>> conv1d_backward(y, np.ones_like(y), x, kernel).dkernel.shape
    (5, 3, 4)
    """
    return Conv1DGradients(**compute("conv1d_backward", locals()))


def conv1d_max_pool_forward(
    x: FloatArray,
    kernel: FloatArray,
    bias: FloatArray | None,
    pool_size: int,
    pool_strides: int | None = None,
    pool_padding: str = "valid",
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
    pool_propagate_nan: bool = False,
    save_argmax: bool = True,
) -> MaxPoolResult:
    """`conv1d_forward` and then `max_pool_forward`, without the convolution in memory in between.

    The result has the same bits as the two functions.

    Args:
        x: As in `conv1d_forward`.
        kernel: As in `conv1d_forward`.
        bias: As in `conv1d_forward`.
        pool_size: The size of a pooling window, in timesteps of the convolution.
        pool_strides: The distance between windows; None for `pool_size`.
        pool_padding: "valid" or "same", as in `max_pool_forward`.
        activation: As in `conv1d_forward`.
        strides: As in `conv1d_forward`.
        padding: As in `conv1d_forward`.
        dilation_rate: As in `conv1d_forward`.
        groups: As in `conv1d_forward`.
        pool_propagate_nan: `propagate_nan`, as in `max_pool_forward`.
        save_argmax: Whether to save the positions of the maxima, which `conv1d_max_pool_backward` needs.

    Returns:
        A `MaxPoolResult`.

    Raises:
        ValueError: As in `conv1d_forward` and `max_pool_forward`.
        TypeError: As in `conv1d_forward` and `max_pool_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import conv1d_max_pool_forward
    >>> result = conv1d_max_pool_forward(np.ones((2, 10, 3)), np.ones((5, 3, 4)), None, pool_size=2)
    >>> result.outputs.shape
    (2, 3, 4)
    """
    return MaxPoolResult(**compute("conv1d_forward", _pooled(locals())))


def conv1d_max_pool_backward(
    result: MaxPoolResult,
    doutputs: FloatArray,
    x: FloatArray,
    kernel: FloatArray,
    bias: FloatArray | None,
    pool_size: int,
    pool_strides: int | None = None,
    pool_padding: str = "valid",
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Conv1DGradients:
    """The gradients of a scalar loss by the inputs of `conv1d_max_pool_forward`.

    Args:
        result: The result of `conv1d_max_pool_forward` with the other arguments and with `save_argmax`.
        doutputs: (batch, pooled timesteps, filters), the loss's gradient by the outputs.
        x: As given to `conv1d_max_pool_forward`, like all arguments that follow.
        kernel: As given to `conv1d_max_pool_forward`.
        bias: As given to `conv1d_max_pool_forward`; its values are not used.
        pool_size: As given to `conv1d_max_pool_forward`.
        pool_strides: As given to `conv1d_max_pool_forward`.
        pool_padding: As given to `conv1d_max_pool_forward`.
        activation: As given to `conv1d_max_pool_forward`.
        strides: As given to `conv1d_max_pool_forward`.
        padding: As given to `conv1d_max_pool_forward`.
        dilation_rate: As given to `conv1d_max_pool_forward`.
        groups: As given to `conv1d_max_pool_forward`.

    Returns:
        A `Conv1DGradients`.

    Raises:
        ValueError: As in `conv1d_max_pool_forward`.
        TypeError: As in `conv1d_max_pool_forward`, or `result` is not a `MaxPoolResult`.

    >>> import numpy as np
    >>> from fastseq.functional import conv1d_max_pool_backward, conv1d_max_pool_forward
    >>> inputs = (np.ones((2, 10, 3)), np.ones((5, 3, 4)), None)
    >>> result = conv1d_max_pool_forward(*inputs, pool_size=2)
    >>> conv1d_max_pool_backward(result, np.ones((2, 3, 4)), *inputs, pool_size=2).dkernel.shape
    (5, 3, 4)
    """
    if not isinstance(result, MaxPoolResult):
        raise TypeError(
            f"result must be the MaxPoolResult of conv1d_max_pool_forward(...), got {type(result).__name__}"
        )
    arguments = locals()
    saved = arguments.pop("result")
    return Conv1DGradients(**compute("conv1d_backward", _pooled(arguments, outputs=saved.outputs, argmax=saved.argmax)))


def _pooled(arguments: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The arguments for the core. There a `pool_size` of 0 means no pooling, so it is an error here."""
    pool_size, strides = arguments["pool_size"], arguments["pool_strides"]
    if pool_size == 0:
        raise ValueError("pool_size must be at least 1, got 0")
    return {**arguments, "pool_strides": pool_size if strides is None else strides, **others}

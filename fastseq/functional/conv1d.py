"""One-dimensional convolution, alone and with max pooling."""

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
    """What `conv1d_backward` returns: the loss's gradient by each input."""

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
        strides: Steps of x from one output to the next.
        padding: "valid": within x; "same": as many outputs as x has steps, divided by `strides` and rounded up;
            "causal": as many, none of which sees a later step.
        dilation_rate: Steps of x from one tap of the kernel to the next. Unlike Keras, with `strides` too.
        groups: How many parts the channels and filters fall into, each convolved on its own.

    Returns:
        (batch, output timesteps, filters).

    Raises:
        ValueError: A shape or option does not fit, or an array is not C-contiguous; with padding "valid" also where x
            has fewer timesteps than the kernel reaches over.
        TypeError: An argument is no array, or its dtype is none of float32 and float64 or differs from x's.

    References:
        The exact definition is `fastseq.reference.conv1d_forward`. As a product with packed operands: Goto and van de
        Geijn 2008; without a matrix of patches: Chaudhary et al. 2021 (arXiv 2104.08002).

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
        outputs: What `conv1d_forward` returned for the other arguments.
        doutputs: (batch, output timesteps, filters), the loss's gradient by the outputs.
        x: As given to `conv1d_forward`; so are all that follow.
        kernel: See there.
        bias: See there. Only whether it is given matters.
        activation: See there.
        strides: See there.
        padding: See there.
        dilation_rate: See there.
        groups: See there.

    Returns:
        A `Conv1DGradients`.

    Raises:
        ValueError: As `conv1d_forward`.
        TypeError: As `conv1d_forward`.

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
    save_argmax: bool = True,
) -> MaxPoolResult:
    """`max_pool_forward` of `conv1d_forward`, without the convolution in memory between the two: the same bits.

    Args:
        x: As `conv1d_forward`; so are the two that follow.
        kernel: See there.
        bias: See there.
        pool_size: Of a pooling window, in timesteps of the convolution.
        pool_strides: From one window to the next; None for `pool_size`.
        pool_padding: "valid" or "same", as in `max_pool_forward`.
        activation: As `conv1d_forward`; so are the four that follow.
        strides: See there.
        padding: See there.
        dilation_rate: See there.
        groups: See there.
        save_argmax: Save what `conv1d_max_pool_backward` needs.

    Returns:
        A `MaxPoolResult`.

    Raises:
        ValueError: As `conv1d_forward` and `max_pool_forward`.
        TypeError: As `conv1d_forward` and `max_pool_forward`.

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
        result: What `conv1d_max_pool_forward` returned for the other arguments, with `save_argmax`.
        doutputs: (batch, pooled timesteps, filters), the loss's gradient by the outputs.
        x: As given to `conv1d_max_pool_forward`; so are all that follow.
        kernel: See there.
        bias: See there. Only whether it is given matters.
        pool_size: See there.
        pool_strides: See there.
        pool_padding: See there.
        activation: See there.
        strides: See there.
        padding: See there.
        dilation_rate: See there.
        groups: See there.

    Returns:
        A `Conv1DGradients`.

    Raises:
        ValueError: As `conv1d_max_pool_forward`.
        TypeError: As `conv1d_max_pool_forward`, or `result` is no `MaxPoolResult`.

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
    """The arguments as the core takes them, to which a `pool_size` of 0 is no pooling."""
    pool_size, strides = arguments["pool_size"], arguments["pool_strides"]
    if pool_size == 0:
        raise ValueError("pool_size must be at least 1, got 0")
    return {**arguments, "pool_strides": pool_size if strides is None else strides, **others}

"""The definition of the one-dimensional convolution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastseq.reference.activations import ACTIVATIONS, Float64


class Conv1DGradients(NamedTuple):
    """Gradients of a scalar loss, each of its input's shape."""

    dx: Float64
    dkernel: Float64
    dbias: Float64 | None


def _padding(timesteps: int, reach: int, strides: int, padding: str) -> tuple[int, int]:
    """How many steps of padding come before the sequence, and how many outputs there are.

    Args:
        timesteps: Of the sequence.
        reach: Steps from the first to the last tap of the kernel.
        strides: Steps from output to output.
        padding: "valid", "same" or "causal".
    """
    if padding == "valid":
        return 0, max(0, -(-(timesteps - reach) // strides))
    outputs = -(-timesteps // strides)
    if padding == "causal":
        return reach, outputs
    return max((outputs - 1) * strides + reach + 1 - timesteps, 0) // 2, outputs


class _Taps:
    """For every tap of the kernel, the outputs at which it meets a step of the sequence, and those steps.

    What it meets in the padding takes no part, even where the kernel or a gradient is infinite or NaN there.
    """

    def __init__(self, timesteps: int, width: int, strides: int, padding: str, dilation_rate: int):
        before, self.outputs = _padding(timesteps, dilation_rate * (width - 1), strides, padding)
        outputs = np.arange(self.outputs)
        met = [strides * outputs + k * dilation_rate - before for k in range(width)]
        inside = [(steps >= 0) & (steps < timesteps) for steps in met]
        self.places = [(outputs[on], steps[on]) for on, steps in zip(inside, met, strict=True)]


def conv1d_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Float64:
    """See `fastseq.functional.conv1d_forward` for the arguments.

    Returns:
        (batch, output timesteps, filters).
    """
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    taps = _Taps(x.shape[1], len(kernel), strides, padding, dilation_rate)
    z = np.zeros((len(x), taps.outputs, kernel.shape[2]))
    for (outputs, steps), weights in zip(taps.places, kernel, strict=True):
        inputs = np.split(x[:, steps], groups, axis=2)
        products = [a @ w for a, w in zip(inputs, np.split(weights, groups, axis=1), strict=True)]
        z[:, outputs] += np.concatenate(products, axis=2)
    if bias is not None:
        z += np.asarray(bias, np.float64)
    return np.asarray(ACTIVATIONS[activation].function(z))


def conv1d_backward(
    outputs: ArrayLike,
    doutputs: ArrayLike,
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Conv1DGradients:
    """See `fastseq.functional.conv1d_backward` for the arguments."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    taps = _Taps(x.shape[1], len(kernel), strides, padding, dilation_rate)
    dz = np.asarray(doutputs, np.float64) * ACTIVATIONS[activation].derivative(np.asarray(outputs, np.float64))
    dx = np.zeros_like(x)
    dkernel = np.zeros_like(kernel)
    for k, (places, steps) in enumerate(taps.places):
        weights = np.split(kernel[k], groups, axis=1)
        inputs = np.split(x[:, steps], groups, axis=2)
        dproducts = np.split(dz[:, places], groups, axis=2)
        dx[:, steps] += np.concatenate([d @ w.T for d, w in zip(dproducts, weights, strict=True)], axis=2)
        dkernel[k] = np.concatenate(
            [np.einsum("btc,btf->cf", a, d) for a, d in zip(inputs, dproducts, strict=True)], axis=1
        )
    return Conv1DGradients(dx, dkernel, None if bias is None else dz.sum((0, 1)))

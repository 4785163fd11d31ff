"""The definition of the one-dimensional convolution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastseq.reference.activations import ACTIVATIONS, Float64


class Conv1DGradients(NamedTuple):
    """The gradients of a scalar loss by the inputs, each in its input's shape."""

    dx: Float64
    dkernel: Float64
    dbias: Float64 | None


def _padding(timesteps: int, reach: int, strides: int, padding: str) -> tuple[int, int, int]:
    """The number of zeros before the sequence, of zeros after it, and of outputs.

    Args:
        timesteps: The number of timesteps of the sequence.
        reach: The distance of the last tap of the kernel from the first, in timesteps.
        strides: The distance between outputs, in timesteps.
        padding: "valid", "same" or "causal".
    """
    if padding == "valid":
        return 0, 0, max(0, -(-(timesteps - reach) // strides))
    outputs = -(-timesteps // strides)
    if padding == "causal":
        return reach, 0, outputs
    total = max((outputs - 1) * strides + reach + 1 - timesteps, 0)
    return total // 2, total - total // 2, outputs


class _Taps:
    """For every tap of the kernel, the steps of the padded sequence that it is multiplied with, one for each output."""

    def __init__(self, x: Float64, width: int, strides: int, padding: str, dilation_rate: int):
        self.before, after, self.outputs = _padding(x.shape[1], dilation_rate * (width - 1), strides, padding)
        self.padded = np.pad(x, ((0, 0), (self.before, after), (0, 0)))
        self.steps = [k * dilation_rate + strides * np.arange(self.outputs) for k in range(width)]


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
    taps = _Taps(x, len(kernel), strides, padding, dilation_rate)
    z = np.zeros((len(x), taps.outputs, kernel.shape[2]))
    for steps, weights in zip(taps.steps, kernel, strict=True):
        inputs = np.split(taps.padded[:, steps], groups, axis=2)
        z += np.concatenate([a @ w for a, w in zip(inputs, np.split(weights, groups, axis=1), strict=True)], axis=2)
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
    taps = _Taps(x, len(kernel), strides, padding, dilation_rate)
    dz = np.asarray(doutputs, np.float64) * ACTIVATIONS[activation].derivative(np.asarray(outputs, np.float64))
    dz_groups = np.split(dz, groups, axis=2)
    dpadded = np.zeros_like(taps.padded)
    dkernel = np.zeros_like(kernel)
    for k, steps in enumerate(taps.steps):
        weights = np.split(kernel[k], groups, axis=1)
        inputs = np.split(taps.padded[:, steps], groups, axis=2)
        dpadded[:, steps] += np.concatenate([d @ w.T for d, w in zip(dz_groups, weights, strict=True)], axis=2)
        dkernel[k] = np.concatenate(
            [np.einsum("btc,btf->cf", a, d) for a, d in zip(inputs, dz_groups, strict=True)], axis=1
        )
    dx = dpadded[:, taps.before : taps.before + x.shape[1]]
    return Conv1DGradients(dx, dkernel, None if bias is None else dz.sum((0, 1)))

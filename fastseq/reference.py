"""The definition of every operation, forward and backward, in plain float64 NumPy.

Written to be read and to be right, not to be fast: everything else in fastseq is tested against this module, and this
module against finite differences and stock Keras. Nothing here is used by the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def sigmoid(x: ArrayLike) -> Float64:
    """The logistic function 1 / (1 + exp(-x)), without overflow for any x."""
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1.0) / (1.0 + e))


@dataclass(frozen=True)
class LSTMForward:
    """What `lstm_forward` returns; dimensions as there."""

    outputs: Float64  # (batch, timesteps, units)
    last_output: Float64  # (batch, units)
    h_n: Float64  # (batch, units)
    c_n: Float64  # (batch, units)
    steps: tuple[dict[str, Any], ...]  # what backward needs of every step, in the order the steps are taken


@dataclass(frozen=True)
class LSTMGradients:
    """What `lstm_backward` returns: gradients of the loss by each input; dimensions as in `lstm_forward`."""

    dx: Float64
    dkernel: Float64
    drecurrent_kernel: Float64
    dbias: Float64
    dh0: Float64
    dc0: Float64


def _gate_factors(mask: ArrayLike | None, shape: tuple[int, int]) -> Float64:
    """Dropout factors as (4, batch, width), whether one or four of them or none are given."""
    if mask is None:
        return np.ones((4, *shape))
    return np.broadcast_to(np.asarray(mask, dtype=np.float64), (4, *shape))


def lstm_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    h0: ArrayLike | None = None,
    c0: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
) -> LSTMForward:
    """An LSTM with forget gate over a whole sequence, as `keras.layers.LSTM` computes it.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, 4 * units), gates in the order i, f, c, o.
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None for zero.
        h0: (batch, units), or None for zero.
        c0: (batch, units), or None for zero.
        mask: (batch, timesteps), bool. At a false step h and c stay as they are, and the output is the previous one
            (zero before the first true step) or, with `zero_output_for_mask`, zero.
        dropout_mask: (1 or 4, batch, inputs), factors of x for all gates or for each.
        recurrent_dropout_mask: (1 or 4, batch, units), factors of the previous h likewise.
        go_backwards: Take the steps from the last to the first; outputs are in the order the steps are taken in.
        zero_output_for_mask: See `mask`.

    Returns:
        An `LSTMForward`, all float64.

    References:
        Hochreiter and Schmidhuber 1997, "Long Short-Term Memory"; Gers, Schmidhuber and Cummins 2000, "Learning to
        Forget"; equations as in Graves 2013 (arXiv 1308.0850) without peepholes.
    """
    x = np.asarray(x, dtype=np.float64)
    kernel = np.asarray(kernel, dtype=np.float64)
    recurrent_kernel = np.asarray(recurrent_kernel, dtype=np.float64)
    batch, timesteps, inputs = x.shape
    units = recurrent_kernel.shape[0]
    bias = np.zeros(4 * units) if bias is None else np.asarray(bias, dtype=np.float64)
    h = np.zeros((batch, units)) if h0 is None else np.asarray(h0, dtype=np.float64)
    c = np.zeros((batch, units)) if c0 is None else np.asarray(c0, dtype=np.float64)
    mask = np.ones((batch, timesteps), bool) if mask is None else np.asarray(mask, dtype=bool)
    x_factors = _gate_factors(dropout_mask, (batch, inputs))
    h_factors = _gate_factors(recurrent_dropout_mask, (batch, units))
    kernels = np.split(kernel, 4, axis=1)
    recurrent_kernels = np.split(recurrent_kernel, 4, axis=1)
    biases = np.split(bias, 4)

    output = np.zeros((batch, units))
    outputs = np.zeros((batch, timesteps, units))
    steps = []
    for place, t in enumerate(reversed(range(timesteps)) if go_backwards else range(timesteps)):
        on = mask[:, t, None]
        x_t = np.where(on, x[:, t], 0.0)
        z = [
            (x_t * x_factors[g]) @ kernels[g] + (h * h_factors[g]) @ recurrent_kernels[g] + biases[g] for g in range(4)
        ]
        i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])
        new_c = f * c + i * g
        new_h = o * np.tanh(new_c)
        steps.append(
            {"t": t, "place": place, "on": on, "x": x_t, "h": h, "c": c, "gates": (i, f, g, o), "new_c": new_c}
        )
        output = np.where(on, new_h, 0.0 if zero_output_for_mask else output)
        outputs[:, place] = output
        h, c = np.where(on, new_h, h), np.where(on, new_c, c)
    return LSTMForward(outputs, output, h, c, tuple(steps))


def lstm_backward(
    forward: LSTMForward,
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    *,
    doutputs: ArrayLike | None = None,
    dlast_output: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
    dc_n: ArrayLike | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    zero_output_for_mask: bool = False,
) -> LSTMGradients:
    """Gradients of a scalar loss by every input of `lstm_forward`, by backpropagation through time.

    Args:
        forward: What `lstm_forward` returned for the same arguments.
        x: As given to `lstm_forward`.
        kernel: As given to `lstm_forward`.
        recurrent_kernel: As given to `lstm_forward`.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for the next three.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.
        dc_n: (batch, units), by `c_n`.
        dropout_mask: As given to `lstm_forward`.
        recurrent_dropout_mask: As given to `lstm_forward`.
        zero_output_for_mask: As given to `lstm_forward`.

    Returns:
        An `LSTMGradients`, all float64.

    References:
        Werbos 1990, "Backpropagation Through Time"; Graves 2013 (arXiv 1308.0850).
    """
    x = np.asarray(x, dtype=np.float64)
    kernel = np.asarray(kernel, dtype=np.float64)
    recurrent_kernel = np.asarray(recurrent_kernel, dtype=np.float64)
    batch, timesteps, inputs = x.shape
    units = recurrent_kernel.shape[0]

    def or_zero(gradient: ArrayLike | None, shape: tuple[int, ...]) -> Float64:
        return np.zeros(shape) if gradient is None else np.asarray(gradient, dtype=np.float64)

    by_outputs = or_zero(doutputs, (batch, timesteps, units))
    by_output = or_zero(dlast_output, (batch, units))  # by the output as the steps hand it on
    by_h = or_zero(dh_n, (batch, units))
    by_c = or_zero(dc_n, (batch, units))
    x_factors = _gate_factors(dropout_mask, (batch, inputs))
    h_factors = _gate_factors(recurrent_dropout_mask, (batch, units))
    kernels = np.split(kernel, 4, axis=1)
    recurrent_kernels = np.split(recurrent_kernel, 4, axis=1)

    dx = np.zeros_like(x)
    dkernels = [np.zeros_like(k) for k in kernels]
    drecurrent_kernels = [np.zeros_like(k) for k in recurrent_kernels]
    dbiases = [np.zeros(units) for _ in range(4)]
    for step in reversed(forward.steps):
        on = step["on"]
        i, f, g, o = step["gates"]
        by_output = by_output + by_outputs[:, step["place"]]
        tanh_c = np.tanh(step["new_c"])
        dh = np.where(on, by_h + by_output, 0.0)
        dc = np.where(on, by_c, 0.0) + dh * o * (1 - tanh_c**2)
        dz = (
            dc * g * i * (1 - i),
            dc * step["c"] * f * (1 - f),
            dc * i * (1 - g**2),
            dh * tanh_c * o * (1 - o),
        )
        before_h = np.zeros((batch, units))
        for k in range(4):
            dx[:, step["t"]] += (dz[k] @ kernels[k].T) * x_factors[k]
            before_h += (dz[k] @ recurrent_kernels[k].T) * h_factors[k]
            dkernels[k] += (step["x"] * x_factors[k]).T @ dz[k]
            drecurrent_kernels[k] += (step["h"] * h_factors[k]).T @ dz[k]
            dbiases[k] += dz[k].sum(axis=0)
        by_h = np.where(on, before_h, by_h)
        by_c = np.where(on, dc * f, by_c)
        by_output = np.where(on | zero_output_for_mask, 0.0, by_output)
    return LSTMGradients(
        dx,
        np.concatenate(dkernels, axis=1),
        np.concatenate(drecurrent_kernels, axis=1),
        np.concatenate(dbiases),
        by_h,
        by_c,
    )

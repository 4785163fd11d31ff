"""The definition of the recurrent layers.

One loop over time each way (`_forward`, `_backward`) defines masks, the order of steps, outputs, weights and dropout
factors for all recurrent layers. A cell defines what is between the products of x and the states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastseq.reference.activations import ACTIVATIONS, Activation, Float64

States = tuple[Float64, ...]  # h, or h and c: (batch, units) each


class _GateProducts:
    """(v * factors[g]) @ weights[g] + biases[g], for any gate g.

    Args:
        weights: (width, gates * units).
        bias: (gates * units,).
        factors: (1 or gates, batch, width), or None for one.
        gates: How many gates there are.
    """

    def __init__(self, weights: ArrayLike, bias: Float64, factors: ArrayLike | None, gates: int):
        self.weights = np.stack(np.split(np.asarray(weights, dtype=np.float64), gates, axis=1))
        self.biases = np.stack(np.split(bias, gates))
        factors = np.ones((1, 1, 1)) if factors is None else np.asarray(factors, dtype=np.float64)
        self.factors = np.broadcast_to(factors, (gates, *factors.shape[1:]))

    def __call__(self, gate: int, v: Float64) -> Float64:
        return np.asarray((v * self.factors[gate]) @ self.weights[gate] + self.biases[gate])


class _GateGradients:
    """Takes gradients by products back to v, and sums up what they mean for weights and biases."""

    def __init__(self, products: _GateProducts):
        self.products = products
        self.dweights = np.zeros_like(products.weights)
        self.dbiases = np.zeros_like(products.biases)
        self.on: NDArray[np.bool_] | bool = True  # (batch, 1): other rows take no part, whatever they hold

    def __call__(self, gate: int, v: Float64, dproduct: Float64) -> Float64:
        """The gradient by v, which was given to `products` for this gate."""
        factors = self.products.factors[gate]
        v, dproduct = np.where(self.on, v, 0.0), np.where(self.on, dproduct, 0.0)
        self.dweights[gate] += (v * factors).T @ dproduct
        self.dbiases[gate] += dproduct.sum(axis=0)
        return np.where(self.on, (dproduct @ self.products.weights[gate].T) * factors, 0.0)

    def by_weights(self) -> Float64:
        """(width, gates * units)."""
        return np.concatenate(self.dweights, axis=1)

    def by_bias(self) -> Float64:
        """(gates * units,)."""
        return self.dbiases.reshape(-1)


class _Cell(Protocol):
    """One step of a recurrent layer, between the products of x and the states."""

    @property
    def gates(self) -> int:
        """How many column blocks the weights have."""

    @property
    def biases(self) -> int:
        """1, or 2 where the products of h have a bias of their own."""

    def forward(
        self, x_products: list[Float64], h_product: _GateProducts, states: States
    ) -> tuple[States, tuple[Float64, ...]]:
        """The states after a step, and the values that `backward` wants to have again."""

    def backward(
        self, h_gradient: _GateGradients, states: States, values: tuple[Float64, ...], dstates: States
    ) -> tuple[tuple[Float64, ...], States]:
        """Gradients by the products of x and by the states before the step, from those by the states after it."""


class _Step(NamedTuple):
    t: int  # where x and the mask have it
    place: int  # where outputs have it: steps are numbered in the order they are taken
    on: NDArray[np.bool_]  # (batch, 1)
    x: Float64  # (batch, inputs), zero where not on
    states: States  # before the step
    values: tuple[Float64, ...]  # the cell's own


@dataclass(frozen=True)
class _Run:
    """What backward needs of forward: its arguments as they were used, and every step."""

    cell: _Cell
    x_product: _GateProducts
    h_product: _GateProducts
    x_shape: tuple[int, ...]
    zero_output_for_mask: bool
    h0_as_first_output: bool
    steps: list[_Step]


@dataclass(frozen=True)
class RNNForward:
    """What `gru_forward` and `simple_rnn_forward` return.

    Attributes:
        outputs: (batch, timesteps, units), in the order the steps are taken in.
        last_output: (batch, units), the output of the last step taken; the one before the first when there is none.
        h_n: (batch, units), the state after the last step.
        run: What backward needs.
    """

    outputs: Float64
    last_output: Float64
    h_n: Float64
    run: _Run


@dataclass(frozen=True)
class LSTMForward(RNNForward):
    """What `lstm_forward` returns.

    Attributes:
        c_n: (batch, units), the cell state after the last step.
    """

    c_n: Float64


@dataclass(frozen=True)
class RNNGradients:
    """What `gru_backward` and `simple_rnn_backward` return: the loss's gradient by each input, in its shape.

    The gradient by the bias is there whether or not one was given.
    """

    dx: Float64
    dkernel: Float64
    drecurrent_kernel: Float64
    dbias: Float64
    dh0: Float64


@dataclass(frozen=True)
class LSTMGradients(RNNGradients):
    """What `lstm_backward` returns: as `RNNGradients`, and by c0."""

    dc0: Float64


def _forward(
    cell: _Cell,
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None,
    initial_states: tuple[ArrayLike | None, ...],
    mask: ArrayLike | None,
    dropout_mask: ArrayLike | None,
    recurrent_dropout_mask: ArrayLike | None,
    go_backwards: bool,
    zero_output_for_mask: bool,
    h0_as_first_output: bool,
) -> tuple[Float64, Float64, States, _Run]:
    """A cell over a whole sequence: outputs, last output, final states, and what `_backward` needs."""
    x = np.asarray(x, dtype=np.float64)
    batch, timesteps, _ = x.shape
    units = np.shape(recurrent_kernel)[0]
    zeros = np.zeros((batch, units))
    states = tuple(zeros if state is None else np.asarray(state, dtype=np.float64) for state in initial_states)
    mask = np.ones((batch, timesteps), bool) if mask is None else np.asarray(mask, dtype=bool)
    biases = np.zeros((2, cell.gates * units))  # of the products of x and of those of h
    if bias is not None:
        biases[: cell.biases] = np.reshape(bias, (cell.biases, -1))
    x_product = _GateProducts(kernel, biases[0], dropout_mask, cell.gates)
    h_product = _GateProducts(recurrent_kernel, biases[1], recurrent_dropout_mask, cell.gates)

    output = states[0] if h0_as_first_output and not zero_output_for_mask else zeros
    outputs = np.zeros((batch, timesteps, units))
    steps = []
    for place, t in enumerate(reversed(range(timesteps)) if go_backwards else range(timesteps)):
        on = mask[:, t, None]
        x_t = np.where(on, x[:, t], 0.0)
        new_states, values = cell.forward([x_product(g, x_t) for g in range(cell.gates)], h_product, states)
        steps.append(_Step(t, place, on, x_t, states, values))
        output = np.where(on, new_states[0], 0.0 if zero_output_for_mask else output)
        outputs[:, place] = output
        states = tuple(np.where(on, new, old) for new, old in zip(new_states, states, strict=True))
    run = _Run(cell, x_product, h_product, x.shape, zero_output_for_mask, h0_as_first_output, steps)
    return outputs, output, states, run


def _backward(
    run: _Run, doutputs: ArrayLike | None, dlast_output: ArrayLike | None, dfinal_states: tuple[ArrayLike | None, ...]
) -> tuple[Float64, ...]:
    """Back through `_forward`: gradients by x, kernel, recurrent kernel, bias and each initial state."""
    cell = run.cell
    batch, timesteps, _ = run.x_shape
    units = run.h_product.weights.shape[-1]

    def or_zero(gradient: ArrayLike | None, *shape: int) -> Float64:
        return np.zeros(shape) if gradient is None else np.asarray(gradient, dtype=np.float64)

    by_outputs = or_zero(doutputs, batch, timesteps, units)
    by_output = or_zero(dlast_output, batch, units)  # by the output as the steps hand it on
    by_states = tuple(or_zero(gradient, batch, units) for gradient in dfinal_states)
    dx = np.zeros(run.x_shape)
    x_gradient, h_gradient = _GateGradients(run.x_product), _GateGradients(run.h_product)
    for step in reversed(run.steps):
        by_output = by_output + by_outputs[:, step.place]
        by_h, *by_others = by_states
        x_gradient.on = h_gradient.on = step.on
        dstates = tuple(np.where(step.on, gradient, 0.0) for gradient in (by_h + by_output, *by_others))
        dx_products, before = cell.backward(h_gradient, step.states, step.values, dstates)
        for g, dproduct in enumerate(dx_products):
            dx[:, step.t] += x_gradient(g, step.x, dproduct)
        by_states = tuple(np.where(step.on, new, old) for new, old in zip(before, by_states, strict=True))
        by_output = np.where(step.on | run.zero_output_for_mask, 0.0, by_output)
    if run.h0_as_first_output and not run.zero_output_for_mask:
        by_states = (by_states[0] + by_output, *by_states[1:])
    dbias = x_gradient.by_bias() if cell.biases == 1 else np.stack([x_gradient.by_bias(), h_gradient.by_bias()])
    return dx, x_gradient.by_weights(), h_gradient.by_weights(), dbias, *by_states


@dataclass(frozen=True)
class _LSTMCell:
    activation: Activation
    recurrent_activation: Activation
    gates = 4
    biases = 1

    def forward(
        self, x_products: list[Float64], h_product: _GateProducts, states: States
    ) -> tuple[States, tuple[Float64, ...]]:
        h, c = states
        i, f, o = (self.recurrent_activation.function(x_products[g] + h_product(g, h)) for g in (0, 1, 3))
        candidate = self.activation.function(x_products[2] + h_product(2, h))
        new_c = f * c + i * candidate
        activated_c = self.activation.function(new_c)
        return (o * activated_c, new_c), (i, f, candidate, o, activated_c)

    def backward(
        self, h_gradient: _GateGradients, states: States, values: tuple[Float64, ...], dstates: States
    ) -> tuple[tuple[Float64, ...], States]:
        h, c = states
        i, f, candidate, o, activated_c = values
        dh, dc = dstates
        dc = dc + dh * o * self.activation.derivative(activated_c)
        dproducts = (
            dc * candidate * self.recurrent_activation.derivative(i),
            dc * c * self.recurrent_activation.derivative(f),
            dc * i * self.activation.derivative(candidate),
            dh * activated_c * self.recurrent_activation.derivative(o),
        )
        before_h = np.zeros_like(h)
        for g, dproduct in enumerate(dproducts):
            before_h += h_gradient(g, h, dproduct)
        return dproducts, (before_h, dc * f)


@dataclass(frozen=True)
class _GRUCell:
    activation: Activation
    recurrent_activation: Activation
    reset_after: bool
    gates = 3

    @property
    def biases(self) -> int:
        return 2 if self.reset_after else 1

    def forward(
        self, x_products: list[Float64], h_product: _GateProducts, states: States
    ) -> tuple[States, tuple[Float64, ...]]:
        (h,) = states
        z, r = (self.recurrent_activation.function(x_products[g] + h_product(g, h)) for g in (0, 1))
        # What r resets: the product of h, or h on its way into it, where dropout factors commute with r.
        reset = h_product(2, h) if self.reset_after else h
        hh = self.activation.function(x_products[2] + (r * reset if self.reset_after else h_product(2, r * reset)))
        return (z * h + (1 - z) * hh,), (z, r, reset, hh)

    def backward(
        self, h_gradient: _GateGradients, states: States, values: tuple[Float64, ...], dstates: States
    ) -> tuple[tuple[Float64, ...], States]:
        (h,) = states
        z, r, reset, hh = values
        (dh,) = dstates
        dz = dh * (h - hh) * self.recurrent_activation.derivative(z)
        dhh = dh * (1 - z) * self.activation.derivative(hh)
        if self.reset_after:
            by_r = dhh * reset
            before_h = h_gradient(2, h, dhh * r)
        else:
            by_product = h_gradient(2, r * h, dhh)  # by r h
            by_r = by_product * reset
            before_h = by_product * r
        dr = by_r * self.recurrent_activation.derivative(r)
        before_h = before_h + dh * z + h_gradient(0, h, dz) + h_gradient(1, h, dr)
        return (dz, dr, dhh), (before_h,)


@dataclass(frozen=True)
class _SimpleRNNCell:
    activation: Activation
    gates = 1
    biases = 1

    def forward(
        self, x_products: list[Float64], h_product: _GateProducts, states: States
    ) -> tuple[States, tuple[Float64, ...]]:
        (h,) = states
        new_h = self.activation.function(x_products[0] + h_product(0, h))
        return (new_h,), (new_h,)

    def backward(
        self, h_gradient: _GateGradients, states: States, values: tuple[Float64, ...], dstates: States
    ) -> tuple[tuple[Float64, ...], States]:
        (h,), (new_h,), (dh,) = states, values, dstates
        dproduct = dh * self.activation.derivative(new_h)
        return (dproduct,), (h_gradient(0, h, dproduct),)


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
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
) -> LSTMForward:
    """An LSTM with forget gate over a whole sequence, as `keras.layers.LSTM` computes it.

    With a for `activation` and s for `recurrent_activation`, a step is i, f, o = s(...), candidate = a(...),
    c' = f c + i candidate, h' = o a(c').

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, 4 * units), gates in the order i, f, c, o.
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None for zero.
        h0: (batch, units), or None for zero.
        c0: (batch, units), or None for zero.
        mask: (batch, timesteps), bool. At a false step h and c stay as they are, and the output is the previous one
            or, with `zero_output_for_mask`, zero. Before the first true step the previous output is zero or, with
            `h0_as_first_output`, h0.
        dropout_mask: (1 or 4, batch, inputs), factors of x for all gates or for each.
        recurrent_dropout_mask: (1 or 4, batch, units), factors of the previous h likewise.
        activation: Of the candidate and of c in the output; a name in `ACTIVATIONS`.
        recurrent_activation: Of i, f and o; likewise.
        go_backwards: Take the steps from the last to the first; outputs are in the order the steps are taken in.
        zero_output_for_mask: See `mask`.
        h0_as_first_output: See `mask`.

    Returns:
        An `LSTMForward`, all float64.

    References:
        Hochreiter and Schmidhuber 1997, "Long Short-Term Memory"; Gers, Schmidhuber and Cummins 2000, "Learning to
        Forget"; equations as in Graves 2013 (arXiv 1308.0850) without peepholes.

    >>> import numpy as np
    >>> from fastseq.reference import lstm_forward
    >>> lstm_forward(np.ones((2, 5, 3)), np.ones((3, 16)), np.ones((4, 16))).outputs.shape
    (2, 5, 4)
    """
    cell = _LSTMCell(ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation])
    outputs, last_output, (h_n, c_n), run = _forward(
        cell,
        x,
        kernel,
        recurrent_kernel,
        bias,
        (h0, c0),
        mask,
        dropout_mask,
        recurrent_dropout_mask,
        go_backwards,
        zero_output_for_mask,
        h0_as_first_output,
    )
    return LSTMForward(outputs, last_output, h_n, run, c_n)


def lstm_backward(
    forward: LSTMForward,
    *,
    doutputs: ArrayLike | None = None,
    dlast_output: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
    dc_n: ArrayLike | None = None,
) -> LSTMGradients:
    """Gradients of a scalar loss by every input of `lstm_forward`, by backpropagation through time.

    Args:
        forward: What `lstm_forward` returned.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for all.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.
        dc_n: (batch, units), by `c_n`.

    Returns:
        An `LSTMGradients`, all float64.

    References:
        Werbos 1990, "Backpropagation Through Time"; Graves 2013 (arXiv 1308.0850).
    """
    return LSTMGradients(*_backward(forward.run, doutputs, dlast_output, (dh_n, dc_n)))


def gru_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    h0: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
) -> RNNForward:
    """A GRU over a whole sequence, as `keras.layers.GRU` computes it.

    With a for `activation` and s for `recurrent_activation`, K and b the kernel and the bias, R and b' the recurrent
    ones, and u the h that came in after its dropout factors, a step is z = s(x K_z + b_z + u R_z + b'_z), r likewise,
    hh = a(x K_h + b_h + r (u R_h + b'_h)), or without `reset_after` hh = a(x K_h + b_h + (r u) R_h) and no b',
    and h' = z h + (1 - z) hh. The h that z blends in has no dropout factors.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, 3 * units), gates in the order z, r, h.
        recurrent_kernel: (units, 3 * units).
        bias: With `reset_after` (2, 3 * units): of x's products, and of h's. Without it (3 * units,). None for zero.
        h0: (batch, units), or None for zero.
        mask: (batch, timesteps), bool. At a false step h stays as it is, and the output is the previous one or,
            with `zero_output_for_mask`, zero. Before the first true step the previous output is zero or, with
            `h0_as_first_output`, h0.
        dropout_mask: (1 or 3, batch, inputs), factors of x for all gates or for each.
        recurrent_dropout_mask: (1 or 3, batch, units), factors of the previous h likewise.
        activation: Of the candidate hh; a name in `ACTIVATIONS`.
        recurrent_activation: Of z and r; likewise.
        reset_after: Apply r after the product of h with its weights, not before.
        go_backwards: Take the steps from the last to the first; outputs are in the order the steps are taken in.
        zero_output_for_mask: See `mask`.
        h0_as_first_output: See `mask`.

    Returns:
        An `RNNForward`, all float64.

    References:
        Cho et al. 2014 (arXiv 1406.1078); `reset_after` as cuDNN has it (NVIDIA, "cuDNN API Reference",
        `CUDNN_GRU`).

    >>> import numpy as np
    >>> from fastseq.reference import gru_forward
    >>> gru_forward(np.ones((2, 5, 3)), np.ones((3, 12)), np.ones((4, 12))).outputs.shape
    (2, 5, 4)
    """
    cell = _GRUCell(ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation], reset_after)
    outputs, last_output, (h_n,), run = _forward(
        cell,
        x,
        kernel,
        recurrent_kernel,
        bias,
        (h0,),
        mask,
        dropout_mask,
        recurrent_dropout_mask,
        go_backwards,
        zero_output_for_mask,
        h0_as_first_output,
    )
    return RNNForward(outputs, last_output, h_n, run)


def gru_backward(
    forward: RNNForward,
    *,
    doutputs: ArrayLike | None = None,
    dlast_output: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
) -> RNNGradients:
    """Gradients of a scalar loss by every input of `gru_forward`, by backpropagation through time.

    Args:
        forward: What `gru_forward` returned.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for all.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.

    Returns:
        An `RNNGradients`, all float64.

    References:
        Werbos 1990, "Backpropagation Through Time"; Cho et al. 2014 (arXiv 1406.1078).
    """
    return RNNGradients(*_backward(forward.run, doutputs, dlast_output, (dh_n,)))


def simple_rnn_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    h0: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    activation: str = "tanh",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
) -> RNNForward:
    """A fully connected recurrent layer over a whole sequence, as `keras.layers.SimpleRNN` computes it.

    A step is h' = activation(x kernel + bias + h recurrent_kernel).

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, units).
        recurrent_kernel: (units, units).
        bias: (units,), or None for zero.
        h0: (batch, units), or None for zero.
        mask: (batch, timesteps), bool. At a false step h stays as it is, and the output is the previous one or,
            with `zero_output_for_mask`, zero. Before the first true step the previous output is zero or, with
            `h0_as_first_output`, h0.
        dropout_mask: (1, batch, inputs), factors of x.
        recurrent_dropout_mask: (1, batch, units), factors of the previous h.
        activation: A name in `ACTIVATIONS`.
        go_backwards: Take the steps from the last to the first; outputs are in the order the steps are taken in.
        zero_output_for_mask: See `mask`.
        h0_as_first_output: See `mask`.

    Returns:
        An `RNNForward`, all float64.

    References:
        Elman 1990, "Finding Structure in Time".

    >>> import numpy as np
    >>> from fastseq.reference import simple_rnn_forward
    >>> simple_rnn_forward(np.ones((2, 5, 3)), np.ones((3, 4)), np.ones((4, 4))).outputs.shape
    (2, 5, 4)
    """
    outputs, last_output, (h_n,), run = _forward(
        _SimpleRNNCell(ACTIVATIONS[activation]),
        x,
        kernel,
        recurrent_kernel,
        bias,
        (h0,),
        mask,
        dropout_mask,
        recurrent_dropout_mask,
        go_backwards,
        zero_output_for_mask,
        h0_as_first_output,
    )
    return RNNForward(outputs, last_output, h_n, run)


def simple_rnn_backward(
    forward: RNNForward,
    *,
    doutputs: ArrayLike | None = None,
    dlast_output: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
) -> RNNGradients:
    """Gradients of a scalar loss by every input of `simple_rnn_forward`, by backpropagation through time.

    Args:
        forward: What `simple_rnn_forward` returned.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for all.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.

    Returns:
        An `RNNGradients`, all float64.

    References:
        Werbos 1990, "Backpropagation Through Time".
    """
    return RNNGradients(*_backward(forward.run, doutputs, dlast_output, (dh_n,)))

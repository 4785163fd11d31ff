"""LSTM, GRU and SimpleRNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastseq.functional.arrays import FloatArray, MaskArray
from fastseq.functional.devices import compute

__all__ = [
    "LSTMGradients",
    "LSTMResult",
    "RNNGradients",
    "RNNResult",
    "RNNWorkspace",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "simple_rnn_backward",
    "simple_rnn_forward",
]


@dataclass(frozen=True)
class RNNWorkspace:
    """What a forward function saves for its backward function. Undefined at masked steps.

    Attributes:
        values: (batch, timesteps, saved * units) by time, blocks of `units` side by side. LSTM: the activations of i,
            f, c, o, the cell state c and the hidden state. GRU: z, r, the candidate, the hidden state and, with
            `reset_after`, the recurrent part of the candidate. SimpleRNN: the hidden state.
    """

    values: FloatArray


@dataclass(frozen=True)
class RNNResult:
    """What `gru_forward` and `simple_rnn_forward` return.

    Attributes:
        outputs: (batch, timesteps, units) in the order the steps are taken in; None without `return_sequences`.
        last_output: (batch, units), the output of the last step taken; the one before the first when there is none.
        h_n: (batch, units), the hidden state after the last step.
        workspace: For the backward function; None without `save_workspace`.
    """

    outputs: FloatArray | None
    last_output: FloatArray
    h_n: FloatArray
    workspace: RNNWorkspace | None


@dataclass(frozen=True)
class LSTMResult(RNNResult):
    """What `lstm_forward` returns.

    Attributes:
        c_n: (batch, units), the cell state after the last step; for the others see `RNNResult`.
    """

    c_n: FloatArray


@dataclass(frozen=True)
class RNNGradients:
    """What `gru_backward` and `simple_rnn_backward` return: the loss's gradient by each input."""

    dx: FloatArray
    dkernel: FloatArray
    drecurrent_kernel: FloatArray
    dbias: FloatArray | None  # None without bias
    dh0: FloatArray


@dataclass(frozen=True)
class LSTMGradients(RNNGradients):
    """What `lstm_backward` returns: `RNNGradients` and the gradient by c0."""

    dc0: FloatArray


def lstm_forward(
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    mask: MaskArray | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    return_sequences: bool = True,
    save_workspace: bool = True,
) -> LSTMResult:
    """An LSTM over a whole sequence, as `keras.layers.LSTM` computes it.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, 4 * units), gates in the order i, f, c, o.
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None for zero.
        h0: (batch, units), the initial hidden state, or None for zero.
        c0: (batch, units), the initial cell state, or None for zero.
        mask: (batch, timesteps), bool, of any pattern. At a false step the state stays and the output repeats the
            row's previous one or, with `zero_output_for_mask`, is zero. Before the first true step the previous output
            is zero, as in Keras on TensorFlow, or h0 with `h0_as_first_output`, as in Keras on JAX. What x holds at a
            false step, NaN included, is never used.
        dropout_mask: (1 or 4, batch, inputs), factors of x for all gates or for each of i, f, c, o.
        recurrent_dropout_mask: (1 or 4, batch, units), factors of the previous h likewise.
        activation: Of the candidate and of c: "tanh", "sigmoid", "hard_sigmoid", "relu" or "linear".
        recurrent_activation: Of i, f and o: one of the same.
        go_backwards: Take the steps from the last to the first; outputs are in the order the steps are taken in.
        zero_output_for_mask: See `mask`.
        h0_as_first_output: See `mask`.
        return_sequences: Return the output of every step, not only the last.
        save_workspace: Save what `lstm_backward` needs: 6 * units elements per row and step.

    Returns:
        An `LSTMResult`.

    Raises:
        ValueError: A shape does not fit, an array is not C-contiguous, or an activation is none of the above.
        TypeError: An argument is no array, or its dtype is none of the above or differs from x's.

    References:
        Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000. The exact definition is
        `fastseq.reference.lstm_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import lstm_forward
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2, 5, 3), dtype=np.float32)
    >>> kernel = rng.standard_normal((3, 16), dtype=np.float32)
    >>> recurrent_kernel = rng.standard_normal((4, 16), dtype=np.float32)
    >>> lstm_forward(x, kernel, recurrent_kernel).outputs.shape
    (2, 5, 4)
    """
    return LSTMResult(**_forward("lstm_forward", locals()))


def lstm_backward(
    workspace: RNNWorkspace,
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    doutputs: FloatArray | None = None,
    dlast_output: FloatArray | None = None,
    dh_n: FloatArray | None = None,
    dc_n: FloatArray | None = None,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    mask: MaskArray | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
) -> LSTMGradients:
    """Gradients of a scalar loss by every input of `lstm_forward`.

    Args:
        workspace: From `lstm_forward`, called with the same arguments as are given here.
        x: As `lstm_forward`, and so for all arguments not named below.
        kernel: As `lstm_forward`.
        recurrent_kernel: As `lstm_forward`.
        bias: As `lstm_forward`; only whether there is one matters.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for the next three.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.
        dc_n: (batch, units), by `c_n`.
        h0: As `lstm_forward`.
        c0: As `lstm_forward`.
        mask: As `lstm_forward`.
        dropout_mask: As `lstm_forward`.
        recurrent_dropout_mask: As `lstm_forward`.
        activation: As `lstm_forward`.
        recurrent_activation: As `lstm_forward`.
        go_backwards: As `lstm_forward`.
        zero_output_for_mask: As `lstm_forward`.
        h0_as_first_output: As `lstm_forward`.

    Returns:
        An `LSTMGradients`. dx is zero at masked steps.

    Raises:
        ValueError: As `lstm_forward`.
        TypeError: As `lstm_forward`, or `workspace` is not an `RNNWorkspace`.

    References:
        Werbos 1990, "Backpropagation Through Time". The exact definition is `fastseq.reference.lstm_backward`.
    """
    return LSTMGradients(**_backward("lstm_backward", locals()))


def gru_forward(
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    h0: FloatArray | None = None,
    mask: MaskArray | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    return_sequences: bool = True,
    save_workspace: bool = True,
) -> RNNResult:
    """A GRU over a whole sequence, as `keras.layers.GRU` computes it.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, 3 * units), gates in the order z, r, h.
        recurrent_kernel: (units, 3 * units).
        bias: (2, 3 * units) with `reset_after`, of the input and of the recurrent product; (3 * units,) without; or
            None for zero.
        h0: (batch, units), the initial hidden state, or None for zero.
        mask: As `lstm_forward`.
        dropout_mask: (1 or 3, batch, inputs), factors of x for all gates or for each of z, r, h.
        recurrent_dropout_mask: (1 or 3, batch, units), factors of the previous h in its products likewise; what the
            update gate keeps of h is not dropped.
        activation: Of the candidate: "tanh", "sigmoid", "hard_sigmoid", "relu" or "linear".
        recurrent_activation: Of z and r: one of the same.
        reset_after: Whether r scales the product of h with the recurrent kernel, or h before the product.
        go_backwards: As `lstm_forward`.
        zero_output_for_mask: As `lstm_forward`.
        h0_as_first_output: As `lstm_forward`.
        return_sequences: As `lstm_forward`.
        save_workspace: Save what `gru_backward` needs: 5 * units elements per row and step, 4 * units without
            `reset_after`.

    Returns:
        An `RNNResult`.

    Raises:
        ValueError: As `lstm_forward`.
        TypeError: As `lstm_forward`.

    References:
        Cho et al. 2014 (arXiv 1406.1078). The exact definition is `fastseq.reference.gru_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import gru_forward
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2, 5, 3), dtype=np.float32)
    >>> kernel = rng.standard_normal((3, 12), dtype=np.float32)
    >>> recurrent_kernel = rng.standard_normal((4, 12), dtype=np.float32)
    >>> gru_forward(x, kernel, recurrent_kernel).outputs.shape
    (2, 5, 4)
    """
    return RNNResult(**_forward("gru_forward", locals()))


def gru_backward(
    workspace: RNNWorkspace,
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    doutputs: FloatArray | None = None,
    dlast_output: FloatArray | None = None,
    dh_n: FloatArray | None = None,
    h0: FloatArray | None = None,
    mask: MaskArray | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
) -> RNNGradients:
    """Gradients of a scalar loss by every input of `gru_forward`.

    Args:
        workspace: From `gru_forward`, called with the same arguments as are given here.
        x: As `gru_forward`, and so for all arguments not named below.
        kernel: As `gru_forward`.
        recurrent_kernel: As `gru_forward`.
        bias: As `gru_forward`; only whether there is one matters.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for the next two.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.
        h0: As `gru_forward`.
        mask: As `gru_forward`.
        dropout_mask: As `gru_forward`.
        recurrent_dropout_mask: As `gru_forward`.
        activation: As `gru_forward`.
        recurrent_activation: As `gru_forward`.
        reset_after: As `gru_forward`.
        go_backwards: As `gru_forward`.
        zero_output_for_mask: As `gru_forward`.
        h0_as_first_output: As `gru_forward`.

    Returns:
        An `RNNGradients`. dx is zero at masked steps.

    Raises:
        ValueError: As `lstm_forward`.
        TypeError: As `lstm_backward`.

    References:
        Werbos 1990, "Backpropagation Through Time". The exact definition is `fastseq.reference.gru_backward`.
    """
    return RNNGradients(**_backward("gru_backward", locals()))


def simple_rnn_forward(
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    h0: FloatArray | None = None,
    mask: MaskArray | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    activation: str = "tanh",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    return_sequences: bool = True,
    save_workspace: bool = True,
) -> RNNResult:
    """A fully connected RNN over a whole sequence, as `keras.layers.SimpleRNN` computes it.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, units).
        recurrent_kernel: (units, units).
        bias: (units,), or None for zero.
        h0: (batch, units), the initial hidden state, or None for zero.
        mask: As `lstm_forward`.
        dropout_mask: (1, batch, inputs), factors of x.
        recurrent_dropout_mask: (1, batch, units), factors of the previous h.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu" or "linear".
        go_backwards: As `lstm_forward`.
        zero_output_for_mask: As `lstm_forward`.
        h0_as_first_output: As `lstm_forward`.
        return_sequences: As `lstm_forward`.
        save_workspace: Save what `simple_rnn_backward` needs: `units` elements per row and step.

    Returns:
        An `RNNResult`.

    Raises:
        ValueError: As `lstm_forward`.
        TypeError: As `lstm_forward`.

    References:
        Elman 1990, "Finding Structure in Time". The exact definition is `fastseq.reference.simple_rnn_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import simple_rnn_forward
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2, 5, 3), dtype=np.float32)
    >>> kernel = rng.standard_normal((3, 4), dtype=np.float32)
    >>> recurrent_kernel = rng.standard_normal((4, 4), dtype=np.float32)
    >>> simple_rnn_forward(x, kernel, recurrent_kernel).outputs.shape
    (2, 5, 4)
    """
    return RNNResult(**_forward("simple_rnn_forward", locals()))


def simple_rnn_backward(
    workspace: RNNWorkspace,
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    doutputs: FloatArray | None = None,
    dlast_output: FloatArray | None = None,
    dh_n: FloatArray | None = None,
    h0: FloatArray | None = None,
    mask: MaskArray | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    activation: str = "tanh",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
) -> RNNGradients:
    """Gradients of a scalar loss by every input of `simple_rnn_forward`.

    Args:
        workspace: From `simple_rnn_forward`, called with the same arguments as are given here.
        x: As `simple_rnn_forward`, and so for all arguments not named below.
        kernel: As `simple_rnn_forward`.
        recurrent_kernel: As `simple_rnn_forward`.
        bias: As `simple_rnn_forward`; only whether there is one matters.
        doutputs: (batch, timesteps, units), the loss's gradient by `outputs`; None for zero, as for the next two.
        dlast_output: (batch, units), by `last_output`.
        dh_n: (batch, units), by `h_n`.
        h0: As `simple_rnn_forward`.
        mask: As `simple_rnn_forward`.
        dropout_mask: As `simple_rnn_forward`.
        recurrent_dropout_mask: As `simple_rnn_forward`.
        activation: As `simple_rnn_forward`.
        go_backwards: As `simple_rnn_forward`.
        zero_output_for_mask: As `simple_rnn_forward`.
        h0_as_first_output: As `simple_rnn_forward`.

    Returns:
        An `RNNGradients`. dx is zero at masked steps.

    Raises:
        ValueError: As `lstm_forward`.
        TypeError: As `lstm_backward`.

    References:
        Werbos 1990, "Backpropagation Through Time". The exact definition is `fastseq.reference.simple_rnn_backward`.
    """
    return RNNGradients(**_backward("simple_rnn_backward", locals()))


def _forward(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    results = compute(operation, arguments)
    saved = results["workspace"]
    return results | {"workspace": None if saved is None else RNNWorkspace(saved)}


def _backward(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    workspace = arguments["workspace"]
    if not isinstance(workspace, RNNWorkspace):
        forward = operation.replace("backward", "forward")
        raise TypeError(
            f"workspace must be the RNNWorkspace of {forward}(..., save_workspace=True), got {type(workspace).__name__}"
        )
    return compute(operation, {**arguments, "workspace": workspace.values})

"""The operations over NumPy arrays, with no framework in between.

Arrays are float32 or float64, all of one call alike, C-contiguous, and are neither copied nor cast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastseq._libraries import core as _core

__all__ = ["LSTMGradients", "LSTMResult", "LSTMWorkspace", "lstm_backward", "lstm_forward"]

FloatArray = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class LSTMWorkspace:
    """What `lstm_forward` saves for `lstm_backward`. Undefined at masked steps.

    Attributes:
        gates: (batch, timesteps, 4 * units), activations of i, f, c, o by time.
        cells: (batch, timesteps, units), c by time.
    """

    gates: FloatArray
    cells: FloatArray


@dataclass(frozen=True)
class LSTMResult:
    """What `lstm_forward` returns.

    Attributes:
        outputs: (batch, timesteps, units) in the order the steps are taken in; None without `return_sequences`.
        last_output: (batch, units), the output of the last step taken; zero when there is none.
        h_n: (batch, units), the hidden state after the last step.
        c_n: (batch, units), the cell state after the last step.
        workspace: For `lstm_backward`; None without `save_workspace`.
    """

    outputs: FloatArray | None
    last_output: FloatArray
    h_n: FloatArray
    c_n: FloatArray
    workspace: LSTMWorkspace | None


@dataclass(frozen=True)
class LSTMGradients:
    """What `lstm_backward` returns: the loss's gradient by each input, in that input's shape and dtype."""

    dx: FloatArray
    dkernel: FloatArray
    drecurrent_kernel: FloatArray
    dbias: FloatArray | None  # None without bias
    dh0: FloatArray
    dc0: FloatArray


def lstm_forward(
    x: FloatArray,
    kernel: FloatArray,
    recurrent_kernel: FloatArray,
    bias: FloatArray | None = None,
    *,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    mask: NDArray[np.bool_] | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    return_sequences: bool = True,
    save_workspace: bool = True,
) -> LSTMResult:
    """An LSTM over a whole sequence: `keras.layers.LSTM` with tanh and sigmoid.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, 4 * units), gates in the order i, f, c, o.
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None for zero.
        h0: (batch, units), the initial hidden state, or None for zero.
        c0: (batch, units), the initial cell state, or None for zero.
        mask: (batch, timesteps), bool, of any pattern. At a false step the state stays and the output repeats the
            row's previous one (zero before the first true step) or, with `zero_output_for_mask`, is zero. What x
            holds there, NaN included, is never used.
        dropout_mask: (1 or 4, batch, inputs), factors of x for all gates or for each of i, f, c, o.
        recurrent_dropout_mask: (1 or 4, batch, units), factors of the previous h likewise.
        go_backwards: Take the steps from the last to the first; outputs are in the order the steps are taken in.
        zero_output_for_mask: See `mask`.
        return_sequences: Return the output of every step, not only the last.
        save_workspace: Save what `lstm_backward` needs: 5 * units elements per row and step.

    Returns:
        An `LSTMResult`.

    Raises:
        ValueError: A shape does not fit, or an array is not C-contiguous.
        TypeError: An array is no NumPy array, or its dtype is none of the above or differs from x's.

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
    outputs, last_output, h_n, c_n, gates, cells = _core.lstm_forward(
        x,
        kernel,
        recurrent_kernel,
        bias,
        h0,
        c0,
        mask,
        dropout_mask,
        recurrent_dropout_mask,
        go_backwards,
        zero_output_for_mask,
        return_sequences,
        save_workspace,
    )
    workspace = None if gates is None or cells is None else LSTMWorkspace(gates, cells)
    return LSTMResult(outputs, last_output, h_n, c_n, workspace)


def lstm_backward(
    workspace: LSTMWorkspace,
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
    mask: NDArray[np.bool_] | None = None,
    dropout_mask: FloatArray | None = None,
    recurrent_dropout_mask: FloatArray | None = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
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
        go_backwards: As `lstm_forward`.
        zero_output_for_mask: As `lstm_forward`.

    Returns:
        An `LSTMGradients`. dx is zero at masked steps.

    Raises:
        ValueError: A shape does not fit, or an array is not C-contiguous.
        TypeError: As `lstm_forward`, or `workspace` is not an `LSTMWorkspace`.

    References:
        Werbos 1990, "Backpropagation Through Time". The exact definition is `fastseq.reference.lstm_backward`.
    """
    if not isinstance(workspace, LSTMWorkspace):
        raise TypeError(
            f"workspace must be the LSTMWorkspace of lstm_forward(..., save_workspace=True), "
            f"got {type(workspace).__name__}"
        )
    return LSTMGradients(
        *_core.lstm_backward(
            x,
            kernel,
            recurrent_kernel,
            bias,
            h0,
            c0,
            mask,
            dropout_mask,
            recurrent_dropout_mask,
            go_backwards,
            zero_output_for_mask,
            workspace.gates,
            workspace.cells,
            doutputs,
            dlast_output,
            dh_n,
            dc_n,
        )
    )

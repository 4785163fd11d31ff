"""Shared base class of the fast recurrent layers, which overrides `keras.layers.RNN.inner_loop`; and FastRNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fastseq.keras import backend
from fastseq.keras.cells import gives_logits, native_cell, no_native_cell_because
from fastseq.keras.native import NativeChoice, replacement_for
from fastseq.keras.tensors import cast, native_dtype, native_tensors, rank


def unrolled_reason(layer: Any, mask: Any | None) -> str | None:
    """Why the kernels cannot compute a call of a layer with `unroll`, or None if they can."""
    if mask is None or not layer.unroll or not layer.zero_output_for_mask:
        return None
    # Backward, stock Keras's unrolled loop takes the outputs for the masks of other steps; on JAX it sets none to zero.
    if keras.backend.backend() != "jax" and not layer.go_backwards:
        return None
    return "unroll must be False with zero_output_for_mask=True and a mask: stock Keras sets other outputs to zero then"


def _call_reason(states: Sequence[Any], mask: Any | None) -> str | None:
    """Why the kernels cannot compute a call, or None if they can."""
    if mask is not None and len(mask.shape) == 3 and mask.shape[-1] != 1:
        return "mask must not differ between units"
    for state in states:
        if rank(state) not in (None, 2):
            return f"initial_state must have 2 dimensions, got {rank(state)}"
    return None


def _for_every_row(tensor: Any, x: Any) -> Any:
    """Repeats a tensor of one row for each row of x, as broadcasting in Keras's own loop does; others are unchanged."""
    if tensor.shape[0] != 1 or x.shape[0] == 1:
        return tensor
    return ops.broadcast_to(tensor, (ops.shape(x)[0], ops.shape(tensor)[1]))


def _factors(dropout_mask: Any | None, x: Any, dtype: str) -> Any | None:
    """Converts Keras's dropout mask, a tensor for all gates or a list with one for each, to (gates, batch, width)."""
    if dropout_mask is None:
        return None
    masks = dropout_mask if isinstance(dropout_mask, (list, tuple)) else [dropout_mask]
    # For a nested list of states, Keras makes masks with an additional dimension.
    masks = [ops.squeeze(one, 0) if rank(one) == 3 else one for one in masks]
    return cast(ops.stack([_for_every_row(one, x) for one in masks]), native_dtype(dtype))


class NativeRNN(NativeChoice):
    """A mixin for subclasses of Keras's recurrent layers: overrides `inner_loop`, and nothing else."""

    native_op = "rnn"
    cell: Any
    go_backwards: Any
    return_sequences: Any
    unroll: Any
    zero_output_for_mask: Any

    def _not_native_because(self) -> str | None:
        reason = no_native_cell_because(self.cell)
        if reason is None and self.unroll and not self.return_sequences and gives_logits(self.cell):
            # In this case the stock layer's output is the tensor that the sigmoid returned, with the logits attached.
            return "unroll must be False where the output is that of a sigmoid, got True"
        return reason

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """See `keras.layers.RNN.inner_loop`, which computes all steps of a sequence."""
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        states = self._states(initial_state)
        if not self._runs_native(_call_reason(states, mask) or unrolled_reason(self, mask)):
            return super().inner_loop(sequences, initial_state, mask, training=training)  # type: ignore[misc]
        cell, native = self.cell, native_cell(self.cell)
        assert native is not None
        self._check_number(states)
        dtype = cell.compute_dtype
        x = ops.cast(sequences, dtype)
        states = [ops.convert_to_tensor(state) for state in states]
        if mask is not None:
            mask = ops.cast(mask, "bool")
            mask = _for_every_row(ops.squeeze(mask, -1) if rank(mask) == 3 else mask, x)
        # RNN.call has already drawn the masks that the cell returns, so the random numbers are the stock layer's.
        drops = training and native.drops(cell.dropout)
        drops_recurrent = training and native.drops(cell.recurrent_dropout)
        inputs = [
            *native_tensors([x, cell.kernel, cell.recurrent_kernel, native.bias(cell)], dtype),
            *native_tensors([_for_every_row(state, x) for state in states], dtype),
            mask,
            _factors(cell.get_dropout_mask(sequences[:, 0, :]) if drops else None, x, dtype),
            _factors(cell.get_recurrent_dropout_mask(states[0]) if drops_recurrent else None, x, dtype),
        ]
        settings = ("go_backwards", "zero_output_for_mask", "return_sequences")
        # With `unroll`, stock Keras runs the same loop on all backends.
        first_output = {"h0_as_first_output": backend.load().h0_as_first_output and not self.unroll}
        last_output, outputs, states = backend.load().rnn(
            native.name,
            inputs,
            options=native.options(cell) | {name: bool(getattr(self, name)) for name in settings} | first_output,
            training=bool(training),
        )
        if not self.return_sequences:
            outputs = ops.expand_dims(last_output, 1)
        last_output, outputs, *states = (cast(one, dtype) for one in (last_output, outputs, *states))
        return last_output, outputs, states

    def _states(self, initial_state: Any) -> list[Any]:
        """The states in `initial_state` that the stock layer uses."""
        return list(initial_state) if keras.tree.is_nested(initial_state) else [initial_state]

    def _check_number(self, states: list[Any]) -> None:
        expected = len(self.state_size)  # type: ignore[attr-defined]
        nested = any(keras.tree.is_nested(state) for state in states)
        if nested or len(states) != expected:
            tensors = "1 tensor" if expected == 1 else f"{expected} tensors"
            raise ValueError(
                f"initial_state must have {tensors}, one for each state of layer '{self.name}', "
                f"got {'nested lists' if nested else len(states)}"
            )


@replacement_for(keras.layers.RNN, overridden=["inner_loop"])
class FastRNN(NativeRNN, keras.layers.RNN):  # type: ignore[misc]
    """`keras.layers.RNN` of an `LSTMCell`, a `GRUCell` or a `SimpleRNNCell`, several times as fast on a CPU.

    Takes every argument of the stock layer, has the same weights under the same names, and computes the same results in
    all of its modes. Everything that `FastLSTM` documents also holds here. With any other cell, including subclasses of
    these and stacked cells, it runs on stock Keras.

    Args:
        cell: The cell.
        use_native: `"auto"`, `True` or `False`, as in `FastLSTM`.
        **kwargs: All other arguments of `keras.layers.RNN`.

    Call arguments:
        sequences: (batch, timesteps, features).
        mask: (batch, timesteps), bool: true where a step counts. A masked step costs no time and is never read.
        training: Whether `dropout` and `recurrent_dropout` of the cell apply.
        initial_state: A list of the cell's states, each (batch, units).

    Raises:
        ValueError: As `keras.layers.RNN`, or as said under `use_native` of `FastLSTM`.

    >>> import keras
    >>> import numpy as np
    >>> from fastseq.keras import FastRNN
    >>> layer = FastRNN(keras.layers.GRUCell(4), return_sequences=True)
    >>> tuple(layer(np.zeros((2, 5, 3), "float32")).shape)
    (2, 5, 4)
    """

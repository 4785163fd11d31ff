"""The recurrent operations."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow import formulas
from fastseq.keras.backend.tensorflow.library import (
    attributes,
    attributes_of,
    backward,
    native_dtype,
    ops,
    options_of,
    or_absent,
    or_none,
    or_zeros,
)

# Cell -> forward and backward operation.
_FORWARD = {
    "lstm": ops.fastseq_lstm_forward,
    "gru": ops.fastseq_gru_forward,
    "simple_rnn": ops.fastseq_simple_rnn_forward,
}
_BACKWARD = {
    "lstm": ops.fastseq_lstm_backward,
    "gru": ops.fastseq_gru_backward,
    "simple_rnn": ops.fastseq_simple_rnn_backward,
}


def _for_every_row(tensor: Any, x: Any) -> Any:
    """A tensor of one row repeated for each row of x, as Keras's own loop would broadcast it; others as they are."""
    if tensor.shape[0] != 1 or x.shape[0] == 1:
        return tensor
    return tf.broadcast_to(tensor, [tf.shape(x)[0], tf.shape(tensor)[1]])


def _factors(mask: Any | None, x: Any, dtype: tf.DType) -> Any:
    """Keras's dropout mask, one tensor for all gates or a list with one for each, as (gates, batch, width)."""
    if mask is None:
        return or_absent(None, 3, dtype)
    masks = mask if isinstance(mask, (list, tuple)) else [mask]
    # Of a nested list of states, Keras makes masks with a dimension more.
    masks = [tf.squeeze(one, 0) if one.shape.rank == 3 else one for one in masks]
    return tf.cast(tf.stack([_for_every_row(one, x) for one in masks]), dtype)


def rnn(
    cell: str,
    x: Any,
    initial_state: list[Any],
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any | None,
    mask: Any | None,
    dropout_mask: Any | None,
    recurrent_dropout_mask: Any | None,
    *,
    options: dict[str, Any],
    return_sequences: bool,
    training: bool,
) -> tuple[Any, Any, list[Any]]:
    """What Keras's `RNN.inner_loop` returns: (last_output, outputs, states); see `fastseq.functional`.

    Args:
        cell: "lstm", "gru" or "simple_rnn".
        x: (batch, timesteps, inputs).
        initial_state: h0 and, of an LSTM, c0: each (batch or 1, units).
        kernel: (inputs, gates * units).
        recurrent_kernel: (units, gates * units).
        bias: As the cell's weight, or None.
        mask: (batch or 1, timesteps) or (batch or 1, timesteps, 1), or None.
        dropout_mask: (batch, inputs), a list of one of these for each gate, or None.
        recurrent_dropout_mask: (batch or 1, units), a list of one of these for each gate, or None.
        options: The keyword options of the cell's forward function in `fastseq.functional`, all of them: activations,
            `go_backwards`, `zero_output_for_mask`, `reset_after` of a GRU.
        return_sequences: Whether `outputs` is (batch, timesteps, units); else it is (batch, 1, units).
        training: Whether a gradient is likely to be asked for. It can be either way: what it needs is saved or, if
            this was false, computed again.

    Returns:
        Tensors of x's dtype.
    """
    dtype = native_dtype(x)

    def native(tensor: Any) -> Any:
        return tf.cast(tensor, dtype)

    if mask is not None:
        mask = tf.cast(mask, tf.bool)
        mask = _for_every_row(tf.squeeze(mask, -1) if mask.shape.rank == 3 else mask, x)
    outputs, last_output, *states, _ = _FORWARD[cell](
        native(x),
        native(kernel),
        native(recurrent_kernel),
        or_absent(None if bias is None else native(bias), 1, dtype),
        *(native(_for_every_row(state, x)) for state in initial_state),
        or_absent(mask, 2, tf.bool),
        _factors(dropout_mask, x, dtype),
        _factors(recurrent_dropout_mask, x, dtype),
        **attributes(**options, return_sequences=return_sequences, save_workspace=training),
    )
    if return_sequences:
        # Shape inference does not see attributes, so it cannot know that there are timesteps here.
        outputs.set_shape((None, x.shape[1], None))
    else:
        outputs = tf.expand_dims(last_output, 1)
    last_output, outputs, *states = (tf.cast(t, x.dtype) for t in (last_output, outputs, *states))
    return last_output, outputs, states


def _register_gradients(cell: str, op_name: str) -> None:
    names = options_of(f"{cell}_backward")
    states = 2 if cell == "lstm" else 1

    @tf.RegisterGradient(f"{op_name}Forward")  # type: ignore[untyped-decorator]
    def gradient(op: Any, *doutputs: Any) -> list[Any]:
        options = {name: op.get_attr(name) for name in names}
        if op.get_attr("save_workspace"):
            workspace = op.outputs[-1]
        else:
            workspace = _FORWARD[cell](*op.inputs, save_workspace=True, **options)[-1]
        dstates, dx, dweights = backward(
            _BACKWARD[cell],
            op,
            workspace,
            *doutputs[:-1],
            after=op.outputs[1],  # the last output, which is small
            states=states,
            weights=(1, 2, 3),
            **options,
        )
        # None for the masks.
        return [dx, *dweights, *dstates, None, None, None]

    @tf.RegisterGradient(f"{op_name}Backward")  # type: ignore[untyped-decorator]
    def second_gradient(op: Any, *gradients: Any) -> list[Any]:
        # x, the weights, states and masks; workspace; the outputs' gradients; tokens.
        inputs, rest = op.inputs[: states + 7], op.inputs[states + 8 :]
        doutputs, tokens = rest[: states + 2], rest[states + 2 :]
        weights_first = (*gradients[-4:], *gradients[:states])
        cotangents = [or_zeros(gradient, tensor) for gradient, tensor in zip(weights_first, inputs, strict=False)]
        found = formulas.gradients_of_gradients(
            functools.partial(formulas.rnn, cell=cell, **attributes_of(op, *names)),
            [or_none(tensor) for tensor in inputs],
            doutputs,
            [*cotangents, None, None, None],
        )
        by_inputs, by_doutputs = found[: len(inputs)], found[len(inputs) :]
        return [*by_inputs, None, *by_doutputs, *(None for _ in tokens)]


_register_gradients("lstm", "FastseqLstm")
_register_gradients("gru", "FastseqGru")
_register_gradients("simple_rnn", "FastseqSimpleRnn")

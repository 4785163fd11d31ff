"""The recurrent operations."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow import formulas, library

# The forward and the backward operation of each cell.
_FORWARD = {
    "lstm": library.ops.fastseq_lstm_forward,
    "gru": library.ops.fastseq_gru_forward,
    "simple_rnn": library.ops.fastseq_simple_rnn_forward,
}
_BACKWARD = {
    "lstm": library.ops.fastseq_lstm_backward,
    "gru": library.ops.fastseq_gru_backward,
    "simple_rnn": library.ops.fastseq_simple_rnn_backward,
}


def rnn(cell: str, inputs: Sequence[Any], *, options: Mapping[str, Any], training: bool) -> tuple[Any, Any, list[Any]]:
    """See `fastseq.keras.backend.Backend`."""
    x, kernel, recurrent_kernel, bias, *initial_state, mask, dropout_mask, recurrent_dropout_mask = inputs
    outputs, last_output, *states, _ = _FORWARD[cell](
        x,
        kernel,
        recurrent_kernel,
        library.or_absent(bias, 1, x.dtype),
        *initial_state,
        library.or_absent(mask, 2, tf.bool),
        library.or_absent(dropout_mask, 3, x.dtype),
        library.or_absent(recurrent_dropout_mask, 3, x.dtype),
        **library.attributes(**options, save_workspace=training),
    )
    if options["return_sequences"]:
        # Shape inference does not see attributes, so it does not know `return_sequences`.
        outputs.set_shape((None, x.shape[1], None))
    return last_output, outputs, states


def _register_gradients(cell: str, op_name: str) -> None:
    names = library.options_of(f"{cell}_backward")
    states = 2 if cell == "lstm" else 1

    @tf.RegisterGradient(f"{op_name}Forward")  # type: ignore[untyped-decorator]
    def gradient(op: Any, *doutputs: Any) -> list[Any]:
        options = {name: op.get_attr(name) for name in names}
        if op.get_attr("save_workspace"):
            workspace = op.outputs[-1]
        else:
            workspace = _FORWARD[cell](*op.inputs, save_workspace=True, **options)[-1]
        dstates, dx, dweights = library.backward(
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
        # The inputs are x, the weights, states and masks; then the workspace, the outputs' gradients, and tokens.
        inputs, rest = op.inputs[: states + 7], op.inputs[states + 8 :]
        doutputs, tokens = rest[: states + 2], rest[states + 2 :]
        weights_first = (*gradients[-4:], *gradients[:states])
        cotangents = [
            library.or_zeros(gradient, tensor) for gradient, tensor in zip(weights_first, inputs, strict=False)
        ]
        found = formulas.gradients_of_gradients(
            functools.partial(formulas.rnn, cell=cell, **library.attributes_of(op, *names)),
            [library.or_none(tensor) for tensor in inputs],
            doutputs,
            [*cotangents, None, None, None],
        )
        by_inputs, by_doutputs = found[: len(inputs)], found[len(inputs) :]
        return [*by_inputs, None, *by_doutputs, *(None for _ in tokens)]


_register_gradients("lstm", "FastseqLstm")
_register_gradients("gru", "FastseqGru")
_register_gradients("simple_rnn", "FastseqSimpleRnn")

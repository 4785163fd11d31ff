"""Layers that call other layers: Bidirectional and TimeDistributed."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.prediction.calls import Call, first_mask, invoke, layer_rule
from fastseq.prediction.tensors import Refused, Tensor

_MERGES = {"sum": "add", "ave": "add", "mul": "multiply"}


def _bidirectional_mask(call: Call) -> Any:
    mask = first_mask(call.previous_mask) if call.layer.return_sequences else None
    return mask if call.layer.merge_mode else (mask, mask)


@layer_rule(keras.layers.Bidirectional, arguments=["initial_state"], compute_mask=_bidirectional_mask)
def _bidirectional(call: Call) -> Any:
    layer, operations = call.layer, call.operations
    given = call.arguments.get("initial_state")
    if given is not None and not isinstance(given, (list, tuple)):
        raise Refused("initial_state must be a list of tensors")
    half = len(given) // 2 if given is not None else 0
    forward, backward = (
        invoke(one, operations, [call.first], {"initial_state": states, "mask": call.mask}, training=call.training)
        for one, states in (
            (layer.forward_layer, given and list(given[:half])),
            (layer.backward_layer, given and list(given[half:])),
        )
    )
    states: tuple[Tensor, ...] = ()
    if layer.return_state:
        states = (*forward[1:], *backward[1:])
        forward, backward = forward[0], backward[0]
    if layer.return_sequences:
        backward = operations.flipped(backward, 1)
    if layer.merge_mode is None:
        return (forward, backward, *states)
    merged = _merged(call, forward, backward)
    return (merged, *states) if layer.return_state else merged


def _merged(call: Call, forward: Tensor, backward: Tensor) -> Tensor:
    mode, operations = call.layer.merge_mode, call.operations
    if mode == "concat":
        return operations.concatenate(forward, backward, forward.rank - 1)
    merged = operations.combine(_MERGES[mode], forward, backward)
    return operations.combine("divide", merged, operations.constant([2.0])) if mode == "ave" else merged


@layer_rule(keras.layers.TimeDistributed)
def _time_distributed(call: Call) -> Tensor:
    """Steps become rows of the batch: layers compute each row by itself."""
    layer, x, operations = call.layer.layer, call.x, call.operations
    mask = first_mask(call.mask)
    kwargs = {}
    if mask is not None and layer._call_has_mask_arg:
        kwargs["mask"] = operations.reshape(mask, keep=0, shape=[-1], tail=mask.rank - 2)
    rows = operations.reshape(x, keep=0, shape=[-1], tail=x.rank - 2)
    states = dict(operations.states)
    outputs = invoke(layer, operations, [rows], kwargs, training=call.training, as_call=True)
    if operations.states != states:
        raise Refused("its layer must not be stateful")
    if not isinstance(outputs, Tensor):
        raise Refused("its layer must have one output")
    return operations.reshape(outputs, keep=2, tail=outputs.rank - 1, like=x)

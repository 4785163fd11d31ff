"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from fastseq.keras import backend
from fastseq.keras.activations import describe, not_native_because
from fastseq.keras.cells import NativeCell, native_cell
from fastseq.keras.rnn import unrolled_reason
from fastseq.keras.stock_methods import StockMethods
from fastseq.prediction.calls import Call, first_mask, layer_rule, the_mask
from fastseq.prediction.graph import Option
from fastseq.prediction.tensors import Refused, Tensor


def _drops(layer: Any) -> bool:
    return bool(getattr(layer.cell, "dropout", 0) or getattr(layer.cell, "recurrent_dropout", 0))


def _sequence_mask(call: Call) -> Any:
    """As `keras.layers.RNN.compute_mask`: the states have no masks."""
    return first_mask(call.previous_mask) if call.layer.return_sequences else None


def _checked_cell(cell: Any, dtype: str) -> NativeCell:
    native = native_cell(cell)
    if native is None:
        raise Refused(f"there are no operations for its cell, {describe(type(cell))}")
    reason = native.stock_methods.replaced(cell)
    for name in native.activations:
        reason = reason or not_native_because(name, getattr(cell, name))
    if reason:
        raise Refused(reason)
    if {cell.compute_dtype, cell.variable_dtype} != {dtype}:
        raise Refused(
            f"its cell must compute in {dtype}, got {cell.compute_dtype} with weights of {cell.variable_dtype}"
        )
    return native


def _states_before(call: Call, sizes: Sequence[int]) -> Sequence[Tensor | None]:
    """The states at the beginning; None for zero."""
    layer, operations = call.layer, call.operations
    given = call.arguments.get("initial_state")
    if given is not None:
        states = list(given) if isinstance(given, (list, tuple)) else [given]
        if isinstance(layer, keras.layers.GRU):
            states = states[:1]  # it ignores further ones
        if len(states) != len(sizes) or not all(isinstance(one, Tensor) and one.rank == 2 for one in states):
            raise Refused(f"initial_state must be {len(sizes)} tensors with 2 dimensions")
        return states
    if not layer.stateful:
        return [None] * len(sizes)
    if id(layer) not in operations.states:
        shapes = [tuple(int(size) for size in state.shape) for state in layer.states]
        operations.begin_states(layer, shapes)
    return operations.states[id(layer)].now


# The kernels take zero for the first states, as these methods do.
_INITIAL_STATES = {
    cell: StockMethods(cell, unused=["get_initial_state"])
    for cell in (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)
}


@layer_rule(
    keras.layers.LSTM,
    keras.layers.GRU,
    keras.layers.SimpleRNN,
    keras.layers.RNN,
    methods=["inner_loop", "get_initial_state"],
    arguments=["initial_state"],
    compute_mask=_sequence_mask,
    random=_drops,
)
def _recurrent(call: Call) -> Any:
    layer, cell, x, operations = call.layer, call.layer.cell, call.x, call.operations
    native = _checked_cell(cell, operations.dtype)
    if reason := _INITIAL_STATES[type(cell)].replaced(cell):
        raise Refused(reason)
    if x.rank != 3:
        raise Refused(f"its inputs must have 3 dimensions, got {x.rank}")
    mask, states = the_mask(call), _states_before(call, layer.state_size)
    if reason := unrolled_reason(layer, mask):
        raise Refused(reason)
    bias = native.bias(cell)
    inputs: dict[str, int | None] = {
        "x": operations.floats(x),
        "kernel": operations.weight(cell.kernel).value,
        "recurrent_kernel": operations.weight(cell.recurrent_kernel).value,
        "bias": None if bias is None else operations.weight(bias).value,
        "mask": None if mask is None else mask.value,
        **{name: operations.floats(one) for name, one in zip(("h0", "c0"), states, strict=False) if one is not None},
    }
    options: dict[str, Option] = native.options(cell)
    options |= {
        name: bool(getattr(layer, name)) for name in ("go_backwards", "zero_output_for_mask", "return_sequences")
    }
    # With `unroll`, stock Keras runs the same loop on all backends.
    h0_first = backend.is_supported() and backend.load().h0_as_first_output and not layer.unroll
    results = operations.builder.node(
        f"{native.name}_predict", operations.label, inputs, {**options, "h0_as_first_output": h0_first}
    )
    batch, timesteps, units = x.shape[0], x.shape[1], cell.units
    final = [Tensor(results[name], (batch, units)) for name in ("h_n", "c_n") if name in results]
    if layer.stateful:
        operations.set_states(layer, final)
    if layer.return_sequences:
        outputs = Tensor(results["outputs"], (batch, timesteps, units))
    else:
        outputs = Tensor(results["last_output"], (batch, units))
    return (outputs, *final) if layer.return_state else outputs

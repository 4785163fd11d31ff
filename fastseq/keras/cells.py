"""Lists the recurrent cells of Keras that the kernels compute, and turns their settings into the kernels' options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from fastseq.keras.activations import describe, native_name, not_native_because
from fastseq.keras.stock_methods import StockMethods

__all__ = ["NativeCell", "gives_logits", "native_cell", "no_native_cell_because"]


@dataclass(frozen=True)
class NativeCell:
    """A kind of cell that the kernels compute.

    Attributes:
        name: The backend's name of the cell.
        stock_methods: The cell's methods that the kernels replace.
        activations: The cell's attributes that are activations.
        settings: Further attributes that the backend takes as options. Their truth value counts.
        drops_all: Whether the stock cell applies dropout also with a rate of 1.
        gate_masks: An attribute that the cell has only in some versions of Keras. In these versions the cell has a mask
            of recurrent dropout for each gate and applies it only in the products, as the kernels do. None if all
            versions of Keras do so.
        reads_use_bias: Whether the stock cell reads `use_bias` in every call. If not, it adds the bias if it has one.
    """

    name: str
    stock_methods: StockMethods
    activations: tuple[str, ...] = ("activation", "recurrent_activation")
    settings: tuple[str, ...] = ()
    drops_all: bool = False
    gate_masks: str | None = None
    reads_use_bias: bool = True

    def not_native_because(self, cell: Any) -> str | None:
        """Says which of a cell's settings the kernels do not cover; None if they cover all."""
        if reason := self.stock_methods.replaced(cell):
            return reason
        # Elsewhere some cells look at `use_bias` when they are built, and others in every call.
        was_built_with_bias = self.reads_use_bias and not cell.use_bias and getattr(cell, "bias", None) is not None
        if was_built_with_bias and keras.backend.backend() != "tensorflow":
            return f"use_bias must be True, as when the cell was built, got {cell.use_bias!r}"
        for name in self.activations:
            if reason := not_native_because(name, getattr(cell, name)):
                return reason
        if self.gate_masks and cell.recurrent_dropout > 0 and getattr(cell, self.gate_masks, None) is None:
            return f"recurrent_dropout must be 0 with Keras {keras.__version__}, got {cell.recurrent_dropout}"
        return None

    def options(self, cell: Any) -> dict[str, Any]:
        """The part of the backend's `options` that the cell determines."""
        activations = {name: native_name(getattr(cell, name)) for name in self.activations}
        return activations | {name: bool(getattr(cell, name)) for name in self.settings}

    def bias(self, cell: Any) -> Any | None:
        """The bias that the stock cell adds, or None."""
        return cell.bias if cell.use_bias or not self.reads_use_bias else None

    def drops(self, rate: float) -> bool:
        """Whether the stock cell applies dropout with this rate."""
        return rate > 0.0 and (self.drops_all or rate < 1.0)


def _methods(cell: type, *more: str) -> StockMethods:
    return StockMethods(cell, unused=["call", "get_dropout_mask", "get_recurrent_dropout_mask", *more])


_CELLS = {
    keras.layers.GRUCell: NativeCell(
        "gru", _methods(keras.layers.GRUCell), settings=("reset_after",), gate_masks="dropout_mask_count"
    ),
    keras.layers.LSTMCell: NativeCell(
        "lstm", _methods(keras.layers.LSTMCell, "_compute_carry_and_output", "_compute_carry_and_output_fused")
    ),
    keras.layers.SimpleRNNCell: NativeCell(
        "simple_rnn",
        _methods(keras.layers.SimpleRNNCell),
        activations=("activation",),
        drops_all=True,
        reads_use_bias=False,
    ),
}


def native_cell(cell: Any) -> NativeCell | None:
    """The `NativeCell` of a cell, or None if the kernels do not have it."""
    return _CELLS.get(type(cell))


def gives_logits(cell: Any) -> bool:
    """Whether a step's output is the output of a sigmoid, to which Keras attaches the logits."""
    return type(cell) is keras.layers.SimpleRNNCell and native_name(cell.activation) == "sigmoid"


def no_native_cell_because(cell: Any) -> str | None:
    """Why the kernels cannot compute a cell, or None if they can."""
    if native := native_cell(cell):
        return native.not_native_because(cell)
    names = ", ".join(one.__name__ for one in _CELLS)
    return f"cell must be one of keras.layers.{{{names}}}, got {describe(type(cell))}"

"""Which of Keras's recurrent cells the kernels compute, and how they are told about one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from fastseq.keras.activations import describe, native_name, not_native_because
from fastseq.keras.stock_methods import StockMethods

__all__ = ["NativeCell", "gives_logits", "native_cell", "no_native_cell_because"]


@dataclass(frozen=True)
class NativeCell:
    """What the kernels know of a cell.

    Attributes:
        name: As the backend names it.
        stock_methods: Those that the kernels stand in for.
        activations: Which of the cell's attributes are activations.
        settings: Which more of them, true or false in the way of Python, the backend takes as options.
        drops_all: Whether the stock cell applies dropout also with a rate of 1.
        gate_masks: The attribute of cells that have a mask of recurrent dropout for each gate, which they apply in the
            products only, as the kernels do; None if all versions of Keras do so.
        reads_use_bias: Whether the stock cell asks `use_bias` in every call; else it adds the bias that it has.
    """

    name: str
    stock_methods: StockMethods
    activations: tuple[str, ...] = ("activation", "recurrent_activation")
    settings: tuple[str, ...] = ()
    drops_all: bool = False
    gate_masks: str | None = None
    reads_use_bias: bool = True

    def not_native_because(self, cell: Any) -> str | None:
        """Which of a cell's settings the kernels do not cover, or None."""
        if reason := self.stock_methods.replaced(cell):
            return reason
        for name in self.activations:
            if reason := not_native_because(name, getattr(cell, name)):
                return reason
        if self.gate_masks and cell.recurrent_dropout > 0 and getattr(cell, self.gate_masks, None) is None:
            return f"recurrent_dropout must be 0 with Keras {keras.__version__}, got {cell.recurrent_dropout}"
        return None

    def options(self, cell: Any) -> dict[str, Any]:
        """The backend's `options`, as far as they are the cell's."""
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
    """What the kernels know of a cell, or None if they do not have it."""
    return _CELLS.get(type(cell))


def gives_logits(cell: Any) -> bool:
    """Whether the output of a step is a sigmoid's, on which Keras notes the logits."""
    return type(cell) is keras.layers.SimpleRNNCell and native_name(cell.activation) == "sigmoid"


def no_native_cell_because(cell: Any) -> str | None:
    """Why the kernels cannot compute a cell, or None if they can."""
    if native := native_cell(cell):
        return native.not_native_because(cell)
    names = ", ".join(one.__name__ for one in _CELLS)
    return f"cell must be one of keras.layers.{{{names}}}, got {describe(type(cell))}"

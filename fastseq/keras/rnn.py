"""What FastLSTM, FastGRU and FastSimpleRNN share: Keras's seam for whole-sequence kernels."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.keras import backend
from fastseq.keras.activations import describe, native_name, not_native_because
from fastseq.keras.native import NativeChoice


class NativeRNN(NativeChoice):
    """A mixin for subclasses of Keras's recurrent layers: overrides `inner_loop`, and nothing else."""

    native_cell: str  # as the backend names it
    stock_cell: type
    activation_names: tuple[str, ...]  # which arguments of the layer are activations

    def _not_native_because(self) -> str | None:
        for name in self.activation_names:
            if reason := not_native_because(name, getattr(self, name)):
                return reason
        cell = self.cell  # type: ignore[attr-defined]
        if type(cell) is not self.stock_cell:
            return f"cell must be a keras.layers.{self.stock_cell.__name__}, got {describe(type(cell))}"
        return None

    def _native_options(self) -> dict[str, Any]:
        """The backend's `options`."""
        return {
            **{name: native_name(getattr(self, name)) for name in self.activation_names},
            "go_backwards": self.go_backwards,  # type: ignore[attr-defined]
            "zero_output_for_mask": self.zero_output_for_mask,  # type: ignore[attr-defined]
        }

    def _drops(self, rate: float) -> bool:
        """Whether the stock cell applies dropout with this rate."""
        return 0.0 < rate < 1.0

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Keras's seam for whole-sequence kernels: see `keras.layers.RNN.inner_loop`."""
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        per_unit = mask is not None and len(mask.shape) == 3 and mask.shape[-1] != 1
        if not self._runs_native("mask must not differ between units" if per_unit else None):
            return super().inner_loop(sequences, initial_state, mask, training=training)  # type: ignore[misc]
        cell = self.cell  # type: ignore[attr-defined]
        states = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        states = [keras.ops.convert_to_tensor(state) for state in states]
        # The masks that RNN.call has drawn already, so that the random numbers are the stock layer's.
        drops = training and self._drops(cell.dropout)
        drops_recurrent = training and self._drops(cell.recurrent_dropout)
        return backend.load().rnn(
            self.native_cell,
            keras.ops.cast(sequences, cell.compute_dtype),
            states,
            keras.ops.convert_to_tensor(cell.kernel),
            keras.ops.convert_to_tensor(cell.recurrent_kernel),
            None if cell.bias is None else keras.ops.convert_to_tensor(cell.bias),
            mask,
            cell.get_dropout_mask(sequences[:, 0, :]) if drops else None,
            cell.get_recurrent_dropout_mask(states[0]) if drops_recurrent else None,
            options=self._native_options(),
            return_sequences=self.return_sequences,  # type: ignore[attr-defined]
            training=bool(training),
        )

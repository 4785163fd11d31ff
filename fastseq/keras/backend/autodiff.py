"""What `Backend` asks for, over a framework's operations that are differentiable by it (`fastseq.autodiff`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastseq.keras.exporting import exporter_among_callers, exports_native

__all__ = ["Exporting", "Operations"]

_RNN_INPUTS = ("x", "kernel", "recurrent_kernel", "bias", "h0")
_RNN_MASKS = ("mask", "dropout_mask", "recurrent_dropout_mask")


class Operations:
    """Of one framework, which knows by itself whether a gradient is asked for: `training` tells it nothing.

    Args:
        call: From the name of a forward operation and its arguments by name to its results by name.
    """

    def __init__(self, call: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._call = call

    def rnn(
        self, cell: str, inputs: Sequence[Any], *, options: Mapping[str, Any], training: bool
    ) -> tuple[Any, Any, list[Any]]:
        """See `fastseq.keras.backend.Backend`."""
        del training  # autograd knows
        states = ("c0",) if cell == "lstm" else ()
        named: dict[str, Any] = dict(zip((*_RNN_INPUTS, *states, *_RNN_MASKS), inputs, strict=True))
        results = self._call(f"{cell}_forward", {**named, **options})
        return results["last_output"], results["outputs"], [results["h_n"], *(results["c_n"] for _ in states)]

    def conv1d(
        self, inputs: Sequence[Any], *, options: Mapping[str, Any], convolved_shape: Sequence[Any], training: bool
    ) -> Any:
        """See `fastseq.keras.backend.Backend`."""
        del convolved_shape, training
        named: dict[str, Any] = dict(zip(("x", "kernel", "bias"), inputs, strict=True))
        return self._call("conv1d_forward", {**named, **options})["outputs"]

    def max_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """See `fastseq.keras.backend.Backend`."""
        del training
        return self._pool("max_pool_forward", x, pool_size, strides, padding)

    def average_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """See `fastseq.keras.backend.Backend`."""
        del training
        return self._pool("average_pool_forward", x, pool_size, strides, padding)

    def _pool(self, name: str, x: Any, pool_size: int, strides: int, padding: str) -> Any:
        return self._call(name, {"x": x, "pool_size": pool_size, "strides": strides, "padding": padding})["outputs"]


class Exporting:
    """See `fastseq.keras.backend.Exporting`: Keras's exporters and others trace a model, as callers of its layers.

    Args:
        may_export: Whether what is computed now may be traced for an exporter, if that is known at less cost.
    """

    def __init__(self, may_export: Callable[[], bool]) -> None:
        self._may_export = may_export

    def export_format(self) -> str | None:
        """See there."""
        return exporter_among_callers() if self._may_export() and not exports_native() else None

    def keep_in_export(self) -> None:
        """See there. Here, exporters write what they have traced themselves."""

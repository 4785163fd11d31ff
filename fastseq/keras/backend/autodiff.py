"""The part of `Backend` that PyTorch and JAX share: it uses the differentiable operations of `fastseq.autodiff`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastseq.keras.exporting import exporter_among_callers, exports_native

__all__ = ["Exporting", "Operations"]

_RNN_INPUTS = ("x", "kernel", "recurrent_kernel", "bias", "h0")
_RNN_MASKS = ("mask", "dropout_mask", "recurrent_dropout_mask")


class Operations:
    """The operations of one framework. It knows whether a gradient is asked for, so `training` is not used.

    Args:
        call: A function of a forward operation's name and its arguments by name, which returns the results by name.
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
        return self._call("conv1d_forward", {**named, "pool_propagate_nan": True, **options})["outputs"]

    def max_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """See `fastseq.keras.backend.Backend`."""
        del training
        return self._pool("max_pool_forward", x, pool_size, strides, padding, propagate_nan=True)

    def average_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """See `fastseq.keras.backend.Backend`."""
        del training
        return self._pool("average_pool_forward", x, pool_size, strides, padding)

    def _pool(self, name: str, x: Any, pool_size: int, strides: int, padding: str, **options: bool) -> Any:
        window = {"pool_size": pool_size, "strides": strides, "padding": padding}
        return self._call(name, {"x": x, **window, **options})["outputs"]


class Exporting:
    """See `fastseq.keras.backend.Exporting`. An exporter that traces a model is on the call stack of its layers.

    Args:
        may_export: A cheap check: false if the present computation cannot be part of an export.
    """

    def __init__(self, may_export: Callable[[], bool]) -> None:
        self._may_export = may_export

    def export_format(self) -> str | None:
        """See `fastseq.keras.backend.Exporting`."""
        return exporter_among_callers() if self._may_export() and not exports_native() else None

    def keep_in_export(self) -> None:
        """See `fastseq.keras.backend.Exporting`. Nothing to do: these exporters only write functions they trace."""

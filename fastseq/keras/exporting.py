"""`export_native`: exports that keep fastseq's operations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["export_native", "exports_native"]

_exports_native = ContextVar("fastseq_exports_native", default=False)


@contextlib.contextmanager
def export_native() -> Iterator[None]:
    """Within this context, exported models keep fastseq's operations.

    By default a model is exported with the operations of the stock layers, whatever it computes with in this process:
    by `model.export`, `keras.export.ExportArchive`, `tf.saved_model.save`, `tf.lite.TFLiteConverter` and `tf2onnx`. So
    what is exported runs without fastseq.

    A SavedModel that keeps the operations is as fast as the fast layers. It loads only in a process that has imported
    `fastseq.keras`. ONNX, LiteRT and OpenVINO have no such operations.

    The context holds for the thread that enters it. A layer with `use_native=True` keeps its operations in a SavedModel
    without it.

    >>> import keras
    >>> import fastseq.keras
    >>> model = keras.Sequential([keras.Input((10, 3)), fastseq.keras.FastLSTM(4)])
    >>> with fastseq.keras.export_native():
    ...     model.export("served")  # doctest: +SKIP
    """
    before = _exports_native.set(True)
    try:
        yield
    finally:
        _exports_native.reset(before)


def exports_native() -> bool:
    """Whether `export_native` is in force."""
    return _exports_native.get()

"""Defines `export_native`, which keeps fastseq's operations in exports, and finds out which exporter traces a model."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType

__all__ = ["export_native", "exporter_among_callers", "exports_native"]

# Exporting packages and modules, each with a dot behind its name, and the format that they write. The first match
# counts, so modules come before their packages.
_EXPORTERS = {
    "keras.src.export.onnx.": "ONNX",
    "keras.src.export.openvino.": "OpenVINO",
    "keras.src.export.litert.": "LiteRT",
    "keras.src.export.": "SavedModel",
    "tensorflow.lite.": "LiteRT",
    "tf2onnx.": "ONNX",
    "openvino.": "OpenVINO",
    "coremltools.": "Core ML",
    "tensorflowjs.": "TensorFlow.js",
}
_NAMES = tuple(_EXPORTERS)

_exports_native = ContextVar("fastseq_exports_native", default=False)


@contextlib.contextmanager
def export_native() -> Iterator[None]:
    """Within this context, exported models keep fastseq's operations.

    By default, exports of a model have the operations of the stock layers, so that they run without fastseq. This holds
    for `model.export`, `keras.export.ExportArchive`, `tf.saved_model.save`, `tf.lite.TFLiteConverter` and `tf2onnx`.

    A SavedModel that keeps the operations is as fast as the fast layers. It loads only in a process that has imported
    `fastseq.keras`. ONNX, LiteRT and OpenVINO have no such operations.

    The context applies to the thread that enters it. A layer with `use_native=True` keeps its operations in a
    SavedModel without this context, too.

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


def exporter_among_callers() -> str | None:
    """The format of the exporter that is on the call stack; None if there is no exporter.

    Keras makes a SavedModel on the way to other formats, so the outermost exporter counts.
    """
    found = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = f"{frame.f_globals.get('__name__')}."
        if module.startswith(_NAMES):
            found = next(format for name, format in _EXPORTERS.items() if module.startswith(name))
        frame = frame.f_back
    return found

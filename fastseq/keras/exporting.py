"""What is exported: `export_native`, which keeps fastseq's operations, and the exporters that trace a model."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType

__all__ = ["export_native", "exporter_among_callers", "exports_native"]

# A package or a module with a dot behind it, and the format that it writes. The more special come first.
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


def exporter_among_callers() -> str | None:
    """The format that the caller's callers export a model to; None if there is no exporter among them.

    Keras makes a SavedModel on the way to other formats: the outermost exporter counts.
    """
    found = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = f"{frame.f_globals.get('__name__')}."
        if module.startswith(_NAMES):
            found = next(format for name, format in _EXPORTERS.items() if module.startswith(name))
        frame = frame.f_back
    return found

"""The kernels as functions of each Keras backend's tensors: one module per backend, picked when first needed."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import keras

_SUPPORTED = ("tensorflow",)


def is_supported() -> bool:
    """Whether there is a module for the backend in use."""
    return keras.backend.backend() in _SUPPORTED


def unavailable_because() -> str | None:
    """Why the kernels cannot serve this process's Keras, or None if they can."""
    if not is_supported():
        return f"Keras runs on the {keras.backend.backend()} backend, and the kernels on {', '.join(_SUPPORTED)}"
    reason: str | None = load().unavailable_because()
    return reason


def export_format() -> str | None:
    """The name of the format that what is computed now is exported to; None if it is not exported."""
    found: str | None = load().export_format() if is_supported() else None
    return found


@functools.cache
def load() -> ModuleType:
    """The module of the backend in use; `is_supported` tells whether there is one."""
    return importlib.import_module(f"fastseq.keras.backend.{keras.backend.backend()}")

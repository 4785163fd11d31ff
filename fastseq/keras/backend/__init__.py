"""The kernels as functions of each Keras backend's tensors: one module per backend, picked when first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

import keras

_SUPPORTED = ("tensorflow",)


def unavailable_because() -> str | None:
    """Why the kernels cannot serve this process's Keras, or None if they can."""
    name = keras.backend.backend()
    if name not in _SUPPORTED:
        return f"Keras runs on the {name} backend, and the kernels on {', '.join(_SUPPORTED)}"
    reason: str | None = load().unavailable_because()
    return reason


def load() -> ModuleType:
    """The module of the backend in use; `unavailable_because` tells whether there is one."""
    return importlib.import_module(f"fastseq.keras.backend.{keras.backend.backend()}")

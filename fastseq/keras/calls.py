"""Reads Keras's context of the layer call under way."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import global_state

__all__ = ["called_for_training", "current_call"]


def current_call() -> Any | None:
    """Keras's context object of the layer call under way; None outside of calls."""
    return global_state.get_global_attribute("current_call_ctx")


def called_for_training() -> bool:
    """Whether the call under way has `training=True`, also where the layer's own `call` takes no such argument.

    Keras resolves that argument for every layer, and keeps it for the layers that are called within.
    """
    training = getattr(current_call(), "training", None)
    return isinstance(training, int) and bool(training)  # a tensor says nothing before it is computed

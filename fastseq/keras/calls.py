"""What Keras knows of the layer call under way."""

from __future__ import annotations

from keras.src.backend.common import global_state

__all__ = ["called_for_training"]


def called_for_training() -> bool:
    """Whether the call under way has `training=True`, also where the layer's own `call` takes no such argument.

    Keras resolves that argument for every layer, and keeps it for the layers that are called within.
    """
    training = getattr(global_state.get_global_attribute("current_call_ctx"), "training", None)
    return isinstance(training, int) and bool(training)  # a tensor says nothing before it is computed

"""How an object gets another class: a fast layer is its stock layer with other methods."""

from __future__ import annotations

import copy
import functools
from typing import Any

import keras

__all__ = ["change_class"]


def change_class(part: Any, cls: Any) -> None:
    """Gives a layer or an optimizer another class: its fast replacement for a stock one, or the other way."""
    object.__setattr__(part, "__class__", cls)
    if isinstance(part, keras.layers.Layer):
        vars(part).update(copy.deepcopy(_notes_on_call(cls)))
        # Newer versions of Keras have these, which are the object's own and not its class's.
        for name in vars(part).get("_call_context_args", ()):
            part._call_has_context_arg[name] = name in part.call_signature_parameters


@functools.cache
def _notes_on_call(layer_class: Any) -> dict[str, Any]:
    """What an instance has noted about its method `call`: the attributes that follow from the class."""
    newborn = keras.layers.Layer.__new__(layer_class)  # which no patch changes
    keras.layers.Layer.__init__(newborn, name="newborn")
    notes = {name: value for name, value in vars(newborn).items() if name.startswith(("_call_", "call_"))}
    notes.pop("_call_context_args", None)  # what the user registers
    return notes

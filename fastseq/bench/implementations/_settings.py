"""Keras's settings of layers, as the implementations in other libraries read them."""

from __future__ import annotations

from typing import Any

from fastseq.bench.implementations import UnavailableError
from fastseq.bench.problems import Layer

_RECURRENT = {
    "activation": "tanh",
    "use_bias": True,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "go_backwards": False,
    "stateful": False,
    "return_state": False,
}
# By layer, settings of which other libraries' implementations support only this value, which is Keras's default.
_ONLY: dict[str, dict[str, Any]] = {
    "Activation": {},
    "Attention": {},
    "AveragePooling1D": {"padding": "valid"},
    "Bidirectional": {"merge_mode": "concat"},
    "Conv1D": {"padding": "valid", "strides": 1, "dilation_rate": 1, "groups": 1, "use_bias": True},
    "Dense": {"use_bias": True},
    "Dropout": {"noise_shape": None},
    "Embedding": {"mask_zero": False},
    "GRU": {**_RECURRENT, "recurrent_activation": "sigmoid", "reset_after": True},
    "LSTM": {**_RECURRENT, "recurrent_activation": "sigmoid"},
    "MaxPooling1D": {"padding": "valid"},
    "SimpleRNN": _RECURRENT,
}


def check(layer: Layer) -> None:
    """Raises UnavailableError for a layer or setting that other libraries' implementations do not support."""
    if layer.name not in _ONLY:
        raise UnavailableError(f"{layer.name} is not written for it")
    for name, only in _ONLY[layer.name].items():
        if (got := _scalar(layer.settings.get(name, only))) != only:
            raise UnavailableError(f"{layer.name} with {name}={got!r} is not written for it")


def number(layer: Layer, name: str) -> int:
    """A setting that Keras keeps as a number or as a sequence of one number."""
    return int(_scalar(layer.settings[name]))


def window(layer: Layer) -> tuple[int, int]:
    """The size and the strides of a pooling."""
    size = number(layer, "pool_size")
    return size, size if layer.settings.get("strides") is None else number(layer, "strides")


def activation(layer: Layer) -> str:
    """Keras's name of a layer's activation."""
    return str(layer.settings.get("activation") or "linear")


def _scalar(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value

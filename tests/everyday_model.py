"""A small model with all fast layers, and the same model with stock layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

import fastseq.keras
from fastseq.keras.replacements import FAST_LAYERS

IDS = np.random.default_rng(0).integers(0, 12, (10, 7))
LABELS = np.random.default_rng(1).integers(0, 2, 10)


def kind(stock: type, fast: bool) -> Any:
    """The stock class or its fast twin."""
    return FAST_LAYERS[stock] if fast else stock


def adam(fast: bool, **arguments: Any) -> Any:
    return (fastseq.keras.FastAdam if fast else keras.optimizers.Adam)(0.01, **arguments)


def everyday_layers(fast: bool, **arguments: Any) -> list[Any]:
    """Layers of a classifier of ids, in two classes; `arguments` are for all of them."""

    def layer(stock: type, *positional: Any, **own: Any) -> Any:
        return kind(stock, fast)(*positional, **own, **arguments)

    return [
        layer(layers.Embedding, 12, 5),
        layer(layers.Dropout, 0.3, seed=3),
        layer(layers.Conv1D, 6, 3, activation="relu", padding="same"),
        layer(layers.MaxPooling1D, 2, padding="same"),
        layers.Bidirectional(layer(layers.LSTM, 3, return_sequences=True, dropout=0.1, seed=5), **arguments),
        layer(layers.GRU, 4, return_sequences=True),
        layer(layers.SimpleRNN, 4, return_sequences=True),
        fastseq.keras.FastAttention(3, **arguments),
        layers.Dense(2, activation="softmax", **arguments),
    ]


def everyday_model(fast: bool, **arguments: Any) -> Any:
    """Both twins start from the same weights and draw the same random numbers."""
    keras.utils.set_random_seed(1)
    ids = keras.Input((None,), dtype="int32")
    outputs = ids
    for layer in everyday_layers(fast, **arguments):
        outputs = layer(outputs)
    return keras.Model(ids, outputs)


def compiled(model: Any, fast: bool, **arguments: Any) -> Any:
    model.compile(adam(fast), "sparse_categorical_crossentropy", metrics=["accuracy"], **arguments)
    return model

"""The classic models that `fastseq train` knows, built as their textbook has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from fastseq.data import TrainingData, load_reuters
from fastseq.keras import FastLSTM

__all__ = ["MODELS", "Layers", "ModelSpec"]

Layers = Literal["fast", "stock"]


@dataclass(frozen=True)
class ModelSpec:
    """A named model with its data and its way of training.

    Attributes:
        name: As `fastseq train` takes it.
        load: From `"auto"`, `"synthetic"` or a folder to the data.
        build: From `"fast"` or `"stock"` to the compiled model.
        batch_size: Samples in a step.
        epochs: At most.
        patience: Epochs without a better validation loss before training stops.
    """

    name: str
    load: Callable[[str], TrainingData]
    build: Callable[[Layers], keras.Model]
    batch_size: int
    epochs: int
    patience: int


def _lstm(layers: Layers) -> Any:
    return FastLSTM if layers == "fast" else keras.layers.LSTM


def _load_reuters(data: str) -> TrainingData:
    corpus = load_reuters(num_words=1000, maxlen=100, data=data)
    one_hot = np.eye(corpus.num_classes, dtype=np.float32)
    return TrainingData(corpus.x_train, one_hot[corpus.y_train], corpus.x_test, one_hot[corpus.y_test], corpus.source)


def _build_reuters_lstm(layers: Layers) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((100,), dtype="int32"),
            keras.layers.Embedding(1000, 100),
            _lstm(layers)(100, activation="tanh"),
            keras.layers.Dense(46, activation="softmax"),
        ],
        name="reuters_lstm",
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in [
        ModelSpec(
            name="reuters-lstm",
            load=_load_reuters,
            build=_build_reuters_lstm,
            batch_size=20,
            epochs=200,
            patience=5,
        )
    ]
}

"""The classic models of `fastseq train`, built as in their textbooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal

import keras
import numpy as np

import fastseq.keras
from fastseq.data import TrainingData, load_imdb, load_reuters
from fastseq.keras import FastAttention
from fastseq.prices import load_prices

__all__ = ["ACCURACY", "MAE", "MODELS", "Layers", "Metric", "ModelSpec", "with_wrapped"]

# "stock-jit" is stock Keras compiled by XLA. By default, Keras does not have XLA compile an LSTM.
Layers = Literal["fast", "stock", "stock-jit"]

# Functions from a name in keras.layers, or in keras.optimizers, to the class to build a model with.
LayerNamed = Callable[[str], Any]
OptimizerNamed = Callable[[str], Any]


@dataclass(frozen=True)
class Metric:
    """The metric of a model.

    Attributes:
        key: Keras's name of the metric, in `compile` and in histories.
        title: The name in messages.
    """

    key: str
    title: str


ACCURACY = Metric("accuracy", "Accuracy")
MAE = Metric("mae", "MAE")


@dataclass(frozen=True)
class ModelSpec:
    """A named model with its data and its way of training.

    Attributes:
        name: The argument of `fastseq train`.
        load: A function of `"auto"`, `"synthetic"`, or a folder or file, which returns the data.
        stack: A function that returns the model's layers, the input first. It takes a function that finds layer classes
            by name.
        loss: Keras's name of the loss.
        metric: The metric of the model.
        optimizer: A function that returns the optimizer. It takes a function that finds optimizer classes by name.
        batch_size: Samples in a step.
        epochs: The maximal number of epochs.
        patience: Epochs without a better validation loss before training stops.
        validation_split: The fraction of the training data, at its end, to validate on; None to validate on the test
            data.
        keep_best: Whether training saves the model with the best validation loss so far, and ends with that model.
        encode: A function from a batch of the data's x to the model's inputs. It is for inputs that would not fit in
            memory all at once.
        has_embedding: Whether the model has an Embedding, which `mask_zero` applies to.
    """

    name: str
    load: Callable[[str], TrainingData]
    stack: Callable[[LayerNamed], list[Any]]
    loss: str
    batch_size: int
    epochs: int
    patience: int
    metric: Metric = ACCURACY
    optimizer: Callable[[OptimizerNamed], Any] = lambda optimizer: optimizer("Adam")()
    validation_split: float | None = None
    keep_best: bool = False
    encode: Callable[[Any], Any] | None = None
    has_embedding: bool = True

    def build(self, layers: Layers, *, mask_zero: bool = False) -> keras.Model:
        """The compiled model.

        Args:
            layers: The kind of layers.
            mask_zero: Whether the Embedding masks the padding, id 0.

        Raises:
            ValueError: `mask_zero` is true, but the model has no Embedding.
        """
        if mask_zero and not self.has_embedding:
            raise ValueError(f"mask_zero must be False for {self.name}, which has no Embedding")

        def find(stock: ModuleType, name: str) -> Any:
            fast = getattr(fastseq.keras, f"Fast{name}", None) if layers == "fast" else None
            return fast or getattr(stock, name)

        def layer(name: str) -> Any:
            found = find(keras.layers, name)
            return partial(found, mask_zero=True) if mask_zero and name == "Embedding" else found

        model = keras.Sequential(self.stack(layer), name=self.name.replace("-", "_"))
        if layers == "stock-jit":
            for one in with_wrapped(model.layers):
                one.supports_jit = True  # it is false in LSTM and GRU, so that Keras can use cuDNN
        jit_compile = True if layers == "stock-jit" else "auto"
        optimizer = self.optimizer(partial(find, keras.optimizers))
        model.compile(loss=self.loss, optimizer=optimizer, metrics=[self.metric.key], jit_compile=jit_compile)
        return model


def with_wrapped(layers: Iterable[Any]) -> Iterator[Any]:
    """Yields the layers, and the layers inside of Bidirectional ones."""
    for layer in layers:
        yield layer
        if isinstance(layer, keras.layers.Bidirectional):
            yield from (layer.forward_layer, layer.backward_layer)


def _load_reuters(data: str) -> TrainingData:
    corpus = load_reuters(num_words=1000, maxlen=100, data=data)
    one_hot = np.eye(corpus.num_classes, dtype=np.float32)
    return TrainingData(corpus.x_train, one_hot[corpus.y_train], corpus.x_test, one_hot[corpus.y_test], corpus.source)


def _ids(maxlen: int) -> Any:
    return keras.Input((maxlen,), dtype="int32")


def _one_hot(ids: Any) -> Any:
    return keras.ops.one_hot(ids, 300, dtype="float32")


def _reuters(layer: LayerNamed, recurrent: Callable[[LayerNamed], list[Any]] | None = None, width: int = 100) -> Any:
    """A model that classifies texts with the given recurrent layers, by default with one LSTM."""
    layers = recurrent(layer) if recurrent else [layer("LSTM")(100)]
    return [_ids(100), layer("Embedding")(1000, width), *layers, layer("Dense")(46, activation="softmax")]


def _deep_lstm(layer: LayerNamed) -> list[Any]:
    return [layer("LSTM")(100, return_sequences=sequences) for sequences in (True, True, False)]


def _imdb_cnn_lstm(layer: LayerNamed, *, width: int = 100, kernel_size: int = 5, units: int = 55) -> list[Any]:
    return [
        _ids(500),
        layer("Embedding")(5000, width),
        layer("Dropout")(0.5),
        layer("Conv1D")(64, kernel_size, activation="relu"),
        layer("MaxPooling1D")(4),
        layer("LSTM")(units),
        layer("Dense")(1),
        layer("Activation")("sigmoid"),
    ]


def _imdb_lstm_attention(layer: LayerNamed) -> list[Any]:
    return [
        _ids(500),
        layer("Embedding")(5000, 500),
        layer("Dropout")(0.5),
        layer("LSTM")(64, return_sequences=True),
        FastAttention(),  # in the stock twin, too: keras.layers.Attention computes something else
        layer("Dropout")(0.5),
        layer("Dense")(1),
        layer("Activation")("sigmoid"),
    ]


def _imdb_rnn(layer: LayerNamed, *inputs: Any) -> list[Any]:
    return [*inputs, layer("SimpleRNN")(8), layer("Dense")(1, activation="sigmoid")]


# The settings that the models of one textbook share.
_REUTERS: dict[str, Any] = {
    "load": _load_reuters,
    "loss": "categorical_crossentropy",
    "batch_size": 20,
    "epochs": 200,
}
_IMDB: dict[str, Any] = {
    "load": lambda data: load_imdb(num_words=5000, maxlen=500, data=data),
    "loss": "binary_crossentropy",
    "batch_size": 40,
    "epochs": 100,
}
_IMDB_RNN: dict[str, Any] = {
    "load": lambda data: load_imdb(num_words=300, maxlen=100, data=data),
    "loss": "binary_crossentropy",
    "optimizer": lambda optimizer: optimizer("RMSprop")(learning_rate=1e-4),
    "batch_size": 64,
    "epochs": 100,
    "patience": 3,
    "validation_split": 0.2,
    "keep_best": True,
}

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in [
        ModelSpec("reuters-lstm", stack=_reuters, patience=5, **_REUTERS),
        ModelSpec("reuters-lstm-small", stack=partial(_reuters, width=32), patience=10, **_REUTERS),
        ModelSpec("reuters-gru", stack=lambda of: _reuters(of, lambda of: [of("GRU")(100)]), patience=5, **_REUTERS),
        ModelSpec(
            "reuters-bilstm",
            stack=lambda of: _reuters(of, lambda of: [of("Bidirectional")(of("LSTM")(100))]),
            patience=5,
            **_REUTERS,
        ),
        ModelSpec("reuters-deep-lstm", stack=lambda of: _reuters(of, _deep_lstm), patience=5, **_REUTERS),
        ModelSpec("imdb-cnn-lstm", stack=_imdb_cnn_lstm, patience=3, validation_split=0.25, **_IMDB),
        ModelSpec(
            "imdb-cnn-lstm-wide",
            stack=partial(_imdb_cnn_lstm, width=500, kernel_size=3, units=50),
            patience=5,
            validation_split=0.25,
            **_IMDB,
        ),
        ModelSpec("imdb-lstm-attention", stack=_imdb_lstm_attention, patience=3, **_IMDB),
        ModelSpec(
            "imdb-rnn-onehot",
            stack=lambda of: _imdb_rnn(of, keras.Input((100, 300))),
            encode=_one_hot,
            has_embedding=False,
            **_IMDB_RNN,
        ),
        ModelSpec(
            "imdb-rnn-embedding", stack=lambda of: _imdb_rnn(of, _ids(100), of("Embedding")(300, 16)), **_IMDB_RNN
        ),
        ModelSpec(
            "price-forecast",
            load=load_prices,
            stack=lambda of: [keras.Input((20, 1)), of("LSTM")(32), of("Dense")(1)],
            loss="mse",
            metric=MAE,
            batch_size=32,
            epochs=100,
            patience=5,
            validation_split=0.2,
            keep_best=True,
            has_embedding=False,
        ),
    ]
}

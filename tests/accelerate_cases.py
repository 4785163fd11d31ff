"""Models of stock Keras layers for `accelerate`: one for each way in which a layer can be part of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

BATCH, TIMESTEPS, FEATURES, IDS = 4, 6, 3, 20


def _x(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal((BATCH, *shape)).astype("float32")


def _sequences() -> Any:
    return _x(TIMESTEPS, FEATURES)


def _of_sequences(*parts: Any) -> tuple[Any, Any]:
    return keras.Sequential([_input(), *parts]), _sequences()


def _ids() -> Any:
    ids = np.random.default_rng(0).integers(1, IDS, (BATCH, TIMESTEPS)).astype("int32")
    ids[:, :3] = 0
    return ids


def _input() -> Any:
    return keras.Input((TIMESTEPS, FEATURES))


def stacked() -> tuple[Any, Any]:
    return _of_sequences(
        layers.LSTM(5, return_sequences=True, dropout=0.2, recurrent_dropout=0.2, seed=1),
        layers.GRU(4, return_sequences=True),
        layers.SpatialDropout1D(0.3, seed=2),
        layers.SimpleRNN(3),
        layers.Dropout(0.3, seed=3),
        layers.Dense(1),
    )


def not_built() -> tuple[Any, Any]:
    return keras.Sequential([layers.LSTM(5), layers.Dropout(0.3, seed=3), layers.Dense(1)]), _sequences()


def bidirectional() -> tuple[Any, Any]:
    return _of_sequences(
        layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode="sum"),
        layers.Bidirectional(layers.GRU(4), backward_layer=layers.SimpleRNN(4, go_backwards=True)),
        layers.Dense(1),
    )


def encoder_decoder() -> tuple[Any, Any]:
    inputs, target = _input(), keras.Input((TIMESTEPS, FEATURES))
    _, *states = layers.LSTM(4, return_state=True, name="encoder")(inputs)
    decoded, _, _ = layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")(
        target, initial_state=states
    )
    return keras.Model([inputs, target], layers.Dense(1)(decoded)), [_sequences(), _sequences()[:, ::-1].copy()]


def time_distributed() -> tuple[Any, Any]:
    parts = [
        keras.Input((3, TIMESTEPS, FEATURES)),
        layers.TimeDistributed(layers.Conv1D(4, 3, activation="relu")),
        layers.TimeDistributed(layers.MaxPooling1D(2)),
        layers.TimeDistributed(layers.LSTM(4)),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    ]
    return keras.Sequential(parts), _x(3, TIMESTEPS, FEATURES)


def shared() -> tuple[Any, Any]:
    one, two = _input(), _input()
    lstm, pool = layers.LSTM(4, return_sequences=True), layers.AveragePooling1D(2)
    merged = layers.Concatenate()([pool(lstm(one)), pool(lstm(two))])
    return keras.Model([one, two], layers.Dense(1)(layers.Flatten()(merged))), [_sequences(), -_sequences()]


def nested() -> tuple[Any, Any]:
    inner = keras.Sequential([_input(), layers.Conv1D(4, 3), layers.LSTM(4, return_sequences=True)], name="inner")
    inputs = _input()
    middle = keras.Model(inputs, layers.GRU(4)(inner(inputs)), name="middle")
    outer = _input()
    return keras.Model(outer, layers.Dense(1)(middle(outer))), _sequences()


def two_inputs_two_outputs() -> tuple[Any, Any]:
    ids, sequences = keras.Input((TIMESTEPS,), dtype="int32"), _input()
    words = layers.LSTM(4)(layers.Embedding(IDS, 4)(ids))
    signal = layers.GRU(4)(layers.Conv1D(4, 3, padding="causal", activation="tanh")(sequences))
    both = layers.Concatenate()([words, signal])
    return keras.Model([ids, sequences], [layers.Dense(1)(both), layers.Dense(2)(both)]), [_ids(), _sequences()]


@keras.saving.register_keras_serializable("accelerate_cases")
class Block(layers.Layer):  # type: ignore[misc]
    """A layer of the user's with layers in it."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.recurrent = [layers.LSTM(units, return_sequences=True), layers.GRU(units, return_sequences=True)]
        self.named = {"drop": layers.Dropout(0.3, seed=5)}

    def build(self, input_shape: Any) -> None:
        for recurrent in self.recurrent:
            recurrent.build(input_shape)
            input_shape = (*input_shape[:-1], self.units)

    def call(self, inputs: Any, training: bool = False) -> Any:
        for recurrent in self.recurrent:
            inputs = recurrent(inputs, training=training)
        return self.named["drop"](inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("accelerate_cases")
class Subclassed(keras.Model):  # type: ignore[misc]
    """A model of which Keras knows no graph."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = layers.Conv1D(4, 3, activation="relu")
        self.pool = layers.MaxPooling1D(2)
        self.blocks = [Block(3), Block(2)]
        self.last = layers.Dense(1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.pool(self.convolution(inputs))
        for block in self.blocks:
            x = block(x, training=training)
        return self.last(x)


def subclassed() -> tuple[Any, Any]:
    return Subclassed(), _sequences()


def cells() -> tuple[Any, Any]:
    return _of_sequences(
        layers.RNN(layers.LSTMCell(4, dropout=0.2, seed=4, name="mine"), return_sequences=True),
        layers.RNN(layers.GRUCell(4, reset_after=False), return_sequences=True, go_backwards=True),
        layers.RNN(layers.SimpleRNNCell(4), return_sequences=True),
        layers.RNN([layers.LSTMCell(3), layers.LSTMCell(4)]),
        layers.Dense(1),
    )


def stateful() -> tuple[Any, Any]:
    inputs = keras.Input(batch_shape=(BATCH, TIMESTEPS, FEATURES))
    x = layers.LSTM(4, stateful=True, return_sequences=True)(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.GRU(4, stateful=True)(x))), _sequences()


def masked() -> tuple[Any, Any]:
    parts = [
        keras.Input((TIMESTEPS,), dtype="int32"),
        layers.Embedding(IDS, 4, mask_zero=True),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.GRU(4),
        layers.Dense(1),
    ]
    return keras.Sequential(parts), _ids()


def mixed() -> tuple[Any, Any]:
    return _of_sequences(
        layers.Conv1D(4, 3, name="convolution"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling1D(2),
        layers.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid"),
        layers.Dense(4, activation="relu"),
        layers.Dense(1),
    )


def convolved_and_pooled() -> tuple[Any, Any]:
    return _of_sequences(
        layers.Conv1D(6, 3, activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(5, 2),
        layers.Activation("relu"),
        layers.MaxPooling1D(2, padding="same"),
        layers.Flatten(),
        layers.Dense(1),
    )


def branches() -> tuple[Any, Any]:
    inputs = _input()
    convolved = layers.Conv1D(4, 3, activation="relu")(inputs)
    pooled = layers.MaxPooling1D(2)(convolved)
    both = layers.Concatenate()([layers.Flatten()(pooled), layers.GRU(3)(convolved)])
    return keras.Model(inputs, layers.Dense(1)(both)), _sequences()


CASES: dict[str, Callable[[], tuple[Any, Any]]] = {
    build.__name__: build
    for build in (
        stacked,
        not_built,
        bidirectional,
        encoder_decoder,
        time_distributed,
        shared,
        nested,
        two_inputs_two_outputs,
        subclassed,
        cells,
        stateful,
        masked,
        mixed,
        convolved_and_pooled,
        branches,
    )
}

"""Models behind layers with activations, whose gradients tell TensorFlow sizes that it did not know.

There the operations' shape inference matters: see test_tensorflow_shapes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, tf
from tolerances import STOCK, assert_close

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

from fastseq.keras import (
    FastAttention,
    FastAveragePooling1D,
    FastConv1D,
    FastConv1DMaxPooling1D,
    FastDropout,
    FastEmbedding,
    FastGRU,
    FastLSTM,
    FastMaxPooling1D,
    FastRNN,
    FastSimpleRNN,
    FastSpatialDropout1D,
)

C = 5
_ACTIVATIONS = ("relu", "relu6", "elu", "selu", "leaky_relu", "softplus", "tanh", "gelu", "linear")
_WIDTH = 6
_IDS_OF_WORDS = "Embedding"


def _front(kind: str, activation: str, native: bool) -> list[Any]:
    """Layers that give (batch, timesteps, 6), activated; those that can be fast are, if `native`."""
    activate = keras.layers.Activation(activation)
    return {
        "Dense": lambda: [keras.layers.Dense(_WIDTH, activation=activation)],
        "Conv1D": lambda: [FastConv1D(_WIDTH, 2, padding="same", activation=activation, use_native=native)],
        "LayerNormalization": lambda: [keras.layers.Dense(_WIDTH), keras.layers.LayerNormalization(), activate],
        "BatchNormalization": lambda: [keras.layers.Dense(_WIDTH), keras.layers.BatchNormalization(), activate],
        "Dropout": lambda: [
            keras.layers.Dense(_WIDTH, activation=activation),
            FastDropout(0.25, seed=3, use_native=native),
        ],
        _IDS_OF_WORDS: lambda: [FastEmbedding(11, _WIDTH, use_native=native), activate],
    }[kind]()


_FRONTS = ("Dense", "Conv1D", "LayerNormalization", "BatchNormalization", "Dropout", _IDS_OF_WORDS)

# What comes behind, fast or stock; "use_native=True" makes sure of the former.
_BEHIND: dict[str, Callable[[Any], Any]] = {
    "LSTM": lambda n: FastLSTM(4, return_sequences=True, use_native=n),
    "GRU": lambda n: FastGRU(4, use_native=n),
    "SimpleRNN": lambda n: FastSimpleRNN(4, use_native=n),
    "RNN": lambda n: FastRNN(keras.layers.LSTMCell(4), use_native=n),
    "Conv1D": lambda n: FastConv1D(4, 3, use_native=n),
    "Conv1DMaxPooling1D": lambda n: FastConv1DMaxPooling1D(4, 2, activation="tanh", use_native=n),
    "MaxPooling1D": lambda n: FastMaxPooling1D(2, use_native=n),
    "AveragePooling1D": lambda n: FastAveragePooling1D(2, use_native=n),
    "Dropout": lambda n: FastDropout(0.5, seed=1, use_native=n),
    "SpatialDropout1D": lambda n: FastSpatialDropout1D(0.5, seed=1, use_native=n),
    "Attention": lambda n: FastAttention(4),
    "Bidirectional": lambda n: keras.layers.Bidirectional(
        FastLSTM(4, use_native=n), backward_layer=FastLSTM(4, go_backwards=True, use_native=n)
    ),
    "TimeDistributed": lambda n: keras.layers.TimeDistributed(FastLSTM(4, use_native=n)),
}
# Of 5 rows with 6 timesteps. Keras's TimeDistributed has no gradient where it does not know the timesteps.
_UNKNOWN = ((None, 6), (5, None), (None, None))
every_front = pytest.mark.parametrize("front", _FRONTS)
every_behind = pytest.mark.parametrize("behind", _BEHIND)


def _layers(front: str, activation: str, behind: str, native: bool) -> list[Any]:
    between = [keras.layers.Reshape((-1, 3, _WIDTH // 3))] if behind == "TimeDistributed" else []
    return [*_front(front, activation, native), *between, _BEHIND[behind](native)]


def _twins(front: str, activation: str, behind: str) -> tuple[Any, Any]:
    """The same models with a fast layer and with the stock one, with the same weights, which take 3-D inputs or ids."""
    models = []
    for native in (True, False):
        keras.utils.set_random_seed(5)
        model = keras.Sequential(_layers(front, activation, behind, native))
        model.build((None, None) if front == _IDS_OF_WORDS else (None, None, C))
        models.append(model)
    fast, stock = models
    stock.set_weights(fast.get_weights())
    return fast, stock


def _input(front: str, batch: int, timesteps: int) -> Any:
    rng = np.random.default_rng(1)
    if front == _IDS_OF_WORDS:
        return tf.constant(rng.integers(0, 11, (batch, timesteps)), tf.int32)
    return tf.constant(rng.standard_normal((batch, timesteps, C), dtype=np.float32))


def _loss_and_gradients(model: Any, x: Any) -> Any:
    """A loss that depends on sizes, as a mean does, its gradients, and sizes in front of the last layer."""
    with tf.GradientTape() as tape:
        between = x
        for layer in model.layers[:-1]:
            between = layer(between, training=True) if _takes_training(layer) else layer(between)
        tape.watch(between)
        last = model.layers[-1]
        outputs = last(between, training=True) if _takes_training(last) else last(between)
        rows = tf.cast(tf.shape(between)[0] * tf.shape(between)[1], outputs.dtype)
        loss = tf.nn.l2_loss(outputs) / rows + tf.reduce_sum(outputs) / tf.cast(tf.shape(outputs)[0], outputs.dtype)
    gradients = tape.gradient(loss, [between, *(weight.value for weight in model.trainable_weights)])
    return loss, [tf.convert_to_tensor(gradient) for gradient in gradients], tf.shape(between), tf.shape(gradients[0])


def _takes_training(layer: Any) -> bool:
    return "training" in layer.call_signature_parameters if hasattr(layer, "call_signature_parameters") else True


@every_behind
@every_front
def test_unknown_sizes_behind_an_activation(front: str, behind: str) -> None:
    """In a function that does not know the batch size, the timesteps or both, all is as with stock Keras."""
    x = _input(front, 5, 6)
    for activation in _ACTIVATIONS:
        fast, stock = _twins(front, activation, behind)
        loss, gradients, *shapes = _loss_and_gradients(stock, x)
        for known in _UNKNOWN[:1] if behind == "TimeDistributed" else _UNKNOWN:
            spec = tf.TensorSpec([*known, *x.shape[2:]], x.dtype)
            for layer in fast.layers:  # draws as the stock model has
                if hasattr(layer, "seed_generator"):
                    layer.seed_generator.state.assign([layer.seed_generator._initial_seed or 0, 0])
            traced = tf.function(lambda x, fast=fast: _loss_and_gradients(fast, x), input_signature=[spec])
            got_loss, got_gradients, *got_shapes = traced(x)
            what = f"{activation}, {known}"
            for got, came in zip(got_shapes, shapes, strict=True):
                np.testing.assert_array_equal(got, came, err_msg=what)
            assert_close(got_loss, loss, STOCK["float32"])
            for got, came in zip(got_gradients, gradients, strict=True):
                assert_close(got, came, STOCK["float32"])


def _branches(front: str, behind: str, native: bool) -> Any:
    """A model with every activation between the same two kinds of layers, side by side."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,) if front == _IDS_OF_WORDS else (6, C))
    outputs = []
    for activation in _ACTIVATIONS:
        x = inputs
        for layer in _layers(front, activation, behind, native):
            x = layer(x)
        outputs.append(keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    return keras.Model(inputs, keras.layers.Concatenate()(outputs))


@every_behind
@every_front
def test_fit_with_a_last_batch_that_is_smaller(front: str, behind: str) -> None:
    x = _input(front, 11, 6).numpy()
    y = np.random.default_rng(2).standard_normal((11, len(_ACTIVATIONS)))
    histories, weights = [], []
    for native in (True, False):
        model = _branches(front, behind, native)
        # Stock Keras step by step: nothing is inferred there.
        model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=not native)
        histories.append(model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"])
        weights.append(model.get_weights())
    assert_close(*histories, STOCK["float32"])
    for fast, stock in zip(*weights, strict=True):
        assert_close(fast, stock, STOCK["float32"])

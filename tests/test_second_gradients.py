"""Gradients of gradients, and forward mode: as with stock Keras, eager and traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, every_wrap, tf
from tolerances import STOCK, assert_close

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

from fastseq.keras import (
    FastAveragePooling1D,
    FastConv1D,
    FastConv1DMaxPooling1D,
    FastGRU,
    FastLSTM,
    FastMaxPooling1D,
    FastRNN,
    FastSimpleRNN,
)

_RNG = np.random.default_rng(0)
X = tf.constant(_RNG.standard_normal((3, 6, 4), dtype=np.float32))
MASK = tf.constant(_RNG.random((3, 6)) > 0.4)

_LAYERS: dict[str, Callable[[Any], Any]] = {
    "lstm": lambda n: FastLSTM(5, return_sequences=True, use_native=n),
    "lstm backwards": lambda n: FastLSTM(5, go_backwards=True, activation="sigmoid", use_native=n),
    "lstm without bias": lambda n: FastLSTM(5, use_bias=False, recurrent_activation="hard_sigmoid", use_native=n),
    "lstm with dropout": lambda n: FastLSTM(5, dropout=0.3, recurrent_dropout=0.4, seed=1, use_native=n),
    "gru": lambda n: FastGRU(5, use_native=n),
    "gru reset before": lambda n: FastGRU(5, reset_after=False, return_sequences=True, use_native=n),
    "gru with dropout": lambda n: FastGRU(5, dropout=0.3, seed=1, use_native=n),
    "simple_rnn": lambda n: FastSimpleRNN(5, use_native=n),
    "rnn": lambda n: FastRNN(keras.layers.LSTMCell(5), zero_output_for_mask=True, return_sequences=True, use_native=n),
    "conv1d": lambda n: FastConv1D(5, 3, activation="tanh", padding="causal", dilation_rate=2, use_native=n),
    "conv1d in groups": lambda n: FastConv1D(
        6, 3, activation="sigmoid", padding="same", strides=2, groups=2, use_native=n
    ),
    "conv1d without bias": lambda n: FastConv1D(5, 2, use_bias=False, use_native=n),
    "conv1d_max_pool": lambda n: FastConv1DMaxPooling1D(5, 3, activation="tanh", padding="same", use_native=n),
    "max_pool": lambda n: FastMaxPooling1D(3, strides=2, padding="same", use_native=n),
    "max_pool of many steps": lambda n: FastMaxPooling1D(300, strides=1, padding="same", use_native=n),
    "average_pool": lambda n: FastAveragePooling1D(2, use_native=n),
}
every_layer = pytest.mark.parametrize("name", _LAYERS)


def _call(name: str, native: bool) -> tuple[Callable[[Any], Any], list[Any]]:
    """A layer's call, which draws the same masks every time, and its weights."""
    keras.utils.set_random_seed(1)
    layer = _LAYERS[name](native)
    layer.build(X.shape)
    drops = "dropout" in name

    def call(x: Any) -> Any:
        if not drops:
            return layer(x)
        layer.cell.seed_generator.state.assign([1, 0])
        return layer(x, training=True)

    return call, [weight.value for weight in layer.trainable_weights]


def _first(call: Any, x: Any, sources: list[Any]) -> list[Any]:
    with tf.GradientTape() as tape:
        tape.watch([x, *sources])
        loss = tf.reduce_sum(tf.sin(call(x)))
    return list(tape.gradient(loss, [x, *sources]))


def _penalty(call: Any, x: Any, weights: list[Any]) -> Any:
    """As WGAN-GP's: of the gradient by x."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        by_x = _first(call, x, [])[0]
        loss = tf.reduce_sum((tf.norm(by_x, axis=(1, 2)) - 1) ** 2)
    return tape.gradient(loss, [x, *weights], unconnected_gradients="zero")


def _everything(call: Any, x: Any, weights: list[Any]) -> Any:
    """Of all gradients."""
    with tf.GradientTape() as tape:
        tape.watch([x, *weights])
        loss = tf.add_n([tf.reduce_sum(tf.cos(gradient)) for gradient in _first(call, x, weights)])
    return tape.gradient(loss, [x, *weights])


def _by_weights(call: Any, x: Any, weights: list[Any]) -> Any:
    """As meta-learning's: of the gradient by the weights."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = tf.add_n([tf.zeros(()), *(tf.reduce_sum(tf.cos(g)) for g in _first(call, x, weights)[1:])])
    return tape.gradient(loss, weights, unconnected_gradients="zero")


def _third(call: Any, x: Any, weights: list[Any]) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(_penalty(call, x, weights)[0] ** 2)
    return [tape.gradient(loss, x, unconnected_gradients="zero")]


@every_wrap
@every_layer
@pytest.mark.parametrize("of", [_penalty, _everything, _by_weights])
def test_gradients_of_gradients(of: Callable[..., Any], name: str, wrap: Callable[[Any], Any]) -> None:
    call, weights = _call(name, True)
    got = wrap(lambda x: of(call, x, weights))(X)
    # Eager: in a graph, TensorFlow's own second gradient of a pooling over windows longer than the sequence is wrong.
    stock_call, stock_weights = _call(name, False)
    expected = of(stock_call, X, stock_weights)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert_close(one, other, STOCK["float32"])


@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn", "conv1d", "conv1d_max_pool", "max_pool"])
def test_sizes_that_are_not_known(name: str) -> None:
    call, weights = _call(name, True)
    traced = tf.function(lambda x: _everything(call, x, weights), input_signature=[tf.TensorSpec((None, None, 4))])
    stock_call, stock_weights = _call(name, False)
    for one, other in zip(traced(X), _everything(stock_call, X, stock_weights), strict=True):
        assert_close(one, other, STOCK["float32"])


@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn", "conv1d", "conv1d_max_pool", "max_pool"])
def test_third_gradients(name: str) -> None:
    got, expected = (_third(call, X, weights) for call, weights in (_call(name, native) for native in (True, False)))
    for one, other in zip(got, expected, strict=True):
        assert_close(one, other, STOCK["float32"])


@every_wrap
@pytest.mark.parametrize("name", [name for name in _LAYERS if "conv" not in name and "pool" not in name])
def test_masks(name: str, wrap: Callable[[Any], Any]) -> None:
    def compute(native: bool) -> Any:
        keras.utils.set_random_seed(1)
        layer = _LAYERS[name](native)
        layer.build(X.shape)
        weights = [weight.value for weight in layer.trainable_weights]
        return wrap(lambda x: _everything(lambda x: layer(x, mask=MASK), x, weights))(X)

    results = [compute(native) for native in (True, False)]
    for one, other in zip(*results, strict=True):
        assert_close(one, other, STOCK["float32"])


@every_layer
def test_forward_mode(name: str) -> None:
    def tangent(native: bool, wrap: Callable[[Any], Any]) -> Any:
        call, _ = _call(name, native)

        def compute(x: Any) -> Any:
            with tf.autodiff.ForwardAccumulator(x, tf.sin(x)) as accumulator:
                outputs = call(x)
            return accumulator.jvp(outputs)

        return wrap(compute)(X)

    expected = tangent(False, lambda f: f)
    assert_close(tangent(True, lambda f: f), expected, STOCK["float32"])
    if "dropout" not in name:  # Keras cannot assign to the seed there
        assert_close(tangent(True, tf.function), expected, STOCK["float32"])  # stock recurrent layers cannot do that


@pytest.mark.parametrize("pfor", [True, False])
def test_hessian_of_a_model(pfor: bool) -> None:
    def hessian(native: bool) -> Any:
        keras.utils.set_random_seed(2)
        model = keras.Sequential(
            [
                keras.Input((6, 4)),
                FastConv1D(3, 2, activation="tanh", use_native=native),
                FastLSTM(2, use_native=native),
                keras.layers.Dense(1),
            ]
        )

        @tf.function
        def compute(x: Any) -> Any:
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = model(x)
                gradient = inner.gradient(y, x)
            return outer.batch_jacobian(gradient, x, experimental_use_pfor=pfor)

        return compute(X)

    assert_close(hessian(True), hessian(False), STOCK["float32"])

"""What people do with Keras models every day, with all fast layers in the model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from everyday_model import IDS, LABELS, compiled, everyday_model, kind
from tolerances import STOCK, assert_close

from fastseq.keras import FastLSTM, NativeFallbackWarning


def test_compile_turns_xla_off() -> None:
    """As Keras does for layers that say that XLA cannot compile them."""
    model = everyday_model(True)
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
        compiled(model, True, jit_compile=True)
    assert not model.jit_compile
    assert np.isfinite(model.train_on_batch(IDS, LABELS)).all()


def test_functions_that_xla_compiles_are_left_to_stock() -> None:
    model = everyday_model(True)
    expected = model(IDS)
    with pytest.warns(NativeFallbackWarning, match=r"Layer '.*' runs on stock Keras .* XLA compiles") as told:
        got = tf.function(lambda ids: tf.function(model)(ids), jit_compile=True)(tf.constant(IDS))
    assert len(told) == 7  # all the layers but dropout, which has nothing to do
    assert_close(got, expected, STOCK["float32"])
    assert_close(tf.function(model)(tf.constant(IDS)), expected, 0.0)


def test_gradients_that_xla_compiles_are_left_to_stock() -> None:
    x = tf.random.stateless_normal((3, 4, 2), (1, 2))

    def gradients(fast: bool) -> Any:
        keras.utils.set_random_seed(1)
        dropout, lstm = kind(keras.layers.Dropout, fast)(0.5, seed=1), kind(keras.layers.LSTM, fast)(2)
        lstm.build(x.shape)

        @tf.function(jit_compile=True)
        def compute(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = lstm(dropout(x, training=True))
            return tape.gradient(y, [x, *(v.value for v in lstm.trainable_variables)])

        return compute(x)

    with pytest.warns(NativeFallbackWarning, match="XLA compiles"):
        got = gradients(True)
    for one, two in zip(got, gradients(False), strict=True):
        assert_close(one, two, 0.0)  # to the bit, though XLA draws other random numbers


def test_use_native_refuses_xla() -> None:
    layer = FastLSTM(2, use_native=True, name="mine")
    x = tf.ones((2, 3, 2))
    layer(x)
    with pytest.raises(ValueError, match="use_native=True, but the kernels cannot run layer 'mine': XLA compiles"):
        tf.function(layer, jit_compile=True)(x)

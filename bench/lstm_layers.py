"""A stock and a fast LSTM layer with the same weights, as functions to time: one training step or one prediction."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from shapes import RecurrentShape

from fastseq.keras import FastLSTM

KINDS = ("fast", "stock", "stock-jit")


def make_step(kind: str, shape: RecurrentShape, *, backward: bool) -> Callable[[], Any]:
    """A compiled function that computes the layer's output, with `backward` also the gradients by x and weights."""
    keras.utils.set_random_seed(0)
    x = tf.constant(np.random.default_rng(0).standard_normal((shape.batch, shape.timesteps, shape.inputs)), "float32")
    layer: Any = FastLSTM(shape.units, use_native=True) if kind == "fast" else keras.layers.LSTM(shape.units)
    layer.build(x.shape)
    weights = [w.value for w in layer.trainable_variables]

    @tf.function(jit_compile=kind == "stock-jit")
    def forward() -> Any:
        return layer(x, training=False)

    @tf.function(jit_compile=kind == "stock-jit")
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y)
        return [y, *tape.gradient(loss, [x, *weights])]

    function = step if backward else forward
    return lambda: [tensor.numpy() for tensor in tf.nest.flatten(function())]


def verify(fast: Callable[[], Any], other: Callable[[], Any]) -> None:
    """Raises AssertionError unless both give the same results."""
    for one, two in zip(fast(), other(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(two).max())))

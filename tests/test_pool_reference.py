"""The definition of pooling, against finite differences and stock Keras."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from kernel_checks import finite_difference
from pool_cases import WINDOWS, Window, every_dtype, every_pooling, run_pool, small_integers
from tolerances import FINITE_DIFFERENCE, STOCK, assert_close

from fastseq import reference

STOCK_LAYERS = {"max": keras.layers.MaxPooling1D, "average": keras.layers.AveragePooling1D}


def _run_stock(pooling: str, x: Any, window: Window) -> tuple[Any, Any]:
    layer = STOCK_LAYERS[pooling](*window, dtype=x.dtype.name)
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
    doutputs = np.random.default_rng(1).standard_normal(outputs.shape).astype(x.dtype)
    return outputs.numpy(), tape.gradient(outputs, inputs, tf.constant(doutputs)).numpy()


@every_dtype
@every_pooling
def test_matches_stock_keras(pooling: str, dtype: str) -> None:
    for timesteps, window in itertools.product((1, 2, 8, 9, 10, 11), WINDOWS):
        if timesteps < window[0] and window[2] == "valid":
            continue  # stock Keras fails where there is no output
        x = small_integers((2, timesteps, 3), dtype)
        outputs, dx = _run_stock(pooling, x, window)
        expected = run_pool(reference, pooling, x, window)
        assert_close(outputs, expected.outputs, STOCK[dtype], f"{timesteps} {window} outputs")
        # For windows longer than the sequence, TensorFlow's gradient of the average, but for its oneDNN kernels, is not
        # the finite difference, by as much as half of it.
        if pooling == "max" or window[0] <= timesteps:
            assert_close(dx, expected.dx, STOCK[dtype], f"{timesteps} {window} dx")


@every_pooling
def test_matches_finite_difference(pooling: str) -> None:
    for window in [(2, None, "valid"), (3, 2, "same"), (3, 1, "same"), (4, 7, "same")]:
        # All different, and by more than the step.
        x = 0.01 * np.random.default_rng(0).permutation(2 * 11 * 3).reshape(2, 11, 3)
        doutputs = np.sin(np.arange(2 * len(reference.pool.windows(11, *window)) * 3)).reshape(2, -1, 3)

        def loss(x: Any = x, window: Any = window, doutputs: Any = doutputs) -> float:
            return float((run_pool(reference, pooling, x, window, doutputs).outputs * doutputs).sum())

        difference = finite_difference(loss, x)
        expected = run_pool(reference, pooling, x, window, doutputs).dx
        assert_close(difference, expected, FINITE_DIFFERENCE, str(window))

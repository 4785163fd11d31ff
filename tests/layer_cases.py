"""Runs a fast layer and the same stock layer, and compares them, for the tests of layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from backends import Wrap, as_it_is, assert_close, for_stock, outputs_and_gradients
from tolerances import STOCK


def run(layer: Any, x: Any, wrap: Wrap = as_it_is, **call: Any) -> list[Any]:
    """Outputs, and gradients by x and the weights of a loss that weighs every output, as NumPy arrays.

    The layer is built, and `wrap` goes around the function that computes all of this.
    """
    variables = layer.trainable_variables, layer.non_trainable_variables
    return outputs_and_gradients(lambda x: layer(x, **call), x, *variables, wrap)


def assert_same(
    stock: Any, fast: Any, x: Any, wrap: Wrap = as_it_is, *, tolerance: float | None = None, **call: Any
) -> None:
    """That both give the same results but for rounding; x has the layers' dtype."""
    if tolerance is None:
        tolerance = STOCK[keras.backend.standardize_dtype(x.dtype)]
    for one, two in zip(run(stock, x, for_stock(wrap), **call), run(fast, x, wrap, **call), strict=True):
        assert_close(two, one, tolerance)


def assert_same_histories(histories: list[dict[str, list[float]]], rtol: float = 1e-4) -> None:
    """That two trainings have had the same losses and metrics but for rounding."""
    for key, values in histories[0].items():
        np.testing.assert_allclose(histories[1][key], values, rtol=rtol)


def assert_fit_as_stock(
    makes: Iterable[Callable[[], Any]], x: Any, y: Any, *, run_eagerly: bool, epochs: int = 3, same_start: bool = True
) -> None:
    """That training has the same history, and ends with the same weights, with the model that either function makes.

    Where they do not begin with the same weights by `same_start`, they must do so by the same seed.
    """
    histories, weights = [], []
    start = None
    for make in makes:
        keras.utils.set_random_seed(0)
        model = make()
        if same_start:
            start = start or model.get_weights()
            model.set_weights(start)
        model.compile("adam", "mse", run_eagerly=run_eagerly)
        histories.append(model.fit(x, y, batch_size=10, epochs=epochs, validation_split=0.25, verbose=0).history)
        weights.append(model.get_weights())
    assert_same_histories(histories)
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4)


def assert_weights_go_both_ways(model: Callable[[Any], Any], kinds: tuple[Any, Any], x: Any, folder: Path) -> None:
    """That files of weights of a model of either kind of layer give the same results in one of the other."""
    for source, target in (kinds, kinds[::-1]):
        one, two = model(source), model(target)
        path = folder / f"{source.__name__}.weights.h5"
        one.save_weights(path)
        two.load_weights(path)
        for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert_close(two(x), one(x), STOCK["float32"])


@functools.cache
def keras_can_drop_everything() -> bool:
    """Whether this Keras takes a rate of 1."""
    try:
        keras.random.dropout(keras.ops.ones(1), 1.0)
    except ValueError:
        return False
    return True

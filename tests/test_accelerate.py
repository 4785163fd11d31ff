"""`accelerate` and `to_stock`: models of all kinds compute and are trained as before, and come back as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from accelerate_cases import CASES
from tolerances import assert_close

from fastseq.keras import accelerate, to_stock

PREDICTIONS, WEIGHTS = 1e-5, 1e-4
Build = Callable[[], Any]


def _seeded(build: Callable[[], Any]) -> Any:
    """What `build` builds, with weights, seeds and names that are the same every time."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    return build()


def _flat(outputs: Any) -> list[Any]:
    return [np.asarray(one) for one in keras.tree.flatten(outputs)]


def _assert_all_close(got: Any, expected: Any, tolerance: float) -> None:
    for number, (mine, theirs) in enumerate(zip(_flat(got), _flat(expected), strict=True)):
        assert_close(mine, theirs, tolerance, f"number {number}")


def _assert_same_bits(got: Any, expected: Any) -> None:
    for mine, theirs in zip(_flat(got), _flat(expected), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def _reset(model: Any) -> None:
    """The states of stateful layers."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            layer.reset_state()


def _predict(model: Any, x: Any) -> Any:
    _reset(model)
    return model.predict_on_batch(x)


def _train(model: Any, x: Any, y: Any, steps: int = 3) -> Any:
    _reset(model)
    for _ in range(steps):
        model.train_on_batch(x, y)
    return model


def _variables(model: Any) -> list[Any]:
    return [np.asarray(one.value) for one in model.variables]


def _config(model: Any) -> Any:
    return None if type(model).get_config is keras.Model.get_config else model.get_config()


def _is_fast(layer: Any) -> bool:
    return type(layer).__module__.startswith("fastseq.")


def _goes_there_and_back(build: Build, x: Any, y: Any, tmp_path: Path) -> None:
    stock, model = _seeded(build), _seeded(build)
    _assert_same_bits(_predict(model, x), _predict(stock, x))
    _assert_same_bits(_variables(model), _variables(stock))
    config = _config(model)
    assert accelerate(model, verbose=False) is model
    _assert_all_close(_predict(model, x), _predict(stock, x), PREDICTIONS)

    for one in (stock, model):
        _train(one, x, y)
    _assert_all_close(_variables(model), _variables(stock), WEIGHTS)
    trained = _predict(model, x)
    _assert_all_close(trained, _predict(stock, x), WEIGHTS)

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _assert_all_close(_predict(again, x), trained, PREDICTIONS)
    if config is None:  # its layers are made by its own __init__
        accelerate(again, verbose=False)
    assert [type(layer) for layer in again._flatten_layers()] == [type(layer) for layer in model._flatten_layers()]

    weights = _variables(model)
    assert to_stock(model) is model
    _assert_same_bits(_variables(model), weights)
    assert _config(model) == config
    assert [layer.path for layer in model._flatten_layers()] == [layer.path for layer in stock._flatten_layers()]
    assert [type(layer) for layer in model._flatten_layers()] == [type(layer) for layer in stock._flatten_layers()]
    assert type(model.optimizer) is type(stock.optimizer)
    _assert_all_close(_predict(model, x), trained, PREDICTIONS)


@pytest.mark.parametrize("case", CASES)
def test_every_architecture(case: str, tmp_path: Path) -> None:
    x = CASES[case]()[1]

    def build() -> Any:
        model = CASES[case]()[0]
        # Eager, for the sake of time: tracing takes longer than all else. Graphs are tested below.
        model.compile(keras.optimizers.Adam(1e-3), "mse", run_eagerly=True)
        return model

    y = [np.full_like(output, 0.1) for output in _flat(_seeded(build).predict_on_batch(x))]
    _goes_there_and_back(build, x, y if len(y) > 1 else y[0], tmp_path)

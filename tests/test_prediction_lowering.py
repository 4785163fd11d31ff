"""Graphs of models: interpreted, they give what the models give; what cannot be lowered is refused by name."""

from __future__ import annotations

from typing import Any

import accelerate_cases
import keras
import numpy as np
import prediction_cases
import pytest
from graph_interpreter import Interpreter
from tolerances import assert_close

from fastseq.prediction import Graph
from fastseq.prediction.lowering import lower
from fastseq.prediction.optimization import optimized
from fastseq.training.models import MODELS

# Keras tells of layers that destroy masks; so do the graphs.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")

# Stock Keras in float32 beside the graph in float64: see `tolerances.REFERENCE`.
TOLERANCE = 1e-5


def check(model: Any, inputs: Any, calls: int = 1) -> Graph:
    """Compares a model with its graph, as it is lowered and as it is optimized."""
    graph = lower(model)
    interpreters = [Interpreter(graph), Interpreter(optimized(graph))]
    for _ in range(calls):
        expected = model.predict(inputs, batch_size=64, verbose=0)
        for interpreter in interpreters:
            got = graph.output_structure.pack(interpreter(keras.tree.flatten(inputs)))
            keras.tree.assert_same_structure(got, expected)
            for one, other in zip(keras.tree.flatten(got), keras.tree.flatten(expected), strict=True):
                assert_close(one, other, TOLERANCE)
    return graph


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_training_models(name: str, mask_zero: bool) -> None:
    spec = MODELS[name]
    if mask_zero and not spec.has_embedding:
        pytest.skip("the model has no Embedding to mask")
    model = spec.build("fast", mask_zero=mask_zero)
    shape = (3, *model.inputs[0].shape[1:])
    rng = np.random.default_rng(0)
    if spec.has_embedding:
        ids = rng.integers(1, 300, shape).astype("int32")
        ids[0, :40] = ids[1, ::2] = ids[2] = 0
        graph = check(model, ids)
        assert graph.inputs[0].dtype == "integers"
    else:
        check(model, rng.standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("name", accelerate_cases.CASES)
def test_architectures(name: str) -> None:
    if name in ("not_built", "subclassed", "cells"):
        pytest.skip("see the tests of refusals")
    model, inputs = accelerate_cases.CASES[name]()
    check(model, inputs, calls=2)


@pytest.mark.parametrize("name", prediction_cases.CASES)
def test_mixed_layers(name: str) -> None:
    model, inputs = prediction_cases.CASES[name]()
    check(model, inputs, calls=3)

"""Keras backends without some capabilities: layers must ask for each, and work without it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, tf

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

import fastseq.keras as fast
from fastseq.keras.backend import tensorflow as backend

MAKERS: dict[str, Any] = {
    "rnn": lambda **choice: fast.FastLSTM(3, **choice),
    "conv1d": lambda **choice: fast.FastConv1D(3, 2, **choice),
    "max_pool": fast.FastMaxPooling1D,
    "average_pool": lambda **choice: fast.FastAveragePooling1D(2, **choice),
    "dropout": lambda **choice: fast.FastDropout(0.5, **choice),
    "embedding": lambda **choice: fast.FastEmbedding(3, 2, **choice),
    "adam": fast.FastAdam,
}


@pytest.mark.parametrize("operation", MAKERS)
def test_an_operation_may_be_missing(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAKERS[operation](use_native=True).reason_against() is None
    monkeypatch.setattr(backend, operation, None)
    reason = f"the kernels have no {operation} on the tensorflow backend"
    with pytest.raises(ValueError, match=f"the kernels cannot run this (layer|optimizer): {reason}"):
        MAKERS[operation](use_native=True)
    assert MAKERS[operation]().reason_against() == reason


def test_nothing_else_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = fast.FastMaxPooling1D(2)
    model = keras.Sequential([keras.Input((9, 3)), fast.FastConv1D(4, 2), pool])
    x = np.random.default_rng(0).random((2, 9, 3)).astype("float32")

    def pooled() -> tuple[Any, list[str]]:
        graph = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec(x.shape))
        return graph(x), [op.type for op in graph.graph.get_operations()]

    expected, operations = pooled()
    assert "FastseqMaxPoolForward" not in operations
    for capability in ("traced_convolution", "exporting"):
        monkeypatch.setattr(backend, capability, None)
    got, operations = pooled()
    assert "FastseqMaxPoolForward" in operations
    np.testing.assert_array_equal(got, expected)


def test_a_compiler_may_take_the_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = fast.FastLSTM(3)
    as_stock = fast.FastLSTM(3, use_native=False).supports_jit
    assert not layer.supports_jit
    monkeypatch.setattr(backend, "supports_jit", True)
    assert layer.supports_jit == as_stock

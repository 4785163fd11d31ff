"""`tf.debugging.enable_check_numerics`, which checks every float in the results of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fastseq.keras import (
    FastConv1D,
    FastConv1DMaxPooling1D,
    FastDropout,
    FastGRU,
    FastLSTM,
    FastMaxPooling1D,
    FastSimpleRNN,
)
from fastseq.keras.backend.tensorflow.library import ops

_LAYERS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: FastLSTM(16, use_native=True),
    "gru": lambda: FastGRU(16, return_sequences=True, use_native=True),
    "simple_rnn": lambda: FastSimpleRNN(16, use_native=True),
    "conv1d": lambda: FastConv1D(16, 3, use_native=True),
    "conv1d_max_pool": lambda: FastConv1DMaxPooling1D(16, 3, use_native=True),
    "max_pool": lambda: FastMaxPooling1D(2, use_native=True),
    "dropout": lambda: FastDropout(0.5, use_native=True),
}


@pytest.fixture
def _unchecked_afterwards() -> Iterator[None]:
    yield
    tf.debugging.disable_check_numerics()


def _leave_in_memory(not_a_number: Any) -> None:
    """What is given back to memory, in the sizes that layers ask for, is not a number."""
    widths = [width for width in (96, 80, 64, 16) for _ in range(4)]
    kept = [ops.fastseq_dropout(not_a_number[:, :, :width], 0.5, [1, 2], "none", [], True) for width in widths]
    del kept


@pytest.mark.usefixtures("_unchecked_afterwards")
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", _LAYERS)
def test_nothing_but_numbers_comes_out(name: str, traced: bool) -> None:
    layer = _LAYERS[name]()
    x = tf.random.stateless_normal((32, 60, 24), (1, 2))
    layer.build(x.shape)
    recurrent = isinstance(layer, keras.layers.RNN)
    arguments = {"mask": tf.random.stateless_uniform((32, 60), (3, 4)) > 0.5} if recurrent else {}
    if recurrent or isinstance(layer, keras.layers.Dropout):
        arguments["training"] = True

    def compute(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, **arguments))
        return tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])

    not_a_number = tf.fill((32, 60, 128), np.float32("nan"))
    tf.debugging.enable_check_numerics()
    function = tf.function(compute) if traced else compute
    for _ in range(10):
        tf.debugging.disable_check_numerics()
        _leave_in_memory(not_a_number)
        tf.debugging.enable_check_numerics()
        for gradient in function(x):
            assert np.isfinite(gradient).all()

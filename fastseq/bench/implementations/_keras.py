"""The common part of the implementations with Keras, for any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from fastseq.bench.problems import Layer, LayerProblem


class AttentionAsWritten(keras.layers.Layer):  # type: ignore[misc]
    """The formula of the package `attention`, which does not run with Keras 3, in plain operations of Keras."""

    def __init__(self, units: int = 128, score: str = "luong") -> None:
        super().__init__()
        self.units = units
        self.score = score

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the weights, which are those of FastAttention."""
        features = input_shape[-1]
        names = ["luong_w"] if self.score == "luong" else ["bahdanau_v", "bahdanau_w1", "bahdanau_w2"]
        shapes = [(features, 1 if name == "bahdanau_v" else features) for name in names]
        self.of_scores = [self.add_weight(name=n, shape=shape) for n, shape in zip(names, shapes, strict=True)]
        self.of_outputs = self.add_weight(name="attention_vector", shape=(2 * features, self.units))

    def call(self, x: Any) -> Any:
        """The outputs (batch, units)."""
        last = x[:, -1]
        if self.score == "luong":
            scores = ops.matmul(ops.matmul(x, self.of_scores[0]), last[:, :, None])
        else:
            v, w1, w2 = self.of_scores
            scores = ops.matmul(ops.tanh(ops.matmul(last, w1)[:, None] + ops.matmul(x, w2)), v)
        weights = ops.softmax(ops.squeeze(scores, -1))
        context = ops.squeeze(ops.matmul(weights[:, None], x), 1)
        return ops.tanh(ops.matmul(ops.concatenate([context, last], 1), self.of_outputs))


def stock_layer(layer: Layer) -> Any:
    """The layer of keras.layers."""
    found = AttentionAsWritten if layer.name == "Attention" else getattr(keras.layers, layer.name)
    return found(**layer.settings)


def one_layer(problem: LayerProblem, make: Callable[[Layer], Any] = stock_layer) -> Any:
    """The problem's layers as one layer, built and with its weights.

    Args:
        problem: The problem.
        make: Makes one of the layers.
    """
    layers = [make(layer) for layer in problem.layers]
    whole = layers[0] if len(layers) == 1 else keras.Sequential(layers)
    whole.build(problem.x.shape)
    whole.set_weights(list(problem.weights.values()))
    return whole

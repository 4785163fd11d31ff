"""The common part of the implementations with Keras, for any backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import keras
from keras import ops

from fastseq import frameworks
from fastseq.bench.implementations import UnavailableError
from fastseq.bench.problems import Layer, LayerProblem, ModelProblem


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


def kind_of(implementation: str) -> Literal["fast", "stock", "stock-jit"]:
    """The kind of an implementation's layers.

    Raises:
        UnavailableError: They are to be compiled, which is of no use on this backend.
    """
    if implementation.startswith("fast"):
        return "fast"
    if implementation != "stock-jit":
        return "stock"
    if reason := frameworks.current().no_jit:
        raise UnavailableError(reason)
    return "stock-jit"


def make_layer(implementation: str, problem: LayerProblem, threads: int) -> Any:
    """The problem's layers as one layer, built and with its weights, in a process with so many threads.

    Raises:
        UnavailableError: fastseq has no such layer on this backend.
    """
    frameworks.current().set_threads(threads)  # before TensorFlow makes its context, and JAX its threads
    make = _stock_layer
    if kind_of(implementation) == "fast":
        problem, make = _fused(problem), _fast_layer
    layers = [make(layer) for layer in problem.layers]
    whole = layers[0] if len(layers) == 1 else keras.Sequential(layers)
    whole.build(problem.x.shape)
    whole.set_weights(list(problem.weights.values()))
    return whole


def _stock_layer(layer: Layer) -> Any:
    found = AttentionAsWritten if layer.name == "Attention" else getattr(keras.layers, layer.name)
    return found(**layer.settings)


def _fast_layer(layer: Layer) -> Any:
    import fastseq.keras  # here, so that stock layers compute in a process without it

    name = f"Fast{layer.name}"
    if not hasattr(fastseq.keras, name):
        raise UnavailableError(f"fastseq.keras has no {name}")
    native = {} if layer.name == "Attention" else {"use_native": True}  # FastAttention has no such option
    try:
        return getattr(fastseq.keras, name)(**layer.settings, **native)
    except ValueError as error:
        if keras.backend.backend() == "tensorflow":
            raise
        raise UnavailableError(str(error)) from error  # other backends do not have all kernels


def _fused(problem: LayerProblem) -> LayerProblem:
    """The problem, with a Conv1D and a MaxPooling1D after it replaced by the one layer that fastseq has for both."""
    if [layer.name for layer in problem.layers] != ["Conv1D", "MaxPooling1D"]:
        return problem
    convolution, pooling = problem.layers
    layer = Layer("Conv1DMaxPooling1D", {**convolution.settings, "pool_size": pooling.settings["pool_size"]})
    return replace(problem, layers=[layer])


def make_adam(implementation: str, pass_: str) -> Any:
    """The optimizer of a pass with Adam."""
    if kind_of(implementation) == "fast" and pass_ == "adam":
        import fastseq.keras

        return fastseq.keras.FastAdam()
    return keras.optimizers.Adam()


def names_of_results(problem: LayerProblem, pass_: str) -> list[str]:
    """The names of a layer's results, in the order in which the functions here compute them."""
    if pass_ == "forward":
        return ["outputs"]
    weights = [f"d{name}" if pass_ == "training" else name for name in problem.weights]
    return ["outputs", *["dx"] * problem.differentiable, *weights]


def make_model(implementation: str, problem: ModelProblem, threads: int) -> Any:
    """The compiled model with its weights, in a process with so many threads.

    Raises:
        UnavailableError: fastseq has no kernels for this backend.
    """
    from fastseq.keras import backend
    from fastseq.training.models import MODELS  # here, since compare.py runs layers of older revisions

    frameworks.current().set_threads(threads)
    kind = kind_of(implementation)
    if kind == "fast" and (reason := backend.unavailable_because()):
        raise UnavailableError(reason)
    model = MODELS[problem.name].build(kind, mask_zero=problem.masked)
    model.set_weights(list(problem.weights.values()))
    return model

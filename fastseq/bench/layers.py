"""Comparisons of single layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.bench.implementations import IMPLEMENTATIONS
from fastseq.bench.measuring import Comparison, beside_stock
from fastseq.bench.problems import Layer, LayerProblem, RecurrentProblem, Results, make_problem, verify
from fastseq.bench.shapes import ADAM_PASSES, PASSES, SHAPES, TITLES, Shape

LAYER_PASSES = {**PASSES, **ADAM_PASSES}
SCORES = ("luong", "bahdanau")
ATTENTION_SHAPE = SHAPES["imdb-attention"]  # the shape of the LSTM before it
_ATTENTION_UNITS = 128
# In these implementations, Adam gets the gradient of an Embedding as slices, one for every position, and squares the
# slices. In all others, the gradient is the sum of each row's slices.
_SLICES = ("fast", "stock", "stock-jit")


@dataclass(frozen=True)
class Case:
    """A layer, or a few in a row, and its input.

    Attributes:
        layers: The layers; the first one takes the input.
        shape: The shape of the input.
        vocabulary: The input's ids are below this; None for an input of floats.
    """

    layers: Sequence[Layer]
    shape: tuple[int, ...]
    vocabulary: int | None = None

    @property
    def name(self) -> str:
        """The name of the first layer."""
        return self.layers[0].name

    @property
    def counted(self) -> bool:
        """Whether floating-point operations are counted, which are those of matrix products."""
        return self.name == "Conv1D"

    def flops(self, pass_: str) -> int:
        """Floating-point operations of a Conv1D's products: one in forward, two more of the same size in backward."""
        batch, timesteps, channels = self.shape
        settings = self.layers[0].settings
        width: int = settings["kernel_size"]
        multiply_adds: int = batch * (timesteps - width + 1) * width * channels * settings["filters"]
        return 2 * multiply_adds * (1 if pass_ == "forward" else 3)

    def lacks(self, pass_: str) -> str:
        """Why a pass is not measured for this layer, in words; "" if it is."""
        if pass_ in ADAM_PASSES and self.name not in ("Conv1D", "Embedding"):
            return "it has no weights"
        if pass_ == "forward" and self.name == "Dropout":
            return "in inference it does nothing"
        return ""

    def __str__(self) -> str:
        return f"{', '.join(map(_in_words, self.layers))} of {self.shape}"


def _in_words(layer: Layer) -> str:
    return f"{layer.name}({', '.join(f'{name}={value}' for name, value in layer.settings.items())})"


def _convolution(width: int) -> Layer:
    return Layer("Conv1D", {"filters": 64, "kernel_size": width, "activation": "relu"})


CASES = {
    "conv1d": Case([_convolution(5)], (40, 500, 100)),
    "conv1d-wide": Case([_convolution(3)], (40, 500, 500)),
    "conv1d-max-pooling": Case([_convolution(5), Layer("MaxPooling1D", {"pool_size": 4})], (40, 500, 100)),
    "max-pooling": Case([Layer("MaxPooling1D", {"pool_size": 4})], (40, 496, 64)),
    "average-pooling": Case([Layer("AveragePooling1D", {"pool_size": 4})], (40, 496, 64)),
    "dropout": Case([Layer("Dropout", {"rate": 0.5, "seed": 1})], (40, 500, 100)),
    "embedding": Case([Layer("Embedding", {"input_dim": 5000, "output_dim": 100})], (40, 500), vocabulary=5000),
}


def recurrent_comparison(
    cell: str,
    name: str,
    shape: Shape,
    pass_: str,
    *,
    threads: int,
    problem: RecurrentProblem | None = None,
    implementations: Sequence[str] = IMPLEMENTATIONS,
) -> Comparison:
    """A comparison of a recurrent layer.

    Args:
        cell: A key of `shapes.GATES`.
        name: The name of the shape.
        shape: The sizes of the layer and its input.
        pass_: A key of `PASSES`.
        threads: The number of threads for every implementation.
        problem: A problem with this cell and shape; None for one without a mask.
        implementations: Some of `IMPLEMENTATIONS`.
    """
    training = pass_ == "training"
    return beside_stock(
        "recurrent",
        f"{cell}/{name}/{pass_}",
        f"{TITLES[cell]} ({', '.join(map(str, shape))}), {PASSES[pass_]}",
        lambda: problem or make_problem(cell, shape),
        lambda implementation, results, expected: verify(results, expected, f"{implementation}, {cell} {shape}"),
        of=RecurrentProblem.kind,
        threads=threads,
        flops=problem.flops(training=training) if problem else shape.flops(cell, training=training),
        implementations=implementations,
    )


def attention_comparison(score: str, pass_: str, *, threads: int) -> Comparison:
    """A comparison of FastAttention with the formula of the package `attention`, since Keras has no such layer.

    Args:
        score: One of `SCORES`.
        pass_: A key of `PASSES`.
        threads: The number of threads for every implementation.
    """
    shape = ATTENTION_SHAPE
    return beside_stock(
        "layer",
        f"attention/{score}/{pass_}",
        f"FastAttention({score}) of ({shape.batch}, {shape.timesteps}, {shape.units}), {PASSES[pass_]}; "
        "others compute its formula as it is written",
        lambda: attention_problem(score),
        lambda implementation, results, expected: verify(results, expected, f"{implementation}, attention, {score}"),
        of=LayerProblem.kind,
        threads=threads,
        labels={"stock": "formula in TensorFlow", "stock-jit": "formula, XLA"},
    )


def attention_problem(score: str, *, masked: bool = False) -> LayerProblem:
    """A problem with random arrays, which are the same for the same arguments.

    Weights are as large as a layer's at the start of its training.

    Args:
        score: One of `SCORES`.
        masked: Whether about half of the steps are masked; only "fast" takes masks.
    """
    batch, timesteps, features = ATTENTION_SHAPE.batch, ATTENTION_SHAPE.timesteps, ATTENTION_SHAPE.units
    rng = np.random.default_rng(0)
    shapes = {"luong_w": (features, features)}
    if score == "bahdanau":
        shapes = {"bahdanau_v": (features, 1), "bahdanau_w1": (features, features), "bahdanau_w2": (features, features)}
    shapes["attention_vector"] = (2 * features, _ATTENTION_UNITS)
    return LayerProblem(
        layers=[Layer("Attention", {"units": _ATTENTION_UNITS, "score": score})],
        x=rng.standard_normal((batch, timesteps, features), np.float32),
        weights={
            name: rng.standard_normal(shape, np.float32) * np.float32(sum(shape) ** -0.5)
            for name, shape in shapes.items()
        },
        doutputs=rng.standard_normal((batch, _ATTENTION_UNITS), np.float32),
        mask=rng.random((batch, timesteps)) < 0.5 if masked else None,
    )


def layer_comparison(
    name: str, pass_: str, *, threads: int, implementations: Sequence[str] = IMPLEMENTATIONS
) -> Comparison:
    """A comparison of one of `CASES`.

    Args:
        name: A key of `CASES`.
        pass_: A key of `LAYER_PASSES` that the case does not lack.
        threads: The number of threads for every implementation.
        implementations: Some of `IMPLEMENTATIONS`.
    """
    case = CASES[name]
    return beside_stock(
        "layer",
        f"{name}/{pass_}",
        f"{case}, {LAYER_PASSES[pass_]}",
        lambda: layer_problem(case),
        lambda implementation, results, expected: verify_layer(case, implementation, results, expected),
        of=LayerProblem.kind,
        threads=threads,
        flops=case.flops(pass_) if case.counted else 0,
        implementations=implementations,
    )


def verify_layer(case: Case, implementation: str, got: Results, expected: Results) -> None:
    """Raises AssertionError unless the results agree.

    Where an implementation's dropout has other random numbers than stock Keras, the results must be those of some
    dropout at this rate. Where its Adam gets an Embedding's gradient as a dense array, they must be those of such a
    step.
    """
    if case.name == "Dropout" and implementation != "fast" and "dx" in got:
        expected = _dropped_by(got["outputs"] != 0, case, implementation)
    if case.name == "Embedding" and implementation not in _SLICES and "embeddings" in got:
        expected = {**expected, "embeddings": _after_dense_adam(case, got["embeddings"])}
    verify(got, expected, f"{implementation}, {case}")


def _dropped_by(kept: NDArray[np.bool_], case: Case, implementation: str) -> Results:
    """The results of a dropout that keeps these elements; raises AssertionError if they are too many or too few."""
    problem, rate = layer_problem(case), case.layers[0].settings["rate"]
    deviation = (rate * (1 - rate) / kept.size) ** 0.5
    if abs(kept.mean() - (1 - rate)) > 5 * deviation:
        raise AssertionError(f"{implementation}, {case}: expected {1 - rate:.0%} to be kept, got {kept.mean():.2%}")
    scale = kept / (1 - rate)
    return {"outputs": problem.x * scale, "dx": problem.doutputs * scale}


def _after_dense_adam(case: Case, got: NDArray[Any]) -> NDArray[Any]:
    """An Embedding's weights after a first step of Adam with Keras's settings.

    Such a step has the size of the learning rate and the sign of the gradient. Where the gradient's terms nearly
    cancel, rounding decides on the sign. Then any step of at most that size is right.
    """
    problem, rate = layer_problem(case), 1e-3
    (embeddings,) = problem.weights.values()
    gradient = np.zeros(embeddings.shape)
    np.add.at(gradient, problem.x, problem.doutputs)
    decided = (np.abs(gradient) > 0.01) | (gradient == 0)
    return np.where(decided, embeddings - rate * np.sign(gradient), got.clip(embeddings - rate, embeddings + rate))


def layer_problem(case: Case, *, seed: int = 0) -> LayerProblem:
    """A problem with random arrays, which are the same for the same arguments.

    Before a pooling, sums are exact, so that rounding cannot decide which of two nearly equal values is the maximum.
    """
    rng = np.random.default_rng(seed)

    def normal(shape: Sequence[int], scale: float = 1.0) -> NDArray[np.float32]:
        values = rng.standard_normal(tuple(shape))
        return (scale * (values if len(case.layers) == 1 else np.round(2 * values))).astype(np.float32)

    shapes, outputs = _shapes(case)
    weights = {name: normal(shape, 0.125) for name, shape in shapes.items()}
    doutputs = normal(outputs)
    if case.vocabulary is None:
        x: NDArray[Any] = normal(case.shape)
    else:
        batch, timesteps = case.shape
        x = make_texts(rng, batch, timesteps, case.vocabulary)
    return LayerProblem(layers=case.layers, x=x, weights=weights, doutputs=doutputs)


def _shapes(case: Case) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    """The shapes of the weights, by name, and the shape of the outputs."""
    weights: dict[str, tuple[int, ...]] = {}
    outputs = case.shape
    for layer in case.layers:
        settings = layer.settings
        if layer.name == "Conv1D":
            batch, timesteps, channels = outputs
            width, filters = settings["kernel_size"], settings["filters"]
            weights |= {"kernel": (width, channels, filters), "bias": (filters,)}
            outputs = (batch, timesteps - width + 1, filters)
        elif layer.name.endswith("Pooling1D"):
            batch, timesteps, channels = outputs
            outputs = (batch, timesteps // settings["pool_size"], channels)
        elif layer.name == "Embedding":
            weights["embeddings"] = (settings["input_dim"], settings["output_dim"])
            outputs = (*outputs, settings["output_dim"])
    return weights, outputs


def make_texts(rng: np.random.Generator, count: int, timesteps: int, vocabulary: int) -> NDArray[np.int32]:
    """Made-up texts, (count, timesteps): ids of words by Zipf's law, after padding of any length."""
    ids = (vocabulary ** rng.random((count, timesteps))).astype(np.int32)
    ids[np.arange(timesteps) < rng.integers(timesteps, size=(count, 1))] = 0
    return ids

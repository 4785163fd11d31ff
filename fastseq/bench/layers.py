"""The layers that are not recurrent: what to measure of each, by fastseq and by stock Keras.

Imports TensorFlow when it makes a side, not before: see environment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import Results, verify
from fastseq.bench.shapes import PASSES
from fastseq.bench.sides import LocalSide, UnavailableError

LAYER_SIDES = ("fast", "stock", "stock-jit")
# What a training step does with a layer: its optimizer meets the gradients in the form that they come in.
LAYER_PASSES = {
    **PASSES,
    "adam": "forward, backward and Adam (FastAdam with the fast layer)",
    "keras-adam": "forward, backward and Keras's Adam",
}
_ADAM_PASSES = ("adam", "keras-adam")


@dataclass(frozen=True)
class Case:
    """A layer at work.

    Attributes:
        layer: Its name in keras.layers; fastseq's begins with Fast.
        arguments: To make it.
        shape: Of its input.
        vocabulary: The input's ids are below this; None for an input of floats.
        pool_size: Of a MaxPooling1D behind it, which fastseq has in the same layer; None for none.
    """

    layer: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    vocabulary: int | None = None
    pool_size: int | None = None

    def flops(self, pass_: str) -> int:
        """Floating-point operations of a Conv1D's products: one forward, two more of the same size backward."""
        batch, timesteps, channels = self.shape
        width: int = self.arguments["kernel_size"]
        multiply_adds: int = batch * (timesteps - width + 1) * width * channels * self.arguments["filters"]
        return 2 * multiply_adds * (1 if pass_ == "forward" else 3)

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        pooling = "" if self.pool_size is None else f", MaxPooling1D({self.pool_size})"
        return f"{self.layer}({arguments}){pooling} of {self.shape}"


CASES = {
    "conv1d": Case("Conv1D", {"filters": 64, "kernel_size": 5, "activation": "relu"}, (40, 500, 100)),
    "conv1d-wide": Case("Conv1D", {"filters": 64, "kernel_size": 3, "activation": "relu"}, (40, 500, 500)),
    "conv1d-max-pooling": Case(
        "Conv1D", {"filters": 64, "kernel_size": 5, "activation": "relu"}, (40, 500, 100), pool_size=4
    ),
    "max-pooling": Case("MaxPooling1D", {"pool_size": 4}, (40, 496, 64)),
    "average-pooling": Case("AveragePooling1D", {"pool_size": 4}, (40, 496, 64)),
    "dropout": Case("Dropout", {"rate": 0.5, "seed": 1}, (40, 500, 100)),
    "embedding": Case("Embedding", {"input_dim": 5000, "output_dim": 100}, (40, 500), vocabulary=5000),
}


def passes_of(case: Case, chosen: list[str]) -> list[str]:
    """Those of the passes that a layer has: Adam is for layers with weights, and dropout for training alone."""
    lacks: set[str] = set() if case.layer in ("Conv1D", "Embedding") else set(_ADAM_PASSES)
    if "Dropout" in case.layer:
        lacks.add("forward")
    return [pass_ for pass_ in chosen if pass_ not in lacks]


def layer_comparison(name: str, pass_: str, *, threads: int) -> Comparison:
    """One of `CASES`; the results are to be stock Keras's.

    Args:
        name: A key of `CASES`.
        pass_: One of its `passes_of`.
        threads: For every side.
    """
    case = CASES[name]
    return Comparison(
        name=f"{name}/{pass_}",
        title=f"{case}, {LAYER_PASSES[pass_]}",
        kind="layer",
        sides=LAYER_SIDES,
        make=lambda side: make_layer_side(side, case, pass_, threads=threads),
        reference="stock",
        verify=lambda side, results, expected: verify_layer(case, side, results, expected),
        flops=dict.fromkeys(LAYER_SIDES, case.flops(pass_)) if case.layer == "Conv1D" else {},
        threads=dict.fromkeys(LAYER_SIDES, threads),
    )


def make_layer_side(name: str, case: Case, pass_: str, *, threads: int, seed: int = 0) -> LocalSide:
    """Makes a side, whose weights and input are the same for all sides.

    With Adam, every run goes a step on, so that results are to be read of the first.

    Raises:
        UnavailableError: fastseq has no such layer.
    """
    import keras
    import tensorflow as tf

    import fastseq.keras
    from fastseq.bench.sides import _tensorflow

    _tensorflow.set_threads(threads)  # before a layer makes TensorFlow's context
    layer = _make_layer(name, case)
    arrays = make_arrays(case, seed=seed)
    layer.build(case.shape)
    layer.set_weights(arrays.weights)
    x, doutputs = tf.constant(arrays.x), tf.constant(arrays.doutputs)
    by_x, jit_compile = case.vocabulary is None, name == "stock-jit"
    names = ["outputs"] + ["dx"] * by_x
    if pass_ in _ADAM_PASSES:
        adam = fastseq.keras.FastAdam() if name == "fast" and pass_ == "adam" else keras.optimizers.Adam()
        run = _step_with(adam, layer, x, doutputs, by_x=by_x, jit_compile=jit_compile)
        names += [weight.name for weight in layer.trainable_weights]
    elif pass_ == "training":
        run = _tensorflow.forward_backward(layer, x, None, doutputs, by_x=by_x, jit_compile=jit_compile)
        names += [f"d{weight.name}" for weight in layer.trainable_weights]
    else:
        run = _tensorflow.forward(layer, x, jit_compile=jit_compile)
    # A gradient may come as IndexedSlices.
    return LocalSide(run, lambda raw: {n: tf.convert_to_tensor(t).numpy() for n, t in zip(names, raw, strict=False)})


def _step_with(
    optimizer: Any, layer: Any, x: Any, doutputs: Any, *, by_x: bool, jit_compile: bool
) -> Callable[[], list[Any]]:
    """A function that goes a step on; its list has the outputs, the gradient by x, and the weights after the step."""
    import tensorflow as tf

    weights = [variable.value for variable in layer.trainable_variables]
    optimizer.build(layer.trainable_variables)

    @tf.function(jit_compile=jit_compile)
    def compute(x: Any, doutputs: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            if by_x:
                tape.watch(x)
            outputs = layer(x, training=True)
        dx, dweights = tape.gradient(outputs, [[x] if by_x else [], weights], output_gradients=doutputs)
        optimizer.apply(dweights, layer.trainable_variables)
        return [outputs, *dx]

    return lambda: [*compute(x, doutputs), *weights]


def verify_layer(case: Case, side: str, got: Results, expected: Results) -> None:
    """Raises AssertionError unless both hold the same; XLA's dropout has to be one by its own random numbers."""
    what = f"{side}, {case}"
    if case.layer == "Dropout" and side == "stock-jit" and "dx" in got:
        scale = (got["outputs"] != 0) / (1 - case.arguments["rate"])
        arrays = make_arrays(case)
        expected = {"outputs": arrays.x * scale, "dx": arrays.doutputs * scale}
    verify(got, expected, what)


def _make_layer(name: str, case: Case) -> Any:
    import keras

    import fastseq.keras

    if name == "fast":
        fast = f"Fast{case.layer}" + ("" if case.pool_size is None else "MaxPooling1D")
        if not hasattr(fastseq.keras, fast):
            raise UnavailableError(f"fastseq.keras has no {fast}")
        pooling = {} if case.pool_size is None else {"pool_size": case.pool_size}
        return getattr(fastseq.keras, fast)(**case.arguments, **pooling, use_native=True)
    layer = getattr(keras.layers, case.layer)(**case.arguments)
    return layer if case.pool_size is None else keras.Sequential([layer, keras.layers.MaxPooling1D(case.pool_size)])


class Arrays(NamedTuple):
    """What a layer works on."""

    x: NDArray[Any]
    weights: list[NDArray[np.float64]]
    doutputs: NDArray[np.float32]


def make_arrays(case: Case, *, seed: int = 0) -> Arrays:
    """Random arrays, the same for the same arguments.

    Before a pooling, sums are exact, so that it does not depend on their rounding which of two nearly equal values is
    taken.
    """
    layer = _make_layer("stock", case)
    layer.build(case.shape)
    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], scale: float = 1.0) -> NDArray[np.float64]:
        values = rng.standard_normal(shape)
        return scale * (values if case.pool_size is None else np.round(2 * values))

    weights = [normal(tuple(weight.shape), 0.125) for weight in layer.trainable_weights]
    doutputs = normal(tuple(layer.compute_output_shape(case.shape))).astype(np.float32)
    if case.vocabulary is None:
        return Arrays(normal(case.shape).astype(np.float32), weights, doutputs)
    batch, timesteps = case.shape
    return Arrays(make_texts(rng, batch, timesteps, case.vocabulary), weights, doutputs)


def make_texts(rng: np.random.Generator, count: int, timesteps: int, vocabulary: int) -> NDArray[np.int32]:
    """Made-up texts, (count, timesteps): ids of words by Zipf's law, after padding of any length."""
    ids = (vocabulary ** rng.random((count, timesteps))).astype(np.int32)
    ids[np.arange(timesteps) < rng.integers(timesteps, size=(count, 1))] = 0
    return ids

"""Keras layers and models on TensorFlow: fastseq's, and the stock ones with and without XLA."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

import fastseq.keras
from fastseq.bench.implementations import (
    BatchImplementation,
    LocalImplementation,
    TrainingImplementation,
    UnavailableError,
)
from fastseq.bench.implementations._keras import one_layer
from fastseq.bench.implementations._tensorflow import forward, forward_backward, set_threads
from fastseq.bench.problems import Layer, LayerProblem, ModelProblem
from fastseq.bench.shapes import ADAM_PASSES

_JIT = "stock-jit"


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """A tf.function of the layers."""
    set_threads(threads)  # before a layer makes TensorFlow's context
    layer = one_layer(_fused(problem), _fast_layer) if implementation == "fast" else one_layer(problem)
    x, doutputs = tf.constant(problem.x), tf.constant(problem.doutputs)
    mask = None if problem.mask is None else tf.constant(problem.mask)
    by_x, jit_compile = problem.differentiable, implementation == _JIT
    names = ["outputs", *(["dx"] if by_x else [])]
    if pass_ in ADAM_PASSES:
        fast_adam = implementation == "fast" and pass_ == "adam"
        adam = fastseq.keras.FastAdam() if fast_adam else keras.optimizers.Adam()
        run = _step_with(adam, layer, x, doutputs, by_x=by_x, jit_compile=jit_compile)
        names += problem.weights
    elif pass_ == "training":
        run = forward_backward(layer, x, mask, doutputs, by_x=by_x, jit_compile=jit_compile)
        names += [f"d{name}" for name in problem.weights]
    else:
        run = forward(layer, x, mask, jit_compile=jit_compile)
        names = names[:1]
    # A gradient may be tf.IndexedSlices.
    return LocalImplementation(
        run, lambda raw: {n: tf.convert_to_tensor(t).numpy() for n, t in zip(names, raw, strict=True)}
    )


def _fast_layer(layer: Layer) -> Any:
    name = f"Fast{layer.name}"
    if not hasattr(fastseq.keras, name):
        raise UnavailableError(f"fastseq.keras has no {name}")
    native = {} if layer.name == "Attention" else {"use_native": True}  # FastAttention has no such option
    return getattr(fastseq.keras, name)(**layer.settings, **native)


def _fused(problem: LayerProblem) -> LayerProblem:
    """The problem, with a Conv1D and a MaxPooling1D after it replaced by the one layer that fastseq has for both."""
    if [layer.name for layer in problem.layers] != ["Conv1D", "MaxPooling1D"]:
        return problem
    convolution, pooling = problem.layers
    layer = Layer("Conv1DMaxPooling1D", {**convolution.settings, "pool_size": pooling.settings["pool_size"]})
    return replace(problem, layers=[layer])


def _step_with(
    optimizer: Any, layer: Any, x: Any, doutputs: Any, *, by_x: bool, jit_compile: bool
) -> Callable[[], list[Any]]:
    """A function that does a training step; it returns the outputs, the gradient by x, and the updated weights."""
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


def make_models(
    implementation: Any, problem: ModelProblem, pass_: str, *, threads: int
) -> TrainingImplementation | BatchImplementation:
    """A training step as in `fit`, or a prediction of a batch."""
    from fastseq.training.models import MODELS  # here, since compare.py runs layers of older revisions

    set_threads(threads)
    model = MODELS[problem.name].build(implementation, mask_zero=problem.masked)
    model.set_weights(list(problem.weights.values()))
    batches = [(tf.convert_to_tensor(x), tf.convert_to_tensor(y)) for x, y in problem.batches]
    if pass_ == "training":

        def arrays(model: Any, batch: tuple[Any, Any]) -> list[Any]:
            return [tf.convert_to_tensor(one).numpy() for one in loss_and_gradients(model, batch)]

        return TrainingImplementation(model, batches, problem.weights, arrays, training_step)

    @tf.function(jit_compile=model.jit_compile)
    def predict(x: Any) -> Any:
        return model(x, training=False)

    return BatchImplementation(predict, [x for x, _ in batches], lambda outputs: {"outputs": outputs.numpy()})


def training_step(model: Any, batches: Sequence[tuple[Any, Any]]) -> Callable[[], Any]:
    """A function that trains on the next batch as in `fit`."""
    model.train_step(batches[0])  # makes the variables of the optimizer and the metrics

    @tf.function(jit_compile=model.jit_compile)
    def step(x: Any, y: Any) -> Any:
        return model.train_step((x, y))

    endless = itertools.cycle(batches)
    return lambda: step(*next(endless))


def loss_and_gradients(model: Any, batch: tuple[Any, Any]) -> list[Any]:
    """The loss of a batch without dropout, and its gradients by all weights, in the form that an optimizer takes."""
    weights = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=model.jit_compile)
    def compute(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=False))
        return [loss, *tape.gradient(loss, weights)]

    result: list[Any] = compute(*batch)
    return result

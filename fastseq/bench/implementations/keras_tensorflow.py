"""Keras layers and models on TensorFlow: fastseq's, and the stock ones with and without XLA."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fastseq.bench.implementations import BatchImplementation, LocalImplementation, TrainingImplementation
from fastseq.bench.implementations._keras import kind_of, make_adam, make_layer, make_model, names_of_results
from fastseq.bench.implementations._tensorflow import forward, forward_backward
from fastseq.bench.problems import LayerProblem, ModelProblem
from fastseq.bench.shapes import ADAM_PASSES


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """A tf.function of the layers."""
    layer = make_layer(implementation, problem, threads)
    x, doutputs = tf.constant(problem.x), tf.constant(problem.doutputs)
    mask = None if problem.mask is None else tf.constant(problem.mask)
    by_x, jit_compile = problem.differentiable, kind_of(implementation) == "stock-jit"
    names = names_of_results(problem, pass_)
    if pass_ in ADAM_PASSES:
        adam = make_adam(implementation, pass_)
        run = _step_with(adam, layer, x, doutputs, by_x=by_x, jit_compile=jit_compile)
    elif pass_ == "training":
        run = forward_backward(layer, x, mask, doutputs, by_x=by_x, jit_compile=jit_compile)
    else:
        run = forward(layer, x, mask, jit_compile=jit_compile)
    # A gradient may be tf.IndexedSlices.
    return LocalImplementation(
        run, lambda raw: {n: tf.convert_to_tensor(t).numpy() for n, t in zip(names, raw, strict=True)}
    )


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
    model = make_model(implementation, problem, threads)
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

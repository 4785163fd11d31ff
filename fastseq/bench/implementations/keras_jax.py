"""Keras layers and models on JAX: fastseq's, and the stock ones."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from fastseq.bench.implementations import BatchImplementation, LocalImplementation, TrainingImplementation
from fastseq.bench.implementations._keras import make_adam, make_layer, make_model, names_of_results
from fastseq.bench.problems import LayerProblem, ModelProblem, Results
from fastseq.bench.shapes import ADAM_PASSES


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """A jitted function of the layers. The gradient of an Embedding is dense, and so is the update by Adam."""
    # A model, since it takes the argument `training` for any layers.
    inputs = keras.Input(problem.x.shape[1:], dtype=problem.x.dtype.name)
    layer = keras.Sequential([inputs, make_layer(implementation, problem, threads)])
    masks = {} if problem.mask is None else {"mask": jax.numpy.asarray(problem.mask)}
    x, doutputs = jax.numpy.asarray(problem.x), jax.numpy.asarray(problem.doutputs)
    weights, others = _values(layer)
    by_x = problem.differentiable

    def outputs_of(x: Any, weights: list[Any], training: bool) -> Any:
        return layer.stateless_call(weights, others, x, **masks, training=training)[0]

    def gradients(x: Any, weights: list[Any], doutputs: Any) -> tuple[Any, list[Any], list[Any]]:
        """The outputs, the gradient by x if there is one, and the gradients by the weights."""

        def of(weights: list[Any], x: Any = x) -> Any:
            return outputs_of(x, weights, True)

        outputs, backward = jax.vjp(of, weights, *([x] if by_x else []))
        dweights, *dx = backward(doutputs)
        return outputs, dx, dweights

    @jax.jit
    def predict(x: Any, weights: list[Any]) -> list[Any]:
        return [outputs_of(x, weights, False)]

    @jax.jit
    def train(x: Any, weights: list[Any], doutputs: Any) -> list[Any]:
        outputs, dx, dweights = gradients(x, weights, doutputs)
        return [outputs, *dx, *dweights]

    adam = make_adam(implementation, pass_)
    adam.build(layer.trainable_variables)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, doutputs: Any) -> Any:
        weights, variables = state
        outputs, dx, dweights = gradients(x, weights, doutputs)
        return adam.stateless_apply(variables, dweights, weights), [outputs, *dx]

    # Copies, since donated arrays are deleted, and the layer and the optimizer still use theirs.
    state = tuple([jax.numpy.array(value) for value in of] for of in (weights, [v.value for v in adam.variables]))

    def run() -> Any:
        nonlocal state
        if pass_ in ADAM_PASSES:
            state, found = jax.block_until_ready(step(state, x, doutputs))
            return [*found, *state[0]]
        return jax.block_until_ready(train(x, weights, doutputs) if pass_ == "training" else predict(x, weights))

    def read(arrays: list[Any]) -> Results:
        names = names_of_results(problem, pass_)
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

    return LocalImplementation(run, read)


def _loss_and_gradients(model: Any, batch: tuple[Any, Any]) -> list[Any]:
    weights, others = _values(model)

    @jax.jit
    def loss_of(weights: list[Any], x: Any, y: Any) -> Any:
        outputs, _ = model.stateless_call(weights, others, x, training=False)
        return model.compute_loss(x=x, y=y, y_pred=outputs)

    loss, gradients = jax.value_and_grad(loss_of)(weights, *batch)
    return [loss, *gradients]


def _training_step(model: Any, batches: Sequence[tuple[Any, Any]]) -> Callable[[], Any]:
    endless = itertools.cycle(batches)
    step = jax.jit(model.train_step, donate_argnums=0)
    of_optimizer = model.optimizer.variables
    kinds = (model.trainable_variables, model.non_trainable_variables, of_optimizer, model.metrics_variables)
    # Copies, since donated arrays are deleted, and the model still uses these.
    state = tuple([jax.numpy.array(variable.value) for variable in kind] for kind in kinds)

    def run() -> Any:
        nonlocal state
        logs, state = jax.block_until_ready(step(state, next(endless)))
        return logs

    return run


def _values(model: Any) -> tuple[list[Any], list[Any]]:
    """The values of the trainable weights, and of all other variables."""
    trained, others = model.trainable_variables, model.non_trainable_variables
    return [variable.value for variable in trained], [variable.value for variable in others]


def make_models(
    implementation: str, problem: ModelProblem, pass_: str, *, threads: int
) -> TrainingImplementation | BatchImplementation:
    """A training step as in `fit`, or a prediction of a batch."""
    model = make_model(implementation, problem, threads)
    batches = [(jax.numpy.asarray(x), jax.numpy.asarray(y)) for x, y in problem.batches]
    if pass_ == "forward":
        return _predicting(model, [x for x, _ in batches])
    x, y = batches[0]
    outputs = model(x)
    model.compute_loss(x=x, y=y, y_pred=outputs)  # these make the variables of metrics
    model.compute_metrics(x, y, outputs)
    model.optimizer.build(model.trainable_variables)
    return TrainingImplementation(model, batches, problem.weights, _loss_and_gradients, _training_step)


def _predicting(model: Any, batches: list[Any]) -> BatchImplementation:
    weights, others = _values(model)

    @jax.jit
    def predict(x: Any, weights: list[Any], others: list[Any]) -> Any:
        return model.stateless_call(weights, others, x, training=False)[0]

    return BatchImplementation(
        lambda x: jax.block_until_ready(predict(x, weights, others)),
        batches,
        lambda outputs: {"outputs": np.asarray(outputs)},
    )

"""The stock Keras layers and models on JAX."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np

from fastseq.bench.problems import LayerProblem, ModelProblem, Results
from fastseq.bench.shapes import ADAM_PASSES
from fastseq.bench.sides import BatchesSide, LocalSide
from fastseq.bench.sides._keras import one_layer
from fastseq.bench.timing import time_runs


def make_layers(side: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalSide:
    """A jitted function of the layers. An Embedding's gradient is dense, and so is what Adam makes of it."""
    _use_threads(threads)
    # A model, which takes `training` whatever its layers do.
    layer = keras.Sequential([keras.Input(problem.x.shape[1:], dtype=problem.x.dtype.name), one_layer(problem)])
    masks = {} if problem.mask is None else {"mask": jax.numpy.asarray(problem.mask)}
    x, doutputs = jax.numpy.asarray(problem.x), jax.numpy.asarray(problem.doutputs)
    weights = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]
    by_x = problem.differentiable

    def outputs_of(x: Any, weights: list[Any], training: bool) -> Any:
        return layer.stateless_call(weights, others, x, **masks, training=training)[0]

    def gradients(x: Any, weights: list[Any], doutputs: Any) -> tuple[Any, list[Any], list[Any]]:
        """The outputs, their gradient by x, if there is one, and those by the weights."""
        if by_x:
            outputs, backward = jax.vjp(lambda x, weights: outputs_of(x, weights, True), x, weights)
            dx, dweights = backward(doutputs)
            return outputs, [dx], dweights
        outputs, backward = jax.vjp(lambda weights: outputs_of(x, weights, True), weights)
        return outputs, [], backward(doutputs)[0]

    @jax.jit
    def predict(x: Any, weights: list[Any]) -> list[Any]:
        return [outputs_of(x, weights, False)]

    @jax.jit
    def train(x: Any, weights: list[Any], doutputs: Any) -> list[Any]:
        outputs, dx, dweights = gradients(x, weights, doutputs)
        return [outputs, *dx, *dweights]

    adam = keras.optimizers.Adam()
    adam.build(layer.trainable_variables)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, doutputs: Any) -> Any:
        weights, variables = state
        outputs, dx, dweights = gradients(x, weights, doutputs)
        return adam.stateless_apply(variables, dweights, weights), [outputs, *dx]

    # Copies: what is donated is gone, and layer and optimizer still have theirs.
    state = tuple([jax.numpy.array(value) for value in of] for of in (weights, [v.value for v in adam.variables]))

    def run() -> Any:
        nonlocal state
        if pass_ in ADAM_PASSES:
            state, found = jax.block_until_ready(step(state, x, doutputs))
            return [*found, *state[0]]
        return jax.block_until_ready(train(x, weights, doutputs) if pass_ == "training" else predict(x, weights))

    def read(arrays: list[Any]) -> Results:
        names = ["outputs"]
        if pass_ != "forward":
            names += ["dx"] * by_x + [f"d{name}" if pass_ == "training" else name for name in problem.weights]
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

    return LocalSide(run, read)


@dataclass(frozen=True)
class _ModelSide:
    """A model and the batches that it trains on; see `sides.Side`. `results` is to be called before any turn."""

    model: Any
    batches: Sequence[tuple[Any, Any]]
    weights: Sequence[str]

    def results(self) -> Results:
        """The loss of the first batch without dropout, and its gradients by all weights."""
        others = [variable.value for variable in self.model.non_trainable_variables]

        @jax.jit
        def loss_of(weights: list[Any], x: Any, y: Any) -> Any:
            outputs, _ = self.model.stateless_call(weights, others, x, training=False)
            return self.model.compute_loss(x=x, y=y, y_pred=outputs)

        weights = [variable.value for variable in self.model.trainable_variables]
        loss, gradients = jax.value_and_grad(loss_of)(weights, *self.batches[0])
        by_name = {f"the gradient by {name}": np.asarray(g) for name, g in zip(self.weights, gradients, strict=True)}
        return {"the loss": np.asarray(loss), **by_name}

    def turn(self, runs: int) -> list[float]:
        """Trains on the next batches."""
        return time_runs(self._step, runs)

    @functools.cached_property
    def _step(self) -> Callable[[], Any]:
        model = self.model
        endless = itertools.cycle(self.batches)
        step = jax.jit(model.train_step, donate_argnums=0)
        kinds = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        # Copies: what is donated is gone, and the model still has these.
        state = tuple([jax.numpy.array(variable.value) for variable in kind] for kind in kinds)

        def run() -> Any:
            nonlocal state
            logs, state = jax.block_until_ready(step(state, next(endless)))
            return logs

        return run


def make_models(side: str, problem: ModelProblem, pass_: str, *, threads: int) -> _ModelSide | BatchesSide:
    """A training step as `fit` does it, or a prediction of a batch."""
    _use_threads(threads)
    from fastseq.training.models import MODELS

    model = MODELS[problem.name].build("stock", mask_zero=problem.masked)
    model.set_weights(list(problem.weights.values()))
    batches = [(jax.numpy.asarray(x), jax.numpy.asarray(y)) for x, y in problem.batches]
    if pass_ == "forward":
        return _predicting(model, [x for x, _ in batches])
    x, y = batches[0]
    outputs = model(x)
    model.compute_loss(x=x, y=y, y_pred=outputs)  # these make the variables of metrics
    model.compute_metrics(x, y, outputs)
    model.optimizer.build(model.trainable_variables)
    return _ModelSide(model, batches, list(problem.weights))


def _predicting(model: Any, batches: list[Any]) -> BatchesSide:
    weights = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    @jax.jit
    def predict(x: Any, weights: list[Any], others: list[Any]) -> Any:
        return model.stateless_call(weights, others, x, training=False)[0]

    return BatchesSide(
        lambda x: jax.block_until_ready(predict(x, weights, others)),
        batches,
        lambda outputs: {"outputs": np.asarray(outputs)},
    )


def _use_threads(threads: int) -> None:
    """With the first array, JAX starts as many threads as it may use CPUs. It has no other setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

"""Keras layers and models on PyTorch, in eager mode as Keras runs them: fastseq's, and the stock ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fastseq.bench.implementations import BatchImplementation, LocalImplementation, TrainingImplementation
from fastseq.bench.implementations._keras import make_adam, make_layer, make_model, names_of_results
from fastseq.bench.problems import LayerProblem, ModelProblem, Results
from fastseq.bench.shapes import ADAM_PASSES


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """Calls of the layers. The gradient of an Embedding is dense, and so is the update by Adam."""
    layer = make_layer(implementation, problem, threads)
    x, doutputs = torch.from_numpy(problem.x), torch.from_numpy(problem.doutputs)
    masks = {} if problem.mask is None else {"mask": torch.from_numpy(problem.mask)}
    weights = [variable.value for variable in layer.trainable_variables]
    sources = [x.requires_grad_(pass_ != "forward")] if problem.differentiable else []

    def predict() -> list[Any]:
        with torch.no_grad():
            return [layer(x, **masks, training=False)]

    def train() -> list[Any]:
        outputs = layer(x, **masks, training=True)
        return [outputs, *torch.autograd.grad(outputs, [*sources, *weights], doutputs)]

    def step() -> list[Any]:
        outputs, *gradients = train()
        dx, dweights = gradients[: len(sources)], gradients[len(sources) :]
        with torch.no_grad():
            adam.apply(dweights, layer.trainable_variables)
        return [outputs, *dx, *weights]

    def read(tensors: list[Any]) -> Results:
        names = names_of_results(problem, pass_)
        return {name: tensor.detach().numpy().copy() for name, tensor in zip(names, tensors, strict=True)}

    if pass_ in ADAM_PASSES:
        adam = make_adam(implementation, pass_)
        adam.build(layer.trainable_variables)
        return LocalImplementation(step, read)
    return LocalImplementation(train if pass_ == "training" else predict, read)


def make_models(
    implementation: str, problem: ModelProblem, pass_: str, *, threads: int
) -> TrainingImplementation | BatchImplementation:
    """A training step as in `fit`, or a prediction of a batch."""
    model = make_model(implementation, problem, threads)
    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in problem.batches]
    if pass_ == "training":
        return TrainingImplementation(model, batches, problem.weights, _loss_and_gradients, _training_step)

    def predict(x: Any) -> Any:
        with torch.no_grad():
            return model(x, training=False)

    return BatchImplementation(predict, [x for x, _ in batches], lambda outputs: {"outputs": outputs.numpy()})


def _loss_and_gradients(model: Any, batch: tuple[Any, Any]) -> list[Any]:
    """The loss of a batch without dropout, and its gradients by all weights."""
    x, y = batch
    loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=False))
    gradients = torch.autograd.grad(loss, [variable.value for variable in model.trainable_variables])
    return [loss.detach(), *gradients]


def _training_step(model: Any, batches: Sequence[tuple[Any, Any]]) -> Callable[[], Any]:
    """A function that trains on the next batch, as `fit` does it."""
    endless = itertools.cycle(batches)
    model.train()
    return lambda: model.train_step(next(endless))

"""Layers and models written with torch.nn, and with fastseq.torch's modules in it, without torch.compile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastseq.bench.implementations import (
    BatchImplementation,
    LocalImplementation,
    TrainingImplementation,
    UnavailableError,
)
from fastseq.bench.implementations._layouts import from_keras, to_keras
from fastseq.bench.implementations._settings import activation
from fastseq.bench.implementations._torch_modules import Stack
from fastseq.bench.problems import Layer, LayerProblem, ModelProblem, Results


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """torch.nn's layers, each in the layout that it prefers: time first if recurrent, channels first if convolutional.

    With Adam, it is torch.optim.Adam with Keras's settings, fused if torch has that on a CPU. The gradient of an
    Embedding is dense: torch's Adam for sparse gradients does not update the moments of other rows, so its results
    differ.
    """
    torch.set_num_threads(threads)
    weights = {name: array.astype(np.float32) for name, array in problem.weights.items()}
    stack = _accelerated(implementation, Stack(problem.layers, list(weights.values()), problem.x.ndim))
    stack.train(pass_ != "forward")
    parameters = list(stack.parameters())
    x = torch.from_numpy(from_keras(problem.x, stack.takes))
    doutputs = torch.from_numpy(from_keras(problem.doutputs, stack.gives))
    sources = [x.requires_grad_(pass_ != "forward")] if problem.differentiable else []

    def predict() -> Any:
        with torch.inference_mode():
            return [stack(x)]

    def train() -> Any:
        outputs = stack(x)
        return [outputs, *torch.autograd.grad(outputs, [*sources, *parameters], doutputs)]

    def step() -> Any:
        for tensor in (*sources, *parameters):
            tensor.grad = None
        outputs = stack(x)
        outputs.backward(doutputs)
        optimizer.step()
        return [outputs, *(source.grad for source in sources), *parameters]

    def read(tensors: list[Any]) -> Results:
        outputs, *others = tensors
        results: Results = {"outputs": to_keras(outputs.detach().numpy(), stack.gives)}
        if others and sources:
            results["dx"] = to_keras(others.pop(0).numpy(), stack.takes)
        if others:
            names = [f"d{name}" if pass_ == "training" else name for name in weights]
            results |= dict(zip(names, stack.to_keras(others), strict=True))
        return results

    if pass_ == "adam":
        optimizer = _adam(parameters, {})
    return LocalImplementation({"forward": predict, "training": train, "adam": step}[pass_], read)


def make_models(
    implementation: str, problem: ModelProblem, pass_: str, *, threads: int
) -> TrainingImplementation | BatchImplementation:
    """The model in torch.nn. For training, its loss takes logits, as usual in torch.

    Recurrent layers have two biases where Keras's have one, so that the bias learns twice as fast. Unlike Keras, it
    does not compute the running mean of the loss and the accuracy.
    """
    torch.set_num_threads(threads)
    training = pass_ == "training"
    layers = _without_last_activation(problem.layers, problem.loss) if training else problem.layers
    stack = _accelerated(implementation, Stack(layers, list(problem.weights.values()), problem.batches[0][0].ndim))
    if not training:
        return _predicting(stack.eval(), [x for x, _ in problem.batches])
    name, settings = problem.optimizer
    batches = [
        (torch.from_numpy(from_keras(x, stack.takes)), torch.from_numpy(y.astype(np.float32)))
        for x, y in problem.batches
    ]
    loss_of, optimizer = _LOSSES[problem.loss][1], _OPTIMIZERS[name](list(stack.parameters()), settings)

    def loss_and_gradients(stack: Stack, batch: tuple[torch.Tensor, torch.Tensor]) -> list[Any]:
        stack.eval()
        x, y = batch
        loss = loss_of(stack(x), y)
        gradients = torch.autograd.grad(loss, list(stack.parameters()))
        stack.train()
        return [loss.detach().numpy(), *stack.to_keras(gradients)]

    def make_step(stack: Stack, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], None]:
        endless = itertools.cycle(batches)

        def step() -> None:
            """Clears the gradients of the last batch, then runs forward, backward and the optimizer."""
            x, y = next(endless)
            optimizer.zero_grad()
            loss_of(stack(x), y).backward()
            optimizer.step()

        return step

    return TrainingImplementation(stack, batches, problem.weights, loss_and_gradients, make_step)


def _accelerated(implementation: str, stack: Stack) -> Stack:
    """The layers, with fastseq's modules in the place of torch's if it is fastseq's implementation."""
    if implementation != "fast-torch":
        return stack
    import fastseq.torch  # after torch, and here: torch alone computes in a process without it

    fast, report = fastseq.torch.accelerate(stack, verbose=False, return_report=True)
    if not report.replaced:
        raise UnavailableError("fastseq.torch has no such module")
    accelerated: Stack = fast
    return accelerated


def _predicting(stack: Stack, inputs: Sequence[NDArray[Any]]) -> BatchImplementation:
    def predict(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return stack(x)

    batches = [torch.from_numpy(from_keras(x, stack.takes)) for x in inputs]
    return BatchImplementation(predict, batches, lambda outputs: {"outputs": outputs.numpy()})


def _binary_crossentropy(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(outputs, y.reshape(outputs.shape))


def _mse(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(outputs, y.reshape(outputs.shape))


# By Keras's name of the loss: the activation that is a part of torch's loss, and torch's loss.
_LOSSES: Mapping[str, tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "categorical_crossentropy": ("softmax", torch.nn.functional.cross_entropy),
    "binary_crossentropy": ("sigmoid", _binary_crossentropy),
    "mse": ("linear", _mse),
}


def _without_last_activation(layers: Sequence[Layer], loss: str) -> list[Layer]:
    if loss not in _LOSSES:
        raise UnavailableError(f"the loss {loss} is not written for it")
    *others, last = layers
    if activation(last) != _LOSSES[loss][0]:
        raise UnavailableError(f"the loss {loss} after {activation(last)} is not written for it")
    return [*others, replace(last, settings={**last.settings, "activation": "linear"})]


def _adam(parameters: list[Any], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    options = {
        "lr": settings.get("learning_rate", 1e-3),
        "betas": (settings.get("beta_1", 0.9), settings.get("beta_2", 0.999)),
        "eps": settings.get("epsilon", 1e-7),
    }
    try:
        return torch.optim.Adam(parameters, **options, fused=True)
    except RuntimeError:  # torch before 2.4 has no fused Adam on a CPU
        return torch.optim.Adam(parameters, **options)


def _rmsprop(parameters: list[Any], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr=settings["learning_rate"], alpha=settings["rho"], eps=settings["epsilon"])


_OPTIMIZERS = {"Adam": _adam, "RMSprop": _rmsprop}

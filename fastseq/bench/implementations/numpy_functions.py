"""fastseq.functional. It is called in a way that all revisions accept, since compare.py runs older ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastseq import functional as f
from fastseq.bench.implementations import LocalImplementation, UnavailableError
from fastseq.bench.implementations._settings import activation, check, window
from fastseq.bench.problems import LayerProblem, Results
from fastseq.bench.shapes import TITLES

# An operation on a problem's arrays: forward takes whether backward follows, backward takes the result of forward.
_Op = tuple[Callable[[bool], Any], Callable[[Any], Results]]


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """Calls of fastseq.functional. They use fastseq's current number of threads, not `threads`."""
    names = tuple(layer.name for layer in problem.layers)
    if names not in _OPS:
        raise UnavailableError(f"has no {' and '.join(names)}")
    for layer in problem.layers:
        check(layer)
    forward, backward = _OPS[names](problem)

    def run() -> Any:
        found = forward(pass_ == "training")
        return found, backward(found) if pass_ == "training" else {}

    return LocalImplementation(run, lambda raw: {"outputs": getattr(raw[0], "outputs", raw[0]), **raw[1]})


def _recurrent(problem: LayerProblem) -> _Op:
    cell = _CELLS[problem.layers[0].name]
    if not hasattr(f, f"{cell}_forward"):
        raise UnavailableError(f"this revision has no {cell}_forward")
    forward, backward = getattr(f, f"{cell}_forward"), getattr(f, f"{cell}_backward")
    arguments = (problem.x, *problem.weights.values())
    mask = {} if problem.mask is None else {"mask": problem.mask}
    names = ("dx", *(f"d{name}" for name in problem.weights))

    def back(result: Any) -> Results:
        gradients = backward(result.workspace, *arguments, **mask, doutputs=problem.doutputs)
        return {name: getattr(gradients, name) for name in names}

    def ahead(training: bool) -> Any:
        return forward(*arguments, **mask, **({} if training else {"save_workspace": False}))

    return ahead, back


def _convolution(problem: LayerProblem) -> _Op:
    arguments = (problem.x, *problem.weights.values())
    options: dict[str, Any] = {"activation": activation(problem.layers[0])}
    return (
        lambda training: f.conv1d_forward(*arguments, **options),
        lambda outputs: vars(f.conv1d_backward(outputs, problem.doutputs, *arguments, **options)),
    )


def _convolution_and_pooling(problem: LayerProblem) -> _Op:
    arguments: Any = (problem.x, *problem.weights.values(), *window(problem.layers[1]))
    options: dict[str, Any] = {"activation": activation(problem.layers[0])}
    return (
        lambda training: f.conv1d_max_pool_forward(*arguments, **options, save_argmax=training),
        lambda result: vars(f.conv1d_max_pool_backward(result, problem.doutputs, *arguments, **options)),
    )


def _max_pooling(problem: LayerProblem) -> _Op:
    sizes, timesteps = window(problem.layers[0]), problem.x.shape[1]
    return (
        lambda training: f.max_pool_forward(problem.x, *sizes, save_argmax=training),
        lambda result: {"dx": f.max_pool_backward(result.argmax, problem.doutputs, timesteps, *sizes)},
    )


def _average_pooling(problem: LayerProblem) -> _Op:
    sizes, timesteps = window(problem.layers[0]), problem.x.shape[1]
    return (
        lambda training: f.average_pool_forward(problem.x, *sizes),
        lambda outputs: {"dx": f.average_pool_backward(problem.doutputs, timesteps, *sizes)},
    )


def _dropout(problem: LayerProblem) -> _Op:
    rate, seed = problem.layers[0].settings["rate"], (1, 0)
    return (
        lambda training: f.dropout(problem.x, rate, seed) if training else problem.x,
        lambda outputs: {"dx": f.dropout(problem.doutputs, rate, seed)},
    )


def _embedding(problem: LayerProblem) -> _Op:
    (embeddings,) = problem.weights.values()
    return (
        lambda training: f.embedding_forward(problem.x, embeddings),
        lambda outputs: {"dembeddings": f.embedding_backward(problem.x, problem.doutputs, len(embeddings))},
    )


_CELLS = {name: cell for cell, name in TITLES.items()}
_OPS: dict[tuple[str, ...], Callable[[LayerProblem], _Op]] = {
    **{(name,): _recurrent for name in _CELLS},
    ("Conv1D",): _convolution,
    ("Conv1D", "MaxPooling1D"): _convolution_and_pooling,
    ("MaxPooling1D",): _max_pooling,
    ("AveragePooling1D",): _average_pooling,
    ("Dropout",): _dropout,
    ("Embedding",): _embedding,
}

"""The implementations that are compared: fastseq's, and those of the same layers and models in other libraries.

There is one module for each framework; it is imported when one of its implementations is first asked for. It has the
functions `make_layers` and `make_models`, or one of them, for the kinds of problems that the framework can compute.
They take the implementation's name, a problem and a pass, and return an `Implementation`. The input is converted to the
layout that the framework prefers beforehand; neither that nor reading the results is timed.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastseq.bench.problems import Problem, Results
from fastseq.bench.processes import Worker
from fastseq.bench.shapes import ADAM_PASSES
from fastseq.bench.timing import time_runs


class UnavailableError(Exception):
    """An implementation cannot take part: it is not installed, or has no such layer."""


class Implementation(Protocol):
    """A problem and a pass, ready to be computed."""

    def results(self) -> Results:
        """Computes once."""

    def turn(self, runs: int) -> list[float]:
        """Computes `runs` times and a few more, see `timing.time_runs`; returns the seconds of each."""


@dataclass(frozen=True)
class LocalImplementation:
    """An implementation in this process.

    Attributes:
        run: The function that is timed.
        read: Converts the result of `run` to `Results`.
    """

    run: Callable[[], Any]
    read: Callable[[Any], Results]

    def results(self) -> Results:
        """Computes once."""
        return self.read(self.run())

    def turn(self, runs: int) -> list[float]:
        """See `timing.time_runs`."""
        return time_runs(self.run, runs)

    def step(self) -> Any:
        """Computes once."""
        return self.run()


@dataclass(frozen=True)
class BatchImplementation:
    """An implementation in this process that computes one batch after the other.

    Attributes:
        run: The function of a batch that is timed.
        batches: The batches; after the last one comes the first again.
        read: Converts the result of `run` to `Results`.
    """

    run: Callable[[Any], Any]
    batches: Sequence[Any]
    read: Callable[[Any], Results]

    def results(self) -> Results:
        """Computes the first batch."""
        return self.read(self.run(self.batches[0]))

    def turn(self, runs: int) -> list[float]:
        """Computes the next batches."""
        return time_runs(self.step, runs)

    def step(self) -> Any:
        """Computes the next batch."""
        return self.run(next(self._endless))

    @functools.cached_property
    def _endless(self) -> Iterator[Any]:
        return itertools.cycle(self.batches)


@dataclass(frozen=True)
class TrainingImplementation:
    """Training steps in this process, one batch after the other. `results` must be called before any turn.

    Attributes:
        model: The model to train.
        batches: The batches; after the last one comes the first again.
        weights: The names of the model's weights.
        loss_and_gradients: Takes the model and a batch; returns the loss without dropout, and its gradients by all
            weights, as arrays.
        make_step: Takes the model and the batches; returns a function that trains on the next batch.
    """

    model: Any
    batches: Sequence[Any]
    weights: Iterable[str]
    loss_and_gradients: Callable[[Any, Any], Iterable[Any]]
    make_step: Callable[[Any, Sequence[Any]], Callable[[], Any]]

    def results(self) -> Results:
        """The loss of the first batch without dropout, and its gradients by all weights."""
        names = ["the loss", *(f"the gradient by {name}" for name in self.weights)]
        arrays = self.loss_and_gradients(self.model, self.batches[0])
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

    def turn(self, runs: int) -> list[float]:
        """Trains on the next batches."""
        return time_runs(self.step, runs)

    @functools.cached_property
    def step(self) -> Callable[[], Any]:
        """Trains on the next batch."""
        return self.make_step(self.model, self.batches)


class _Kind(NamedTuple):
    module: str  # in this package; "{backend}" in it stands for the Keras backend, as in the packages
    packages: tuple[str, ...]  # packages that it needs; a report has their versions
    masked: bool = False  # whether it takes a mask of any pattern
    environment: dict[str, str] | None = None  # environment of its separate process; None if it needs none
    lacks: Mapping[str, str] = {}  # by pass or kind of problem, why it is not implemented


def _keras(backend: str | None = None) -> _Kind:
    """A kind that runs on this process's Keras backend, or on another in a process of its own."""
    environment = None if backend is None else {"KERAS_BACKEND": backend}
    return _Kind("keras_{backend}", ("keras", "{backend}"), masked=True, environment=environment)


# In fastseq's process, torch would use the OpenMP runtime that fastseq has loaded, whose idle threads sleep. With its
# own runtime, whose idle threads spin, two threads took 5.6 ms instead of 9.3 ms.
_TORCH = _Kind(
    "pytorch", ("torch",), environment={}, lacks={"keras-adam": "has its own Adam, which is in the pass adam"}
)
_KINDS = {
    "fast": _keras(),
    "functional": _Kind(
        "numpy_functions",
        ("numpy",),
        masked=True,
        lacks={"models": "has no models", **dict.fromkeys(ADAM_PASSES, "is measured without an optimizer")},
    ),
    "predictor": _Kind(
        "predictor",
        ("keras", "{backend}"),
        masked=True,
        lacks={"layers": "predicts whole models", "training": "has no gradients"},
    ),
    "stock": _keras(),
    "torch": _TORCH,
    "onnxruntime": _Kind(
        "onnx_runtime",
        ("onnxruntime", "onnx"),
        lacks=dict.fromkeys(("training", *ADAM_PASSES), "has no gradients"),
    ),
    "stock-jit": _keras(),
    "keras-jax": _keras("jax"),
    "tf-block": _Kind(
        "block_lstm",
        ("tensorflow",),
        lacks={"models": "is an LSTM", **dict.fromkeys(ADAM_PASSES, "has no optimizer")},
    ),
    "fast-torch": _TORCH,
    "keras-torch": _keras("torch"),
    "fast-keras-torch": _keras("torch"),
    "fast-keras-jax": _keras("jax"),
}
IMPLEMENTATIONS = tuple(_KINDS)
FASTSEQ = ("fast", "functional", "predictor")  # the others are peers
PEERS = tuple(name for name in IMPLEMENTATIONS if name not in FASTSEQ)
# Peers that fastseq takes part in, on another framework: it is not compared with itself.
FASTSEQ_ELSEWHERE = tuple(name for name in PEERS if name.startswith("fast"))


def _kind(name: str) -> _Kind:
    """The kind of that name, for the Keras backend that it runs on."""
    kind = _KINDS[name]
    backend = {**os.environ, **(kind.environment or {})}.get("KERAS_BACKEND", "tensorflow")
    return kind._replace(
        module=kind.module.format(backend=backend),
        packages=tuple(package.format(backend=backend) for package in kind.packages),
    )


def packages(names: Iterable[str]) -> list[str]:
    """The packages that implementations with these names need."""
    return list(dict.fromkeys(package for name in names for package in _kind(name).packages))


def not_installed(name: str) -> str:
    """The package that an implementation needs and that is not installed, in words; "" where there is none."""
    missing = [package for package in _kind(name).packages if importlib.util.find_spec(package) is None]
    return f"{missing[0]} is not installed" if missing else ""


def absent(names: Iterable[str], kind: str, pass_: str) -> dict[str, str]:
    """The implementations that lack this pass or cannot compute this kind of problem, by name, and why."""
    reasons = {name: _KINDS[name].lacks.get(kind) or _KINDS[name].lacks.get(pass_) for name in names}
    return {name: reason for name, reason in reasons.items() if reason}


def make_implementation(name: str, problem: Problem, pass_: str, *, threads: int) -> Implementation:
    """Makes the implementation of that name, in a process of its own where it needs one.

    Args:
        name: One of `IMPLEMENTATIONS`.
        problem: The problem to compute.
        pass_: "forward": the outputs in inference. "training": the outputs and the gradients of a layer, or a training
            step of a model. Layers also have `shapes.ADAM_PASSES`: the outputs, the gradient by x, and the weights
            after a step of Adam. In these every run is a further step, so only the first run's results are comparable.
        threads: How many threads the implementation may use. A process keeps the first number that it is given.

    Raises:
        UnavailableError: The implementation cannot take part.
    """
    kind = _KINDS[name]
    if found := absent([name], problem.kind, pass_):
        raise UnavailableError(found[name])
    if problem.masked and not kind.masked:
        raise UnavailableError("takes no mask of any pattern")
    if reason := not_installed(name):
        raise UnavailableError(reason)
    if kind.environment is None:
        return make_local_implementation(name, problem, pass_, threads=threads)
    return _worker(name).make_implementation(name, problem, pass_, threads=threads)


def make_local_implementation(name: str, problem: Problem, pass_: str, *, threads: int) -> Implementation:
    """Makes an implementation in this process, whose environment must be the one that the implementation needs."""
    try:
        module = importlib.import_module(f"{__name__}.{_kind(name).module}")
    except ModuleNotFoundError as missing:  # a package that the implementation's packages need
        if (missing.name or "").partition(".")[0] == "fastseq":
            raise
        raise UnavailableError(f"{missing.name} is not installed") from missing
    implementation: Implementation = getattr(module, f"make_{problem.kind}")(name, problem, pass_, threads=threads)
    return implementation


@functools.cache
def _worker(name: str) -> Worker:
    environment = _KINDS[name].environment
    assert environment is not None
    return Worker(environment)

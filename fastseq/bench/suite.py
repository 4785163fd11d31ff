"""The comparisons of `fastseq bench`, and the selection of some by name."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastseq.bench.layers import CASES, SCORES, attention_comparison, layer_comparison, recurrent_comparison
from fastseq.bench.measuring import Comparison
from fastseq.bench.scaling import BASE, VARY, curve_comparison, sizes_of
from fastseq.bench.shapes import DEFAULT_SHAPES, GATES, PASSES, SHAPES
from fastseq.bench.whole_models import MODEL_PASSES, ONE_ROW, model_comparison, prediction_comparison

_LAYER_PASSES = ["training", "adam", "forward"]
# The comparisons of --quick, the most informative first.
_QUICK = (
    "reuters-lstm/training",  # a model is first, since it imports all packages, before its share of the time begins
    "lstm/reuters/training",
    "conv1d-max-pooling/training",
    "embedding/adam",
    "dropout/training",
    "scaling/lstm/batch",
    "gru/reuters/training",
    "imdb-cnn-lstm/training",
    "simple_rnn/imdb-simple/training",
    "attention/luong/training",
    "reuters-lstm/predictor-one-row/forward",
    "lstm/one-row/forward",
    "max-pooling/training",
    "imdb-rnn-embedding/training",
    "scaling/lstm/threads",
)


@dataclass(frozen=True)
class Task:
    """A comparison that can be made.

    Attributes:
        name: The name of the comparison.
        prepare: Takes the number of threads and returns the comparison.
    """

    name: str
    prepare: Callable[[int], Comparison]

    @property
    def parts(self) -> set[str]:
        """The parts of the name."""
        return set(self.name.split("/"))


def layer_tasks() -> list[Task]:
    """The comparisons of single layers, and the scaling curves."""
    made: dict[str, Callable[[int], Comparison]] = {}
    for cell, names in DEFAULT_SHAPES.items():
        for name, pass_ in itertools.product(names, reversed(PASSES)):
            made[f"{cell}/{name}/{pass_}"] = _with_threads(recurrent_comparison, cell, name, SHAPES[name], pass_)
    for name, case in CASES.items():
        for pass_ in _LAYER_PASSES:
            if not case.lacks(pass_):
                made[f"{name}/{pass_}"] = _with_threads(layer_comparison, name, pass_)
    for score, pass_ in itertools.product(SCORES, reversed(PASSES)):
        made[f"attention/{score}/{pass_}"] = _with_threads(attention_comparison, score, pass_)
    for cell, vary in itertools.product(GATES, VARY):
        made[f"scaling/{cell}/{vary}"] = functools.partial(_curve, cell, vary)
    return [Task(name, prepare) for name, prepare in made.items()]


def _with_threads(make: Callable[..., Comparison], *arguments: Any) -> Callable[[int], Comparison]:
    return lambda threads: make(*arguments, threads=threads)


def _curve(cell: str, vary: str, threads: int) -> Comparison:
    return curve_comparison(cell, vary, sizes_of(vary, threads), BASE, "training", threads=threads)


def model_tasks(models: Sequence[str]) -> list[Task]:
    """The comparisons of models: training steps, then predictions, then those of `fastseq.Predictor`.

    Args:
        models: Names in `fastseq.training.models.MODELS`.
    """
    tasks = [
        Task(f"{name}/{pass_}", _with_threads(model_comparison, name, pass_))
        for pass_ in MODEL_PASSES
        for name in models
    ]
    for label, one_row, of in (("predictor", False, models), ("predictor-one-row", True, ONE_ROW)):
        prepare = functools.partial(prediction_comparison, one_row=one_row)
        tasks += [Task(f"{name}/{label}/forward", _with_threads(prepare, name)) for name in of if name in models]
    return tasks


def quick(tasks: Sequence[Task]) -> list[Task]:
    """The tasks of --quick, in their order."""
    by_name = {task.name: task for task in tasks}
    return [by_name[name] for name in _QUICK]


def select(tasks: Sequence[Task], chosen: Sequence[str]) -> list[Task]:
    """The tasks that match any of the choices. A choice matches the tasks whose name has all its parts, in any order.

    "lstm" matches all comparisons of LSTM, "lstm/training" its training passes, "adam" all steps with Adam.

    Raises:
        ValueError: A choice matches no task.
    """
    found = []
    for choice in chosen:
        meant = [task for task in tasks if set(choice.split("/")) <= task.parts]
        if not meant:
            parts = sorted(set().union(*(task.parts for task in tasks)))
            raise ValueError(f"choose names or parts of names, joined by /, from {', '.join(parts)}; got {choice!r}")
        found += [task for task in meant if task not in found]
    return found

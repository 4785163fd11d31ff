"""Layers that are not recurrent under pytest-benchmark: `pytest bench`, with `-k` for some of layer, pass and side.

For ratios use versus_layers.py, which interleaves the sides; here each has its time to itself.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from fastseq import runtime
from fastseq.bench.layers import CASES, LAYER_PASSES, layer_problem, verify_layer
from fastseq.bench.machine import cpu_name, prepare
from fastseq.bench.sides import LocalSide, UnavailableError, make_side

_SIDES = ("fast", "stock", "stock-jit")


@functools.cache
def _threads() -> int:
    """The number of threads for all sides."""
    return prepare(None)


@pytest.mark.parametrize("side", _SIDES)
@pytest.mark.parametrize(
    ("name", "pass_"),
    [(name, pass_) for name, case in CASES.items() for pass_ in LAYER_PASSES if not case.lacks(pass_)],
)
def bench_layers(benchmark: Any, name: str, pass_: str, side: str) -> None:
    threads = _threads()
    case = CASES[name]
    problem = layer_problem(case)
    try:
        timed = make_side(side, problem, pass_, threads=threads)
    except UnavailableError as reason:
        pytest.skip(f"{side}: {reason}")
    expected = make_side("stock", problem, pass_, threads=threads).results()
    verify_layer(case, side, timed.results(), expected)

    assert isinstance(timed, LocalSide)
    benchmark.group = f"{name}, {LAYER_PASSES[pass_]}"
    benchmark.pedantic(timed.run, rounds=30, warmup_rounds=3)
    benchmark.extra_info.update(cpu=cpu_name(), isa=runtime.isa(), threads=threads)

"""Layers that are not recurrent under pytest-benchmark: `pytest bench`.

`-k` selects layers, passes and implementations. For ratios use versus_layers.py, which interleaves the implementations;
here they run one after the other.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from fastseq import runtime
from fastseq.bench.implementations import LocalImplementation, UnavailableError, make_implementation
from fastseq.bench.layers import CASES, LAYER_PASSES, layer_problem, verify_layer
from fastseq.bench.machine import cpu_name, prepare

_IMPLEMENTATIONS = ("fast", "stock", "stock-jit")


@functools.cache
def _threads() -> int:
    """The number of threads for all implementations."""
    return prepare(None)


@pytest.mark.parametrize("implementation", _IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("name", "pass_"),
    [(name, pass_) for name, case in CASES.items() for pass_ in LAYER_PASSES if not case.lacks(pass_)],
)
def bench_layers(benchmark: Any, name: str, pass_: str, implementation: str) -> None:
    threads = _threads()
    case = CASES[name]
    problem = layer_problem(case)
    try:
        timed = make_implementation(implementation, problem, pass_, threads=threads)
    except UnavailableError as reason:
        pytest.skip(f"{implementation}: {reason}")
    expected = make_implementation("stock", problem, pass_, threads=threads).results()
    verify_layer(case, implementation, timed.results(), expected)

    assert isinstance(timed, LocalImplementation)
    benchmark.group = f"{name}, {LAYER_PASSES[pass_]}"
    benchmark.pedantic(timed.run, rounds=30, warmup_rounds=3)
    benchmark.extra_info.update(cpu=cpu_name(), isa=runtime.isa(), threads=threads)

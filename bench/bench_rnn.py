"""Recurrent layers under pytest-benchmark: `pytest bench`.

`-k` selects cells, shapes, passes and implementations. For ratios use versus_peers.py, which interleaves the
implementations; here they run one after the other.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from fastseq import runtime
from fastseq.bench.implementations import Implementation, UnavailableError, make_implementation
from fastseq.bench.machine import cpu_name, prepare
from fastseq.bench.problems import make_problem, verify
from fastseq.bench.shapes import DEFAULT_SHAPES, PASSES, SHAPES
from fastseq.bench.timing import fma_peak

_IMPLEMENTATIONS = ("fast", "stock", "stock-jit", "torch")


class _Clock:
    """Shows the time that implementations have measured of themselves: not all run in this process."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        return self._seconds

    def run(self, implementation: Implementation) -> None:
        self._seconds += implementation.turn(1)[0]


_clock = _Clock()


@functools.cache
def _threads() -> int:
    """The number of threads for all implementations."""
    return prepare(None)


@pytest.mark.benchmark(timer=_clock)
@pytest.mark.parametrize("implementation", _IMPLEMENTATIONS)
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize(("cell", "name"), [(cell, name) for cell, names in DEFAULT_SHAPES.items() for name in names])
def bench_rnn(benchmark: Any, cell: str, name: str, pass_: str, implementation: str) -> None:
    threads = _threads()
    problem = make_problem(cell, SHAPES[name])
    try:
        timed = make_implementation(implementation, problem, pass_, threads=threads)
    except UnavailableError as reason:
        pytest.skip(f"{implementation}: {reason}")
    expected = make_implementation("functional", problem, pass_, threads=threads).results()
    verify(timed.results(), expected, f"{implementation}, {cell} {name}")

    peaks = [fma_peak(threads)]
    benchmark.group = f"{cell} {name}, {PASSES[pass_]}"
    benchmark.pedantic(_clock.run, args=(timed,), rounds=30)
    peaks.append(fma_peak(threads))
    if benchmark.stats is None:  # --benchmark-disable
        return
    rate = problem.flops(training=pass_ == "training") / benchmark.stats.stats.median
    benchmark.extra_info.update(
        gflops=rate / 1e9,
        of_peak=2 * rate / sum(peaks),
        cpu=cpu_name(),
        isa=runtime.isa(),
        threads=threads,
    )

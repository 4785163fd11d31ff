"""Scaling of fastseq.functional with the batch, the timesteps, the units and the threads of a layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastseq.bench.implementations import Implementation, make_implementation
from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import Results, make_problem, verify
from fastseq.bench.shapes import PASSES, TITLES, Shape

BASE = Shape(32, 100, 64, 64)
SIZES = {
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "timesteps": (1, 4, 16, 64, 256, 1024),
    "units": (8, 16, 32, 64, 100, 128, 256, 512),
}
VARY = (*SIZES, "threads")


def sizes_of(vary: str, threads: int) -> Sequence[int]:
    """The default sizes of a curve."""
    return range(1, threads + 1) if vary == "threads" else SIZES[vary]


@dataclass(frozen=True)
class _WithThreads:
    """An implementation that sets the process's number of threads for each call, as fastseq.functional needs it."""

    timed: Implementation
    threads: int

    def results(self) -> Results:
        with self._threads():
            return self.timed.results()

    def turn(self, runs: int) -> list[float]:
        with self._threads():
            return self.timed.turn(runs)

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        from fastseq import runtime

        before = runtime.get_num_threads()
        runtime.set_num_threads(self.threads)
        try:
            yield
        finally:
            runtime.set_num_threads(before)


def curve_comparison(
    cell: str, vary: str, sizes: Sequence[int], base: Shape, pass_: str, *, threads: int
) -> Comparison:
    """A curve: a comparison of fastseq.functional with itself at several sizes, by which its implementations are named.

    If the number of threads varies, all compute the same problem, and their results are verified against each other.

    Args:
        cell: A key of `shapes.GATES`.
        vary: One of `VARY`.
        sizes: The values of the size that varies.
        base: The other sizes.
        pass_: A key of `PASSES`.
        threads: The number of threads, unless it varies.
    """
    training = pass_ == "training"
    implementations = [str(size) for size in sizes]
    threads_of = {name: int(name) if vary == "threads" else threads for name in implementations}

    def shape_of(name: str) -> Shape:
        return base if vary == "threads" else base._replace(**{vary: int(name)})

    def make(name: str) -> Implementation:
        made = make_implementation("functional", make_problem(cell, shape_of(name)), pass_, threads=threads_of[name])
        return _WithThreads(made, threads_of[name])

    return Comparison(
        name=f"scaling/{cell}/{vary}",
        title=f"{TITLES[cell]}, {vary} of ({', '.join(map(str, base))}), {PASSES[pass_]}",
        kind="scaling",
        implementations=implementations,
        make=make,
        reference=implementations[0] if vary == "threads" else None,
        verify=lambda name, results, expected: verify(results, expected, f"{name} threads, {cell}"),
        labels={name: f"{vary} {name}" for name in implementations},
        flops={name: shape_of(name).flops(cell, training=training) for name in implementations},
        threads=threads_of,
    )

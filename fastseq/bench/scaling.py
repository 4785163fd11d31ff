"""How fastseq.functional scales with the batch, the timesteps, the units and the threads of a layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import Results, make_problem, verify
from fastseq.bench.shapes import PASSES, TITLES, Shape
from fastseq.bench.sides import Side, make_side

BASE = Shape(32, 100, 64, 64)
SIZES = {
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "timesteps": (1, 4, 16, 64, 256, 1024),
    "units": (8, 16, 32, 64, 100, 128, 256, 512),
}
VARY = (*SIZES, "threads")


def sizes_of(vary: str, threads: int) -> Sequence[int]:
    """The sizes of a curve where nobody says otherwise."""
    return range(1, threads + 1) if vary == "threads" else SIZES[vary]


@dataclass(frozen=True)
class _WithThreads:
    """A side of fastseq.functional, which follows the process's setting of threads."""

    side: Side
    threads: int

    def results(self) -> Results:
        with self._threads():
            return self.side.results()

    def turn(self, runs: int) -> list[float]:
        with self._threads():
            return self.side.turn(runs)

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
    """A curve, whose sides are the sizes. Only numbers of threads compute the same, and are verified to.

    Args:
        cell: A key of `shapes.GATES`.
        vary: One of `VARY`.
        sizes: Of what varies.
        base: The shape of all else.
        pass_: A key of `PASSES`.
        threads: For every size, unless they are what varies.
    """
    training = pass_ == "training"
    sides = [str(size) for size in sizes]
    threads_of = {side: int(side) if vary == "threads" else threads for side in sides}

    def shape_of(side: str) -> Shape:
        return base if vary == "threads" else base._replace(**{vary: int(side)})

    def make(side: str) -> Side:
        made = make_side("functional", make_problem(cell, shape_of(side)), pass_, threads=threads_of[side])
        return _WithThreads(made, threads_of[side])

    return Comparison(
        name=f"scaling/{cell}/{vary}",
        title=f"{TITLES[cell]}, {vary} of ({', '.join(map(str, base))}), {PASSES[pass_]}",
        kind="scaling",
        sides=sides,
        make=make,
        reference=sides[0] if vary == "threads" else None,
        verify=lambda side, results, expected: verify(results, expected, f"{side} threads, {cell}"),
        labels={side: f"{vary} {side}" for side in sides},
        flops={side: shape_of(side).flops(cell, training=training) for side in sides},
        threads=threads_of,
    )

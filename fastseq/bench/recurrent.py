"""Recurrent layers: fastseq's beside everything else that computes them."""

from __future__ import annotations

from collections.abc import Sequence

from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import RecurrentProblem, Results, make_problem, verify
from fastseq.bench.shapes import PASSES, TITLES, Shape
from fastseq.bench.sides import SIDES, absent, make_side


def recurrent_comparison(
    cell: str,
    name: str,
    shape: Shape,
    pass_: str,
    *,
    threads: int,
    problem: RecurrentProblem | None = None,
    sides: Sequence[str] = SIDES,
) -> Comparison:
    """A cell at a shape; the results are to be stock Keras's.

    Args:
        cell: A key of `shapes.GATES`.
        name: Of the shape.
        shape: What the layer works on.
        pass_: A key of `PASSES`.
        threads: For every side.
        problem: With this cell and shape; None for one without a mask.
        sides: Of `SIDES`.
    """
    training = pass_ == "training"

    def check(side: str, results: Results, expected: Results) -> None:
        verify(results, expected, f"{side}, {cell} {shape}")

    flops = problem.flops(training=training) if problem else shape.flops(cell, training=training)
    return Comparison(
        name=f"{cell}/{name}/{pass_}",
        title=f"{TITLES[cell]} ({', '.join(map(str, shape))}), {PASSES[pass_]}",
        kind="recurrent",
        sides=sides,
        make=lambda side: make_side(side, problem or make_problem(cell, shape), pass_, threads=threads),
        reference="stock",
        verify=check,
        flops=dict.fromkeys(sides, flops),
        threads=dict.fromkeys(sides, threads),
        absent=absent(sides, RecurrentProblem.kind, pass_),
    )

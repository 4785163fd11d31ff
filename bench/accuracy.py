"""The errors of fastseq and of stock Keras, both in float32, against the float64 definition.

An error is the largest difference from `fastseq.reference`, relative to the largest magnitude of what it gives, and
the largest over all seeds. fastseq's are to be at most 1.5 times stock Keras's: ends with status 1 if one is not.

    python bench/accuracy.py --cell lstm gru --shape reuters 32,50,64,128
"""

from __future__ import annotations

import argparse
import sys

from environment import add_options, header, positive, prepare
from problems import Problem, Results, error, make_problem
from report import table
from shapes import GATES, SHAPE_HELP, shapes_of
from sides import make_side, packages

_SIDES = ["fast", "stock"]
_TARGET = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--shape", nargs="+", default=[], metavar="SHAPE", help=f"{SHAPE_HELP}; default: by cell")
    parser.add_argument("--seeds", type=positive, default=3, help="how many problems of each shape; default: 3")
    add_options(parser)
    options = parser.parse_args()
    try:
        shapes = {cell: shapes_of(cell, options.shape) for cell in options.cell}
        threads = prepare(options.threads, options.isa)
    except ValueError as wrong:
        parser.error(str(wrong))

    rows: list[tuple[str, ...]] = []
    above = 0
    for cell in options.cell:
        for name, shape in shapes[cell].items():
            largest: dict[str, dict[str, float]] = {side: {} for side in _SIDES}
            for seed in range(options.seeds):
                problem = make_problem(cell, shape, seed=seed)
                expected = reference_results(problem)
                for side, errors in largest.items():
                    results = make_side(side, problem, training=True, threads=threads).results()
                    for result, array in expected.items():
                        errors[result] = max(errors.get(result, 0.0), error(results[result], array))
            for result, fast in largest["fast"].items():
                stock = largest["stock"][result]
                ratio = fast / stock if stock else float(fast > 0)
                above += ratio > _TARGET
                mark = "above target" if ratio > _TARGET else ""
                rows.append((f"{cell} {name}", result, f"{fast:.2g}", f"{stock:.2g}", f"{ratio:.2f}", mark))
    print(header(packages(_SIDES)))
    print(f"largest relative errors over {options.seeds} seeds; {above} of {len(rows)} above {_TARGET} times stock's")
    print(table(("layer", "result", "fast", "stock", "fast / stock", ""), rows))
    sys.exit(above > 0)


def reference_results(problem: Problem) -> Results:
    """By `fastseq.reference`, in float64."""
    from fastseq import reference

    arguments = (problem.x, problem.kernel, problem.recurrent_kernel, problem.bias)
    forward = getattr(reference, f"{problem.cell}_forward")(*arguments)
    gradients = getattr(reference, f"{problem.cell}_backward")(forward, doutputs=problem.doutputs)
    names = ("dx", "dkernel", "drecurrent_kernel", "dbias")
    return {"outputs": forward.outputs, **{name: getattr(gradients, name) for name in names}}


if __name__ == "__main__":
    main()

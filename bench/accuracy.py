"""The errors of fastseq and of stock Keras, both in float32, against the float64 definition.

An error is the largest difference from the result of `fastseq.reference`, relative to the largest magnitude of that
result; of all seeds the largest error counts. The exit status is 1 if an error of fastseq is more than 1.5 times that
of stock Keras.

    python bench/accuracy.py --cell lstm gru --shape reuters 32,50,64,128
    python bench/accuracy.py --layer conv1d
"""

from __future__ import annotations

import dataclasses
import functools
import sys

from common import SHAPE_HELP, add_options, header, prepare, script_parser, shapes_of

from fastseq.bench.implementations import make_implementation, packages
from fastseq.bench.layers import CASES, Case, layer_problem
from fastseq.bench.problems import Layer, Results, error, make_problem
from fastseq.bench.shapes import GATES, Shape
from fastseq.commands import positive, table

_IMPLEMENTATIONS = ["fast", "stock"]
_LAYERS = ("conv1d", "conv1d-wide")  # layers with sums; the others have nearly the bits of stock Keras
_TARGET = 1.5


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--cell", nargs="*", choices=GATES, metavar="CELL", help=f"{[*GATES]}; default: all")
    parser.add_argument("--shape", nargs="+", default=[], metavar="SHAPE", help=f"{SHAPE_HELP}; default: by cell")
    parser.add_argument("--layer", nargs="*", choices=_LAYERS, metavar="LAYER", help=f"{[*_LAYERS]}; default: all")
    parser.add_argument("--seeds", type=positive, default=3, help="how many problems of each shape; default: 3")
    add_options(parser)
    options = parser.parse_args()
    chosen = options.cell is not None or options.layer is not None
    cells = (options.cell or []) if chosen else list(GATES)
    layers = (options.layer or []) if chosen else list(_LAYERS)
    try:
        subjects = [
            (f"{cell} {name}", functools.partial(_recurrent, cell, shape))
            for cell in cells
            for name, shape in shapes_of(cell, options.shape).items()
        ]
    except ValueError as wrong:
        parser.error(str(wrong))
    threads = prepare(options, parser)
    subjects += [(name, functools.partial(_convolution, CASES[name])) for name in layers]

    rows: list[tuple[str, ...]] = []
    above = 0
    for title, compute in subjects:
        largest: dict[str, dict[str, float]] = {name: {} for name in _IMPLEMENTATIONS}
        for seed in range(options.seeds):
            expected, results = compute(seed, threads)
            for name, errors in largest.items():
                for result, array in expected.items():
                    errors[result] = max(errors.get(result, 0.0), error(results[name][result], array))
        for result, fast in largest["fast"].items():
            stock = largest["stock"][result]
            ratio = fast / stock if stock else float(fast > 0)
            above += ratio > _TARGET
            mark = "above target" if ratio > _TARGET else ""
            rows.append((title, result, f"{fast:.2g}", f"{stock:.2g}", f"{ratio:.2f}", mark))
    print(header(packages(_IMPLEMENTATIONS)))
    print(f"largest relative errors over {options.seeds} seeds; {above} of {len(rows)} above {_TARGET} times stock's")
    print(table(("layer", "result", "fast", "stock", "fast / stock", ""), rows))
    sys.exit(above > 0)


def _recurrent(cell: str, shape: Shape, seed: int, threads: int) -> tuple[Results, dict[str, Results]]:
    """The results of `fastseq.reference`, in float64, and of the implementations."""
    from fastseq import reference

    problem = make_problem(cell, shape, seed=seed)
    arguments = (problem.x, *problem.weights.values())
    forward = getattr(reference, f"{cell}_forward")(*arguments)
    gradients = getattr(reference, f"{cell}_backward")(forward, doutputs=problem.doutputs)
    names = ("dx", "dkernel", "drecurrent_kernel", "dbias")
    expected = {"outputs": forward.outputs, **{name: getattr(gradients, name) for name in names}}
    results = {
        name: make_implementation(name, problem, "training", threads=threads).results() for name in _IMPLEMENTATIONS
    }
    return expected, results


def _convolution(case: Case, seed: int, threads: int) -> tuple[Results, dict[str, Results]]:
    """Like `_recurrent`, with an activation whose derivative does not jump, so that rounding cannot switch it."""
    from fastseq import reference

    options = {"activation": "tanh"}
    (layer,) = case.layers
    case = dataclasses.replace(case, layers=[Layer(layer.name, {**layer.settings, **options})])
    problem = layer_problem(case, seed=seed)
    results = {
        name: make_implementation(name, problem, "training", threads=threads).results() for name in _IMPLEMENTATIONS
    }
    arguments = (problem.x, *problem.weights.values())
    outputs = reference.conv1d_forward(*arguments, **options)
    gradients = reference.conv1d_backward(outputs, problem.doutputs, *arguments, **options)
    expected = {"outputs": outputs, **gradients._asdict()}
    return expected, results


if __name__ == "__main__":
    main()

"""The scaling of fastseq.functional: curves over the batch, the timesteps, the units and the threads of a layer.

Each curve varies one size of a base shape. The sizes of a curve are interleaved in one run, with the probe of the FMA
peak. For batch and timesteps, "of linear" is the time for a row or a step, relative to the least of all sizes. It is
1.00 everywhere if the time grows in proportion.

    python bench/scaling.py --cell gru --vary batch units --out scaling.svg
    python bench/scaling.py --cell lstm --base 40,500,500,64 --vary threads --pass forward
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import SHAPE_HELP, add_options, header, parse_shape, prepare, script_parser

from fastseq.bench.charts import scaling_drawing
from fastseq.bench.measuring import Measurement
from fastseq.bench.scaling import BASE, VARY, curve_comparison, sizes_of
from fastseq.bench.shapes import GATES, PASSES
from fastseq.bench.tables import milliseconds, rate, share
from fastseq.commands import positive, table

_LINEAR = ("batch", "timesteps")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--cell", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--vary", nargs="+", choices=VARY, default=list(VARY))
    parser.add_argument("--base", default=str(BASE), metavar="SHAPE", help=f"{SHAPE_HELP}; default: {BASE}")
    parser.add_argument("--sizes", nargs="+", type=positive, help="instead of the default ones, for what varies")
    parser.add_argument("--pass", dest="pass_", choices=PASSES, default="training")
    parser.add_argument("--out", type=Path, help="a file for a plot of the curves, .svg")
    add_options(parser, rounds=5)
    options = parser.parse_args()
    try:
        base = parse_shape(options.base)
    except ValueError as wrong:
        parser.error(str(wrong))
    threads = prepare(options, parser)
    if options.out is not None and options.out.suffix != ".svg":  # before anything is measured in vain
        parser.error(f"argument --out: must end in .svg, got {options.out}")
    print(header(["numpy"]))
    curves = []
    for cell in options.cell:
        for vary in options.vary:
            sizes = sorted(set(options.sizes or sizes_of(vary, threads)))
            curve = Measurement(
                curve_comparison(cell, vary, sizes, base, options.pass_, threads=threads), options.rounds
            )
            curve.run(curve.comparison.implementations)
            print(f"\n{curve.comparison.title}")
            print(curve_table(curve, vary))
            curves.append(curve)
    drawing = scaling_drawing(f"fastseq.functional, {PASSES[options.pass_]}", curves, base)
    if options.out is not None and drawing is not None:
        drawing.save_framed(options.out)
        print(f"\nplot: {options.out}", file=sys.stderr)


def curve_table(curve: Measurement, vary: str) -> str:
    columns = [vary, "ms", "IQR", "GFLOP/s", "of peak"]
    if vary in _LINEAR:
        columns.append("of linear")
    elif vary == "threads":
        columns.append("speed-up")
    cheapest = min(times.median / int(size) for size, times in curve.samples.items())
    rows = []
    for size, times in curve.samples.items():
        row = [
            size,
            milliseconds(times.median),
            milliseconds(times.iqr),
            rate(curve.comparison.flops[size], times.median),
            share(curve.share(size)),
        ]
        if vary in _LINEAR:
            row.append(f"{times.median / int(size) / cheapest:.2f}")
        elif vary == "threads":
            row.append(f"{curve.samples[curve.base].median / times.median:.2f}")
        rows.append(row)
    return table(columns, rows)


if __name__ == "__main__":
    main()

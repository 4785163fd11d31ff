"""How fastseq.functional scales: curves over the batch, the timesteps, the units and the threads of a layer.

Each curve varies one number of a base shape. The sizes of a curve are interleaved in one run, with the probe of the
FMA peak. For batch and timesteps, "of linear" is the time of a row or a step beside that of the size where it is the
cheapest: all 1.00 where time grows in proportion.

    python bench/scaling.py --cell gru --vary batch units --out scaling.png
    python bench/scaling.py --cell lstm --base 40,500,500,64 --vary threads --pass forward
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import add_options, header, positive, prepare
from peak import Peak, load_peak, peak_turn
from problems import make_problem
from report import PASSES, milliseconds, rate, share, table
from shapes import GATES, SHAPE_HELP, Shape, parse_shape
from sides import make_side
from timing import Samples, Turn, interleave

_BASE = "32,100,64,64"
_SIZES = {
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "timesteps": (1, 4, 16, 64, 256, 1024),
    "units": (8, 16, 32, 64, 100, 128, 256, 512),
}
_LINEAR = ("batch", "timesteps")


@dataclass(frozen=True)
class Point:
    """One size of a curve."""

    size: int
    flops: int
    seconds: Samples
    peak: Samples | None


@dataclass(frozen=True)
class Curve:
    """The times of a cell over the sizes of what varies."""

    cell: str
    vary: str
    points: list[Point]

    def of_linear(self, point: Point) -> float:
        """Its time beside that of the cheapest point in proportion."""
        cheapest = min(other.seconds.median / other.size for other in self.points)
        return point.seconds.median / point.size / cheapest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--vary", nargs="+", choices=[*_SIZES, "threads"], default=[*_SIZES, "threads"])
    parser.add_argument("--base", default=_BASE, metavar="SHAPE", help=f"{SHAPE_HELP}; default: {_BASE}")
    parser.add_argument("--sizes", nargs="+", type=positive, help="instead of the default ones, for what varies")
    parser.add_argument("--pass", dest="pass_", choices=PASSES, default="training")
    parser.add_argument("--out", type=Path, help="a file for a plot of the curves; its suffix is the format")
    add_options(parser, rounds=5)
    options = parser.parse_args()
    try:
        base = parse_shape(options.base)
        threads = prepare(options.threads, options.isa)
    except ValueError as wrong:
        parser.error(str(wrong))
    if options.out is not None:
        try:
            import matplotlib  # noqa: F401, before anything is measured in vain
        except ModuleNotFoundError:
            parser.error("--out needs matplotlib: pip install 'fastseq[plots]'")
    from fastseq import runtime

    peak = load_peak(runtime.isa())
    print(header(["numpy"]))
    curves = []
    for cell in options.cell:
        for vary in options.vary:
            sizes = options.sizes or (range(1, threads + 1) if vary == "threads" else _SIZES[vary])
            training = options.pass_ == "training"
            curve = measure(cell, vary, sorted(set(sizes)), base, threads, training, options.rounds, peak)
            print(f"\n{cell}, {vary} of {base}, {PASSES[options.pass_]}")
            print(curve_table(curve))
            curves.append(curve)
    if options.out is not None:
        plot(curves, f"fastseq.functional, {PASSES[options.pass_]}, base {base}", options.out)
        print(f"\nplot: {options.out}", file=sys.stderr)


def measure(
    cell: str,
    vary: str,
    sizes: list[int],
    base: Shape,
    threads: int,
    training: bool,
    rounds: int,
    peak: Peak | None,
) -> Curve:
    """Times one curve."""
    shapes: dict[int, Shape] = {}
    turns: dict[str, Turn] = {}
    threads_of = {size: size if vary == "threads" else threads for size in sizes}
    for size in sizes:
        shapes[size] = base if vary == "threads" else base._replace(**{vary: size})
        problem = make_problem(cell, shapes[size])
        side = make_side("functional", problem, training=training, threads=threads_of[size])
        side.results()  # page faults and the like
        turns[f"{size}"] = _with_threads(side.turn, threads_of[size])
    if peak is not None:
        turns |= {_peak_name(count): peak_turn(peak, count) for count in threads_of.values()}
    samples = interleave(turns, rounds)
    return Curve(
        cell,
        vary,
        [
            Point(
                size,
                shapes[size].flops(cell, training=training),
                samples[f"{size}"],
                samples.get(_peak_name(threads_of[size])),
            )
            for size in sizes
        ],
    )


def _peak_name(threads: int) -> str:
    return f"peak of {threads}"


def _with_threads(turn: Turn, threads: int) -> Turn:
    from fastseq import runtime

    def with_threads(runs: int) -> list[float]:
        runtime.set_num_threads(threads)
        return turn(runs)

    return with_threads


def curve_table(curve: Curve) -> str:
    columns = [curve.vary, "ms", "IQR", "GFLOP/s", "of peak"]
    if curve.vary in _LINEAR:
        columns.append("of linear")
    elif curve.vary == "threads":
        columns.append("speed-up")
    rows = []
    for point in curve.points:
        seconds = point.seconds.median
        row = [
            f"{point.size}",
            milliseconds(seconds),
            milliseconds(point.seconds.iqr),
            rate(point.flops, seconds),
            share(point.flops, seconds, point.peak),
        ]
        if curve.vary in _LINEAR:
            row.append(f"{curve.of_linear(point):.2f}")
        elif curve.vary == "threads":
            row.append(f"{curve.points[0].seconds.median / seconds:.2f}")
        rows.append(row)
    return table(columns, rows)


def plot(curves: list[Curve], title: str, path: Path) -> None:
    """GFLOP/s over sizes: one panel for each number that varies, one line for each cell, and the peak."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.vary for curve in curves))
    figure = Figure(figsize=(4.5 * len(panels), 4), layout="constrained")
    figure.suptitle(title)
    axes: Any = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, vary in zip(axes, panels, strict=True):
        for curve in (curve for curve in curves if curve.vary == vary):
            sizes = [point.size for point in curve.points]
            axis.plot(sizes, [p.flops / p.seconds.median / 1e9 for p in curve.points], marker="o", label=curve.cell)
            peaks = [p.peak.median / 1e9 for p in curve.points if p.peak is not None]
        if peaks:
            axis.plot(sizes, peaks, linestyle="--", color="grey", label="FMA peak")
        axis.set_xscale("linear" if vary == "threads" else "log", **({} if vary == "threads" else {"base": 2}))
        axis.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(vary)
        axis.set_ylabel("GFLOP/s")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

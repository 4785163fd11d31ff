"""Draws the figures of the documentation.

`python docs/figures` draws the diagrams and the bars of docs/whole-models.md. The figures of docs/benchmarks.md are
drawn by `fastseq bench && python docs/figures --measured runs/bench/results.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diagrams import DIAGRAMS
from measured import caption, measured, read_record
from speedups import speedups

from fastseq.bench.drawing import Drawing

_HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, metavar="FILE", help="the results.json of a run, to draw only that")
    parser.add_argument("--out", type=Path, default=_HERE, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args()
    figures: dict[str, Drawing]
    if options.measured is None:
        figures = {"speedups": speedups(_HERE.parent / "whole-models.md"), **{d.__name__: d() for d in DIAGRAMS}}
        for name, figure in figures.items():
            figure.save(options.out / f"{name}.svg")
        return
    try:
        record = read_record(options.measured)
        figures = measured(record)
    except (OSError, ValueError) as error:
        parser.error(f"argument --measured: {error}")
    for name, figure in figures.items():
        figure.save_framed(options.out / f"{name}.svg", caption(record))


if __name__ == "__main__":
    main()

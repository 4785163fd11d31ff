"""Draws all figures of the documentation: `python docs/figures`, again after a change of what they show.

With a folder as argument, they go there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from diagrams import DIAGRAMS
from speedups import speedups

_HERE = Path(__file__).parent


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE
    figures = {"speedups": speedups(_HERE.parent / "whole-models.md"), **{d.__name__: d() for d in DIAGRAMS}}
    for name, canvas in figures.items():
        (out / f"{name}.svg").write_text(canvas.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The lines of a report: times, rates, and their share of the peak."""

from __future__ import annotations

from collections.abc import Iterable

from timing import Samples

PASSES = {"forward": "forward", "training": "forward and backward"}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows under their header: the first column to the left, the others to the right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def rate(flops: int, seconds: float) -> str:
    """GFLOP/s."""
    return f"{flops / seconds / 1e9:.3g}"


def share(flops: int, seconds: float, peak: Samples | None) -> str:
    """Of the peak measured in the same run, or - where there is none."""
    return "-" if peak is None else f"{flops / seconds / peak.median:.0%}"

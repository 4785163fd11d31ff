"""Figures as text: times, rates, shares of the peak, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable

from fastseq.bench.measuring import Measurement
from fastseq.bench.timing import Samples


def describe(measurement: Measurement) -> str:
    """A measurement in lines: what it is, a table of its sides, and who is left out and why."""
    peaks = {f"{peak.median / 1e9:.0f}" for peak in measurement.peaks.values()}
    title = measurement.comparison.title + (f"; FMA peak {' to '.join(sorted(peaks))} GFLOP/s" if peaks else "")
    base = measurement.base
    rows = []
    for side, times in measurement.samples.items():
        row = [side, milliseconds(times.median), milliseconds(times.iqr), f"{measurement.ratio(side).median:.2f}"]
        if peaks:
            flops = measurement.comparison.flops.get(side)
            row += [rate(flops, times.median) if flops else "-", share(measurement.share(side))]
        rows.append(row)
    header = ["side", "ms", "IQR", f"times {base}", *(["GFLOP/s", "of peak"] if peaks else [])]
    lines = [title, table(header, rows)] if rows else [title]
    lines += [f"{side}: left out, {why}" for side, why in measurement.absent.items()]
    lines += [f"{side}: NOT TIMED, {why}" for side, why in measurement.refused.items()]
    return "\n".join(lines)


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
    """Three digits."""
    return f"{1e3 * seconds:.3g}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def rate(flops: int, seconds: float) -> str:
    """GFLOP/s."""
    return f"{flops / seconds / 1e9:.3g}"


def share(of_peak: Samples | None) -> str:
    """Of the peak measured in the same rounds, or - where operations are not counted."""
    return "-" if of_peak is None else f"{of_peak.median:.0%}"

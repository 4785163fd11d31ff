"""Measurements as text: times, rates, shares of the peak, and tables of them."""

from __future__ import annotations

from fastseq.bench.measuring import Measurement
from fastseq.bench.record import Record
from fastseq.bench.timing import Samples
from fastseq.bench.verdicts import SLOWER, compares_fastseq, label_of, peers_of, times
from fastseq.commands import table


def row(one: Measurement) -> str:
    """A measurement in one line: the time of its first implementation, and those of the others as multiples of it."""
    name = one.comparison.name
    if not one.samples:
        return f"{name}: nothing was timed"
    if one.comparison.kind == "scaling":
        return _curve(one)
    base, *others = one.samples
    ratios = [f"{label_of(one, other)} {times(one.ratio(other).median)} times as long" for other in others]
    return f"{name}: {', '.join([f'{label_of(one, base)} {milliseconds(one.samples[base].median)} ms', *ratios])}"


def glance(record: Record) -> str:
    """All measurements in a table: fastseq's time, its share of the peak, and the others' times as multiples of it.

    Below the table are the ends of the scaling curves, the peers that were faster, and notes on what was not measured.
    """
    compared = [one for one in record.measurements if one.comparison.kind != "scaling" and compares_fastseq(one)]
    peers = list(dict.fromkeys(peer for one in compared for peer in peers_of(one)))
    rows = [
        (
            one.comparison.name,
            milliseconds(one.samples[one.base].median),
            share(one.share(one.base)),
            *(f"{times(one.ratio(peer).median)}" if peer in one.samples else "-" for peer in peers),
        )
        for one in compared
    ]
    lines = []
    if rows:
        lines.append(f"times as long as fastseq's layer or model, on {record.threads} threads")
        lines.append(table(("", "fastseq ms", "of peak", *peers), rows))
    lines += [_curve(one) for one in record.of_kind("scaling") if one.samples]
    verdicts = record.verdicts()
    counts = [f"{len(of)} {verdict}" for verdict, of in verdicts.items()]
    lines.append(f"fastseq in {sum(map(len, verdicts.values()))} comparisons with a peer: {', '.join(counts)}")
    for one, peer in verdicts[SLOWER]:
        lines.append(
            f"slower: {one.comparison.name} than {label_of(one, peer)}, which takes {one.ratio(peer).median:.2f} times"
        )
    lines += [f"{implementation}: left out, {reason}" for implementation, reason in record.missing.items()]
    lines += notes(record)
    return "\n".join(lines)


def _curve(one: Measurement) -> str:
    """The rates of a curve at its smallest and its largest size."""
    ends = dict.fromkeys((one.base, list(one.samples)[-1]))
    rates = [
        f"{rate(one.comparison.flops[size], one.samples[size].median)} GFLOP/s at {label_of(one, size)}"
        for size in ends
    ]
    return f"{one.comparison.name}: {', '.join(rates)}"


def notes(record: Record) -> list[str]:
    """Warnings, implementations with wrong results, and comparisons for which there was no time."""
    lines = [*record.warnings]
    for one in record.measurements:
        name = one.comparison.name
        lines += [f"NOT TIMED: {name}, {implementation}: {reason}" for implementation, reason in one.refused.items()]
        lines += [f"cut for lack of time: {name}: {one.cut}"] if one.cut else []
    lines += [f"not measured: {name}: {reason}" for name, reason in record.skipped.items()]
    return lines


def milliseconds(seconds: float) -> str:
    """A time in milliseconds, with three digits."""
    return f"{1e3 * seconds:.3g}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def rate(flops: int, seconds: float) -> str:
    """A rate in GFLOP/s, with three digits."""
    return f"{flops / seconds / 1e9:.3g}"


def share(of_peak: Samples | None) -> str:
    """A share of the peak that was measured in the same rounds; "-" if operations are not counted."""
    return "-" if of_peak is None else f"{of_peak.median:.0%}"

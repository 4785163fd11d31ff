"""The report as an HTML page, made from the template page.html. It has no scripts and loads no other files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template

from fastseq.bench.charts import ratio_drawing, scaling_drawing, share_drawing
from fastseq.bench.drawing import COLOURS, Drawing
from fastseq.bench.measuring import Measurement
from fastseq.bench.record import Record
from fastseq.bench.scaling import BASE
from fastseq.bench.tables import milliseconds, notes, rate
from fastseq.bench.timing import RUNS, Samples
from fastseq.bench.verdicts import (
    FASTER,
    LABELS,
    LEAST_ROUNDS,
    SLOWER,
    TOO_FEW,
    UNCLEAR,
    compares_fastseq,
    label_of,
    name_of,
    peers_of,
    ratio_text,
    times,
    verdict,
)

_SECTIONS = {
    "model": ("ratios-models", "Whole models"),
    "recurrent": ("ratios-recurrent", "Recurrent layers"),
    "layer": ("ratios-layers", "Other layers"),
}


CHARTS = (*(name for name, _ in _SECTIONS.values()), "peak", "scaling")


def drawings_of(record: Record) -> dict[str, Drawing]:
    """The charts of a report, by name; empty ones are left out."""
    drawings = {
        name: ratio_drawing(f"{title}: times as fast as others", record.of_kind(kind))
        for kind, (name, title) in _SECTIONS.items()
    }
    drawings["peak"] = share_drawing("Share of the FMA peak", record.of_kind(*_SECTIONS))
    drawings["scaling"] = scaling_drawing(
        "fastseq without Keras, by the size of a layer", record.of_kind("scaling"), BASE
    )
    return {name: drawing for name, drawing in drawings.items() if drawing is not None}


def page_of(record: Record, drawings: Mapping[str, Drawing]) -> str:
    """The page as HTML.

    Args:
        record: The run to report.
        drawings: Its charts, from `drawings_of`.
    """
    sections = []
    for kind, (name, title) in _SECTIONS.items():
        sections += _section(title, record, record.of_kind(kind), drawings.get(name))
    if "peak" in drawings:
        sections += [
            "<h2>How much of the machine is used</h2>",
            "<p>Operations of the matrix products over time, as a share of the peak of fused multiply-adds that was "
            "measured in the same rounds. The bar and the figure are fastseq's layer or model; the rest of the time "
            "is what is not a product, memory, and the framework's calls.</p>",
            _figure(drawings["peak"]),
        ]
    if "scaling" in drawings:
        sections += [
            "<h2>How it scales</h2>",
            "<p>fastseq without Keras, forward and backward; one number of the shape varies at a time, the others are "
            "written above.</p>",
            _figure(drawings["scaling"]),
            *_details(record, record.of_kind("scaling")),
        ]
    light, dark = (" ".join(f"--{name}: {colours[shade]};" for name, colours in COLOURS.items()) for shade in (0, 1))
    facts = {**record.machine, "date": record.date, "took": f"{record.seconds:.0f} s", "command": record.command}
    return Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8")).substitute(
        light=light,
        dark=dark,
        cpu=escape(record.machine["CPU"]),
        threads=f"{record.threads} thread{'s' * (record.threads != 1)}",
        date=escape(record.date),
        command=escape(record.command),
        runs=RUNS,
        least_rounds=LEAST_ROUNDS,
        verdicts="\n".join(_verdicts(record)),
        notes="\n".join(_notes(record)),
        glance="\n".join(_at_a_glance(record)),
        sections="\n".join(sections),
        machine=_facts("machine", "", facts),
        versions=_facts("package", "version", record.versions),
    )


def _verdicts(record: Record) -> list[str]:
    verdicts = record.verdicts()
    if not any(verdicts.values()):
        return []
    words = {
        FASTER: ("win", "faster than the peer"),
        UNCLEAR: ("", "too close to tell"),
        TOO_FEW: ("", "too few rounds to tell"),
        SLOWER: ("loss", "slower than the peer"),
    }
    cards = "".join(
        f'<div class="card {kind}"><b>{len(verdicts[verdict])}</b><span>{said}</span></div>'
        for verdict, (kind, said) in words.items()
    )
    ratios = [one.ratio(peer).median for of in verdicts.values() for one, peer in of]
    return [
        f'<div class="cards">{cards}</div>',
        f"<p>Peers take {times(min(ratios))} to {times(max(ratios))} times fastseq's time.</p>",
        *([_listed(verdicts[SLOWER])] if verdicts[SLOWER] else []),
    ]


def _listed(slower: Iterable[tuple[Measurement, str]]) -> str:
    items = "".join(
        f'<li><b class="loss">{times(one.ratio(peer).median)}×</b> {escape(name_of(one))}, '
        f"beside {label_of(one, peer)}</li>"
        for one, peer in sorted(slower, key=lambda pair: pair[0].ratio(pair[1]).median)
    )
    return f"<p>Where fastseq is slower, worst first:</p><ul>{items}</ul>"


def _notes(record: Record) -> list[str]:
    lines = [f"not taking part: {LABELS[name]}, {reason}" for name, reason in record.missing.items()]
    lines += notes(record)
    items = "".join(f'<li class="{"loss" * line.startswith("NOT TIMED")}">{escape(line)}</li>' for line in lines)
    return [f'<div class="notes"><b>Left out or cut</b><ul>{items}</ul></div>'] if lines else []


def _at_a_glance(record: Record) -> list[str]:
    compared = [one for one in record.of_kind(*_SECTIONS) if compares_fastseq(one)]
    if not compared:
        return ["<p>Nothing was measured beside fastseq.</p>"]
    peers = list(dict.fromkeys(peer for one in compared for peer in peers_of(one)))
    rows = []
    for one in compared:
        cells = [
            f'<a href="#{_anchor(one)}">{escape(name_of(one))}</a>',
            milliseconds(one.samples[one.base].median),
            *(_ratio_cell(one.ratio(peer)) if peer in one.samples else "–" for peer in peers),
        ]
        rows.append(cells)
    header = ["", "fastseq, ms", *(LABELS[peer] for peer in peers)]
    return [
        "<h2>At a glance</h2>",
        "<p>How many times fastseq's time the others take: above 1 fastseq is faster. Grey where 1 lies within the "
        f"quartiles of the rounds; in parentheses where there were fewer than {LEAST_ROUNDS}.</p>",
        _table(header, rows),
    ]


def _ratio_cell(ratio: Samples) -> str:
    kind = {FASTER: "win", SLOWER: "loss"}.get(verdict(ratio), "muted")
    return f'<b class="{kind}">{ratio_text(ratio)}</b>'


def _section(title: str, record: Record, measurements: list[Measurement], drawing: Drawing | None) -> list[str]:
    if not measurements:
        return []
    figure = [_figure(drawing)] if drawing is not None else []
    return [f"<h2>{title}</h2>", *figure, *_details(record, measurements)]


def _figure(drawing: Drawing) -> str:
    return f"<figure>{drawing.svg()}</figure>"


def _details(record: Record, measurements: Iterable[Measurement]) -> list[str]:
    blocks = []
    for one in measurements:
        lines = [f"<h3>{escape(one.comparison.title)}</h3>"]
        if one.samples:
            lines.append(_implementation_table(one))
        absent = [f"{label_of(one, name)}: {escape(why)}" for name, why in one.absent.items()]
        lines += [f'<p class="muted">Not here: {"; ".join(absent)}.</p>'] if absent else []
        refused = [f"{label_of(one, name)}: {escape(why)}" for name, why in one.refused.items()]
        lines += [f'<p class="loss">Not timed: {"; ".join(refused)}.</p>'] if refused else []
        lines += [f'<p class="muted">Cut for lack of time: {escape(one.cut)}.</p>'] if one.cut else []
        lines.append(f"<p><code>{escape(record.reproduce(one))}</code></p>")
        blocks.append(f'<div class="comparison" id="{_anchor(one)}">' + "\n".join(lines) + "</div>")
    return blocks


def _implementation_table(one: Measurement) -> str:
    counted = bool(one.comparison.flops)
    peaks = ", ".join(
        f"{peak.median / 1e9:.0f} GFLOP/s on {threads} thread{'s' * (threads != 1)}"
        for threads, peak in sorted(one.peaks.items())
    )
    header = ["", "median, ms", "quartiles, ms", "n", f"time / {label_of(one, one.base)}", "quartiles"]
    header += ["GFLOP/s", "of peak"] if counted else []
    rows = []
    for name, samples in one.samples.items():
        ratio, share = one.ratio(name), one.share(name)
        cells = [escape(label_of(one, name)), milliseconds(samples.median), _span(samples, milliseconds)]
        cells.append(str(len(samples.values)))
        cells.append(_ratio_cell(ratio) if name in peers_of(one) else f"{times(ratio.median)}×")
        cells.append("" if name == one.base else _span(ratio, times))
        if counted:
            flops = one.comparison.flops.get(name)
            cells.append(rate(flops, samples.median) if flops else "–")
            cells.append(f"{share.median:.0%}" if share else "–")
        rows.append(cells)
    return _table(header, rows) + (f'<p class="muted">FMA peak in these rounds: {peaks}.</p>' if peaks else "")


def _span(samples: Samples, words: Callable[[float], str]) -> str:
    first, third = samples.quartiles
    return f"{words(first)} to {words(third)}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table. The header is text, the cells are HTML."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _anchor(one: Measurement) -> str:
    return one.comparison.name.replace("/", "-")


def _facts(name: str, value: str, facts: Mapping[str, str]) -> str:
    rows = [map(escape, fact) for fact in facts.items()]
    return _table([name, value], rows).replace("<table>", '<table class="facts">')

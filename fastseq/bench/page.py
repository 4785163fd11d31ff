"""The report as one page of HTML: no scripts, nothing from the network, charts inline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape

from fastseq.bench.charts import ratio_drawing, scaling_drawing, share_drawing
from fastseq.bench.drawing import COLOURS, Drawing, to_svg
from fastseq.bench.measuring import Measurement
from fastseq.bench.record import Record
from fastseq.bench.scaling import BASE
from fastseq.bench.shapes import parse_shape
from fastseq.bench.tables import milliseconds, notes, rate
from fastseq.bench.timing import RUNS, Samples
from fastseq.bench.verdicts import (
    FASTER,
    LABELS,
    LEAST_ROUNDS,
    SLOWER,
    TOO_FEW,
    UNCLEAR,
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
    """The charts of a report, by name; those that there is nothing to draw in are left out."""
    drawings = {
        name: ratio_drawing(f"{title}: times as fast as others", record.of_kind(kind))
        for kind, (name, title) in _SECTIONS.items()
    }
    drawings["peak"] = share_drawing("Share of the FMA peak", record.of_kind(*_SECTIONS))
    drawings["scaling"] = scaling_drawing(
        "fastseq without Keras, by the size of a layer", record.of_kind("scaling"), parse_shape(BASE)
    )
    return {name: drawing for name, drawing in drawings.items() if drawing is not None}


def page_of(record: Record, drawings: Mapping[str, Drawing]) -> str:
    """The page.

    Args:
        record: What to tell.
        drawings: Of it, from `drawings_of`.
    """
    body = [*_head(record), *_notes(record), *_at_a_glance(record)]
    for kind, (name, title) in _SECTIONS.items():
        body += _section(title, record, record.of_kind(kind), drawings.get(name))
    if "peak" in drawings:
        body += [
            "<h2>How much of the machine is used</h2>",
            "<p>Operations of the matrix products over time, as a share of the peak of fused multiply-adds that was "
            "measured in the same rounds. The bar and the figure are fastseq's layer or model; the rest of the time "
            "is what is not a product, memory, and the framework's calls.</p>",
            _figure(drawings["peak"]),
        ]
    if "scaling" in drawings:
        body += [
            "<h2>How it scales</h2>",
            "<p>fastseq without Keras, forward and backward; one number of the shape varies at a time, the others are "
            "written above.</p>",
            _figure(drawings["scaling"]),
            *_details(record, record.of_kind("scaling")),
        ]
    body += [*_how(record), *_machine(record)]
    return _DOCUMENT.format(style=_style(), body="\n".join(body))


def _head(record: Record) -> list[str]:
    verdicts = record.verdicts()
    counted = {verdict: len(of) for verdict, of in verdicts.items()}
    lines = ["<h1>fastseq bench</h1>"]
    about = f"{record.machine['CPU']}, {record.threads} thread{'s' * (record.threads != 1)}, {record.date}"
    lines.append(f'<p class="muted">{escape(about)}</p>')
    if sum(counted.values()):
        cards = [
            ("win", counted[FASTER], "faster than the peer"),
            ("", counted[UNCLEAR], "too close to tell"),
            ("", counted[TOO_FEW], "too few rounds to tell"),
            ("loss", counted[SLOWER], "slower than the peer"),
        ]
        items = "".join(
            f'<div class="card {kind}"><b>{number}</b><span>{words}</span></div>' for kind, number, words in cards
        )
        lines.append(f'<div class="cards">{items}</div>')
        ratios = [one.ratio(peer).median for of in verdicts.values() for one, peer in of]
        lines.append(f"<p>Peers take {times(min(ratios))} to {times(max(ratios))} times fastseq's time.</p>")
        lines += [_listed(verdicts[SLOWER])] if verdicts[SLOWER] else []
    lines.append(f"<p>Reproduce: <code>{escape(record.command)}</code></p>")
    return lines


def _listed(slower: Iterable[tuple[Measurement, str]]) -> str:
    items = "".join(
        f'<li><b class="loss">{times(one.ratio(peer).median)}×</b> {escape(name_of(one))}, '
        f"beside {label_of(one, peer)}</li>"
        for one, peer in sorted(slower, key=lambda pair: pair[0].ratio(pair[1]).median)
    )
    return f"<p>Where fastseq is slower, worst first:</p><ul>{items}</ul>"


def _notes(record: Record) -> list[str]:
    lines = [f"not taking part: {LABELS[side]}, {reason}" for side, reason in record.missing.items()]
    lines += notes(record)
    items = "".join(f'<li class="{"loss" * line.startswith("NOT TIMED")}">{escape(line)}</li>' for line in lines)
    return [f'<div class="notes"><b>Left out or cut</b><ul>{items}</ul></div>'] if lines else []


def _at_a_glance(record: Record) -> list[str]:
    compared = [one for one in record.of_kind(*_SECTIONS) if "fast" in one.samples]
    if not compared:
        return ["<p>Nothing was measured beside fastseq.</p>"]
    peers = list(dict.fromkeys(peer for one in compared for peer in peers_of(one)))
    rows = []
    for one in compared:
        cells = [
            f'<a href="#{_anchor(one)}">{escape(name_of(one))}</a>',
            milliseconds(one.samples["fast"].median),
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
    return f"<figure>{to_svg(drawing)}</figure>"


def _details(record: Record, measurements: Iterable[Measurement]) -> list[str]:
    blocks = []
    for one in measurements:
        lines = [f"<h3>{escape(one.comparison.title)}</h3>"]
        if one.samples:
            lines.append(_side_table(one))
        absent = [f"{label_of(one, side)}: {escape(why)}" for side, why in one.absent.items()]
        lines += [f'<p class="muted">Not here: {"; ".join(absent)}.</p>'] if absent else []
        refused = [f"{label_of(one, side)}: {escape(why)}" for side, why in one.refused.items()]
        lines += [f'<p class="loss">Not timed: {"; ".join(refused)}.</p>'] if refused else []
        lines += [f'<p class="muted">Cut for lack of time: {escape(one.cut)}.</p>'] if one.cut else []
        lines.append(f"<p><code>{escape(record.reproduce(one))}</code></p>")
        blocks.append(f'<div class="comparison" id="{_anchor(one)}">' + "\n".join(lines) + "</div>")
    return blocks


def _side_table(one: Measurement) -> str:
    counted = bool(one.comparison.flops)
    peaks = ", ".join(
        f"{peak.median / 1e9:.0f} GFLOP/s on {threads} thread{'s' * (threads != 1)}"
        for threads, peak in sorted(one.peaks.items())
    )
    header = ["", "median, ms", "quartiles, ms", "n", f"time / {label_of(one, one.base)}", "quartiles"]
    header += ["GFLOP/s", "of peak"] if counted else []
    rows = []
    for side, samples in one.samples.items():
        ratio, share = one.ratio(side), one.share(side)
        cells = [escape(label_of(one, side)), milliseconds(samples.median), _span(samples, milliseconds)]
        cells.append(str(len(samples.values)))
        cells.append(_ratio_cell(ratio) if side in peers_of(one) else f"{times(ratio.median)}×")
        cells.append("" if side == one.base else _span(ratio, times))
        if counted:
            flops = one.comparison.flops.get(side)
            cells.append(rate(flops, samples.median) if flops else "–")
            cells.append(f"{share.median:.0%}" if share else "–")
        rows.append(cells)
    return _table(header, rows) + (f'<p class="muted">FMA peak in these rounds: {peaks}.</p>' if peaks else "")


def _span(samples: Samples, words: Callable[[float], str]) -> str:
    first, third = samples.quartiles
    return f"{words(first)} to {words(third)}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML already, but for the header."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _anchor(one: Measurement) -> str:
    return one.comparison.name.replace("/", "-")


def _how(record: Record) -> list[str]:
    return [
        "<h2>How it was measured</h2>",
        "<p>All sides of a comparison have the same weights and the same input. Before anything is timed, what they "
        "compute is compared: outputs and, in training, the gradients by the input and all weights (within 1e-4 of the "
        "largest value of each; of training steps the loss and all gradients without dropout, within 3 % of each "
        "gradient's norm). A side that computes something else is not timed, and named above.</p>",
        f"<p>Then the sides take turns: in every round each has one, of some runs that do not count (one at least, and "
        f"10 ms) and {RUNS} that do, so that all meet the same machine, whatever else it does. The probe of the FMA "
        "peak has its turn in the same rounds. Times are medians over all counted runs, n of them; quartiles are "
        "beside them. “Time / fastseq” is the median over the rounds of the ratio of both medians within a "
        "round, and its quartiles are those of the rounds: so it may differ from the ratio of the medians in the same "
        f"row. Faster or slower is said where 1 is outside of these quartiles, of {LEAST_ROUNDS} rounds or more.</p>",
        f"<p>Every side may use {record.threads} thread{'s' * (record.threads != 1)}. PyTorch and JAX run in processes "
        "of their own, which time themselves. Layers and models of fastseq and Keras run in a tf.function, their "
        "inputs ready as tensors; texts are made up (ids by Zipf's law after padding of any length). Nothing is "
        "averaged over different comparisons.</p>",
    ]


def _machine(record: Record) -> list[str]:
    facts = {**record.machine, "date": record.date, "took": f"{record.seconds:.0f} s", "command": record.command}
    rows = [[escape(name), escape(value)] for name, value in facts.items()]
    packages = [[escape(package), escape(version)] for package, version in record.versions.items()]
    return [
        "<h2>Machine and versions</h2>",
        _table(["machine", ""], rows).replace("<table>", '<table class="facts">'),
        _table(["package", "version"], packages).replace("<table>", '<table class="facts">'),
        "<p>Every single sample is in results.json.</p>",
    ]


def _style() -> str:
    light, dark = (" ".join(f"--{name}: {colours[shade]};" for name, colours in COLOURS.items()) for shade in (0, 1))
    return _STYLE.replace("LIGHT", light).replace("DARK", dark)


_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>fastseq bench</title>
<style>
{style}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """:root { color-scheme: light dark; LIGHT }
@media (prefers-color-scheme: dark) { :root { DARK } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1rem; }
h1 { margin: 0.5rem 0 0; }
h2 { margin: 2.5rem 0 0.5rem; border-bottom: 1px solid var(--grid); }
h3 { margin: 0 0 0.3rem; font-size: 1rem; }
p, ul { margin: 0.5rem 0; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; max-width: 42rem; height: auto; }
code { font-size: 0.85em; background: var(--grid); padding: 0.1em 0.35em;
  border-radius: 4px; overflow-wrap: anywhere; }
a { color: inherit; }
.muted { color: var(--muted); }
.win { color: var(--win); }
.loss { color: var(--loss); }
.cards { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 1rem 0; }
.card { flex: 1 1 8rem; border: 1px solid var(--grid); border-left: 4px solid var(--muted); border-radius: 6px;
  padding: 0.4rem 0.8rem; color: var(--ink); }
.card.win { border-left-color: var(--win); }
.card.loss { border-left-color: var(--loss); }
.card b { display: block; font-size: 1.8rem; line-height: 1.2; }
.notes { border: 1px solid var(--grid); border-radius: 6px; padding: 0.5rem 0.8rem; margin: 1rem 0; font-size: 0.9rem; }
.comparison { margin: 1.6rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22rem 0.7rem 0.22rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
.facts { width: 100%; margin-bottom: 1rem; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--muted); width: 11rem; }"""

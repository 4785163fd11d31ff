"""The charts of a report: times as fast, shares of the peak, scaling curves.

They are narrow, so that they can be read on a phone; the label of a row is above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from fastseq.bench.drawing import Anchor, Drawing
from fastseq.bench.implementations import FASTSEQ, FASTSEQ_ELSEWHERE
from fastseq.bench.measuring import Measurement
from fastseq.bench.shapes import TITLES, Shape
from fastseq.bench.verdicts import LABELS, TOO_FEW, UNCLEAR, label_of, name_of, peers_of, ratio_text, verdict

_SERIES = {
    "fast": "series-1",
    "functional": "series-1",
    "predictor": "series-1",
    "stock": "series-2",
    "torch": "series-3",
    "onnxruntime": "series-7",
    "stock-jit": "series-4",
    "keras-jax": "series-5",
    "tf-block": "series-6",
    "fast-torch": "series-3",
    "keras-torch": "series-8",
    "fast-keras-torch": "series-8",
    "fast-keras-jax": "series-5",
}
_CELL_SERIES = {"lstm": "series-1", "gru": "series-2", "simple_rnn": "series-3"}

_WIDTH = 480.0
_LEFT, _RIGHT = 150.0, 414.0  # ends of the plot; rows have a name on its left and a figure on its right
_ROW, _GAP = 19.0, 12.0
_FAR = 16.0  # bars are cut at this ratio: with longer ones, the lengths of the others could not be told apart


def ratio_drawing(title: str, measurements: Sequence[Measurement]) -> Drawing | None:
    """The peers' times as multiples of fastseq's: a bar for each, from 1, to the left where fastseq is slower.

    The thin line across the end of a bar goes from the first quartile over the rounds to the third. Bars are pale if
    the verdict is unclear or there were too few rounds. With too few rounds, the figure is in parentheses.

    Returns:
        The drawing; None if nothing was compared.
    """
    rows = [(one, peers) for one in measurements if (peers := peers_of(one))]
    if not rows:
        return None
    spreads = [one.ratio(peer).quartiles for one, peers in rows for peer in peers]
    low = min(0.5, *(2.0 ** math.floor(math.log2(first)) for first, _ in spreads))
    high = max(4.0, *(2.0 ** math.ceil(math.log2(third)) for _, third in spreads))
    low, high = max(low, 1 / _FAR), min(high, _FAR)
    scale = (_RIGHT - _LEFT) / math.log2(high / low)

    def place(ratio: float) -> float:
        return _LEFT + scale * math.log2(min(max(ratio, low), high) / low)

    top = 44.0
    heights = [_ROW * (1 + len(peers)) + _GAP for _, peers in rows]
    drawing = Drawing(title, _WIDTH, top + sum(heights) + 26)
    drawing.text(place(1) - 6, 16, "◂ fastseq slower", "loss", anchor="end", bold=True)
    drawing.text(place(1) + 6, 16, "fastseq faster ▸", "win", bold=True)
    bottom = top + sum(heights)
    for tick in _powers(low, high):
        x = place(tick)
        drawing.line([(x, top - 4), (x, bottom)], "grid")
        for y in (top - 9, bottom + 14):
            drawing.text(x, y, f"{_fraction(tick)}×", "muted", size=11, anchor="middle")
    y = top
    for (one, peers), height in zip(rows, heights, strict=True):
        drawing.text(2, y + 14, name_of(one), bold=True, size=12)
        for index, peer in enumerate(peers, 1):
            _add_ratio(drawing, y + _ROW * index, one, peer, place)
        y += height
    drawing.line([(place(1), top - 4), (place(1), bottom)], "ink", width=1.5)
    return drawing


def _add_ratio(drawing: Drawing, y: float, one: Measurement, peer: str, place: Callable[[float], float]) -> None:
    ratio = one.ratio(peer)
    (first, third), median = ratio.quartiles, ratio.median
    colour = "win" if median >= 1 else "loss"
    unclear = verdict(ratio) in (UNCLEAR, TOO_FEW)
    start, end = sorted((place(1), place(median)))
    middle = y + _ROW / 2
    drawing.text(_LEFT - 8, middle + 4.5, label_of(one, peer), anchor="end", size=12)
    drawing.rectangle(start, y + 3, max(end - start, 1.0), _ROW - 6, colour, opacity=0.4 if unclear else 1.0)
    if not 1 / _FAR <= median <= _FAR:  # a gap marks a bar that is cut
        tip = place(median)
        drawing.line([(tip - 14, y + _ROW), (tip - 6, y)], "ground", width=4)
    drawing.line([(place(first), middle), (place(third), middle)], "ink", width=1.5)
    for x in (place(first), place(third)):
        drawing.line([(x, middle - 3), (x, middle + 3)], "ink", width=1.5)
    words = ratio_text(ratio)
    drawing.text(_WIDTH - 2, middle + 4.5, words, "muted" if unclear else colour, anchor="end", bold=True)


def share_drawing(title: str, measurements: Sequence[Measurement]) -> Drawing | None:
    """Shares of the FMA peak: a bar for fastseq's layer or model, a dot for every other implementation.

    Returns:
        The drawing; None if no operations were counted.
    """
    rows = [one for one in measurements if one.samples and one.comparison.flops]
    if not rows:
        return None
    left, right = 4.0, _WIDTH - 14
    shares = {(one.comparison.name, name): one.share(name) for one in rows for name in one.samples}
    found = {key: share.median for key, share in shares.items() if share is not None}
    most = max(1.0, *found.values())

    def place(share: float) -> float:
        return left + (right - left) * share / most

    implementations = [name for name in _SERIES if any(name in one.samples for one in rows)]
    legend_rows = math.ceil(len(implementations) / 3)
    top, height = 22.0 + 20 * legend_rows, 42.0
    bottom = top + height * len(rows)
    drawing = Drawing(title, _WIDTH, bottom + 22)
    for index, name in enumerate(implementations):
        x, y = 10.0 + 160 * (index % 3), 14.0 + 20 * (index // 3)
        _add_dot(drawing, name, x, y - 4)
        drawing.text(x + 12, y, LABELS[name], size=12)
    for tenth in range(0, math.floor(most * 10) + 1, 2):
        x = place(tenth / 10)
        drawing.line([(x, top - 6), (x, bottom)], "grid")
        anchor: Anchor = "start" if tenth == 0 else "middle" if tenth < 10 else "end"
        drawing.text(x, bottom + 15, f"{tenth * 10} %" if tenth else "0", "muted", size=11, anchor=anchor)
    for index, one in enumerate(rows):
        y = top + height * index
        of = {name: found[one.comparison.name, name] for name in one.samples}
        best = f"{of[one.base]:.0%}" if one.base in FASTSEQ else "–"
        drawing.text(2, y + 13, name_of(one), bold=True, size=12)
        drawing.text(_WIDTH - 2, y + 13, best, "series-1", anchor="end", bold=True)
        drawing.line([(left, y + 28), (right, y + 28)], "grid")
        if "fast" in of:
            drawing.rectangle(left, y + 22, place(of["fast"]) - left, 12, "series-1")
        for name, share in of.items():
            if name != "fast":
                _add_dot(drawing, name, place(share), y + 28)
    return drawing


def _add_dot(drawing: Drawing, name: str, x: float, y: float) -> None:
    if name == "fast":
        drawing.rectangle(x - 6, y - 5, 12, 10, _SERIES[name])
    else:
        drawing.dot(x, y, 5, _SERIES[name], hollow=name in (*FASTSEQ, *FASTSEQ_ELSEWHERE))


def scaling_drawing(title: str, curves: Sequence[Measurement], base: Shape) -> Drawing | None:
    """GFLOP/s over sizes: a panel for each size that varies, a line for each cell, and a dashed line for the peak.

    Args:
        title: The title of the drawing.
        curves: Measurements of `scaling.curve_comparison`.
        base: Their shape, except for the size that varies.

    Returns:
        The drawing; None if there are no curves.
    """
    panels: dict[str, list[Measurement]] = {}
    for curve in curves:
        if curve.samples:
            panels.setdefault(curve.comparison.name.split("/")[-1], []).append(curve)
    if not panels:
        return None
    height = 236.0
    drawing = Drawing(title, _WIDTH, height * len(panels) + 24)
    cells = dict.fromkeys(_cell(curve) for of in panels.values() for curve in of)
    for index, cell in enumerate(cells):
        x = 8.0 + 110 * index
        drawing.line([(x, 12), (x + 18, 12)], _CELL_SERIES[cell], width=2.5)
        drawing.text(x + 24, 16, TITLES[cell])
    drawing.line([(350, 12), (368, 12)], "muted", width=1.5, dashed=True)
    drawing.text(374, 16, "FMA peak")
    for index, (vary, of) in enumerate(panels.items()):
        _add_panel(drawing, 24 + height * index, height, vary, of, base)
    return drawing


def _add_panel(
    drawing: Drawing, top: float, height: float, vary: str, curves: Sequence[Measurement], base: Shape
) -> None:
    left, right, upper, lower = 46.0, _WIDTH - 14, top + 30, top + height - 38
    sizes = sorted({int(size) for curve in curves for size in curve.samples})
    first, last = math.log2(sizes[0]), math.log2(sizes[-1])

    def x_of(size: float) -> float:
        return (
            (left + right) / 2 if first == last else left + (right - left) * (math.log2(size) - first) / (last - first)
        )

    rates = [
        [(int(size), curve.comparison.flops[size] / samples.median / 1e9) for size, samples in curve.samples.items()]
        for curve in curves
    ]
    peaks = [[(int(size), (curve.peak(size) or 0.0) / 1e9) for size in curve.samples] for curve in curves]
    step = _step(max(rate for points in (*rates, *peaks) for _, rate in points))
    most = step * math.ceil(max(rate for points in (*rates, *peaks) for _, rate in points) / step)

    def y_of(rate: float) -> float:
        return lower - (lower - upper) * rate / most

    drawing.text(2, top + 16, f"GFLOP/s over {vary}", bold=True)
    drawing.text(_WIDTH - 2, top + 16, _fixed(base, vary), "muted", size=11, anchor="end")
    for tick in range(0, round(most) + 1, step):
        drawing.line([(left, y_of(tick)), (right, y_of(tick))], "grid")
        drawing.text(left - 6, y_of(tick) + 4, str(tick), "muted", size=11, anchor="end")
    for size in sizes:
        drawing.text(x_of(size), lower + 17, str(size), "muted", size=11, anchor="middle")
    for points in peaks:
        drawing.line([(x_of(size), y_of(rate)) for size, rate in points], "muted", width=1.5, dashed=True)
    for curve, points in zip(curves, rates, strict=True):
        colour = _CELL_SERIES[_cell(curve)]
        places = [(x_of(size), y_of(rate)) for size, rate in points]
        drawing.line(places, colour, width=2.5)
        for x, y in places:
            drawing.dot(x, y, 3.5, colour)


def _fixed(base: Shape, vary: str) -> str:
    """The sizes that do not vary, in words."""
    numbers = {
        "batch": f"batch {base.batch}",
        "timesteps": f"{base.timesteps} steps",
        "inputs": f"{base.inputs} inputs",
        "units": f"{base.units} units",
    }
    return ", ".join(words for number, words in numbers.items() if number != vary)


def _cell(curve: Measurement) -> str:
    return curve.comparison.name.split("/")[1]


def _powers(low: float, high: float) -> Iterable[float]:
    return (2.0**power for power in range(round(math.log2(low)), round(math.log2(high)) + 1))


def _fraction(power: float) -> str:
    return f"{power:g}" if power >= 1 else f"1/{1 / power:g}"


def _step(most: float) -> int:
    """The distance of ticks on an axis up to that number, with 3 to 6 ticks."""
    power = 1
    while most > 60 * power:
        power *= 10
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if most <= 6 * step)

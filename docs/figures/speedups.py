"""The bar chart of whole training steps, from the first table of docs/whole-models.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from diagram import BLUE, Diagram

_LEFT, _WIDTH, _TOP, _ROW = 242, 332, 62, 34


class _Model(NamedTuple):
    name: str
    fast: str
    stock: str
    times: str
    least: float
    most: float


def speedups(page: Path) -> Diagram:
    """A bar for every model of the page's first table: how many times as fast as stock Keras."""
    models = _read(page)
    scale = _WIDTH / max(model.most for model in models)
    height = _TOP + _ROW * len(models) + 34
    in_words = ", ".join(f"{model.name} {model.times}" for model in models)
    diagram = Diagram(f"A whole training step, times as fast as stock Keras: {in_words}", height)
    diagram.text(20, 28, "A whole training step: how many times as fast as stock Keras", size=16, bold=True)
    diagram.text(20, 47, "2 CPU cores; a bar's lighter end is the range over processes", size=12)
    for index, model in enumerate(models):
        y = _TOP + index * _ROW
        diagram.text(_LEFT - 10, y + 20, model.name, anchor="end")
        diagram.rect(_LEFT, y + 6, model.most * scale, 20, BLUE)
        diagram.rectangle(_LEFT, y + 6, model.least * scale, 20, BLUE)
        end = _LEFT + model.most * scale + 8
        diagram.text(end, y + 20, f"{model.times}×", bold=True)
        diagram.text(748, y + 20, f"{model.fast}, was {model.stock}", anchor="end", size=11)
    bottom = _TOP + _ROW * len(models)
    diagram.rule(_LEFT + scale, _TOP, _LEFT + scale, bottom + 4, dashed=True)
    diagram.text(_LEFT + scale, bottom + 20, "stock Keras", anchor="middle", size=12)
    diagram.rule(_LEFT, _TOP, _LEFT, bottom)
    return diagram


def _read(page: Path) -> list[_Model]:
    table = re.search(r"^\| model \|.*\n\| ---.*\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    if table is None:
        raise ValueError(f"{page} has no table whose first column is 'model'")
    models = []
    for line in table[1].splitlines():
        name, fast, stock, times, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        least, _, most = times.partition("–")
        models.append(_Model(name.strip("`"), fast, stock, times, float(least), float(most or least)))
    return models

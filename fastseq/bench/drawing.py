"""Simple drawings as SVG, as an element of a page or as a separate file.

Colours have names. In a page each is a CSS variable with the light colour as its default, so that the page can define
other colours for the dark. A file is shown on unknown backgrounds, so it has the light colours and a background.
Coordinates are pixels from the upper left corner.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Points = Sequence[tuple[float, float]]

# The colours of series can be distinguished by colour-blind people (Okabe and Ito 2008).
_ON_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b0508a", "#9a7d00", "#1b1f24", "#7a5230", "#626a73"]
_ON_DARK = ["#56b4e9", "#ff9248", "#2fd0a4", "#e39bc6", "#f0e442", "#e6e8eb", "#d0a37a", "#9aa3ad"]
# By name, the colours on a light and on a dark background.
COLOURS = {
    "ink": ("#1b1f24", "#e6e8eb"),
    "muted": ("#626a73", "#9aa3ad"),
    "grid": ("#dfe3e8", "#343b44"),
    "ground": ("#ffffff", "#14181d"),
    **{f"series-{number}": of for number, of in enumerate(zip(_ON_LIGHT, _ON_DARK, strict=True), 1)},
}
COLOURS |= {"win": COLOURS["series-1"], "loss": COLOURS["series-2"]}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_MARGIN, _ABOVE, _CAPTION_LINE = 10.0, 40.0, 15.0


class Drawing:
    """A drawing. Later marks cover earlier ones.

    Args:
        title: A description, also for screen readers.
        width: The width in pixels.
        height: The height in pixels.
    """

    def __init__(self, title: str, width: float, height: float) -> None:
        self.title = title
        self.width = width
        self.height = height
        self._elements: list[str] = []

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        opacity: float = 1.0,
        rim: str | None = None,
    ) -> None:
        """Adds a filled rectangle, with a line around it if there is a colour for the rim."""
        around = f";stroke:{_colour(rim)}" if rim else ""
        self._elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'style="fill:{_colour(colour)};fill-opacity:{opacity:g}{around}"/>'
        )

    def polygon(self, points: Points, colour: str) -> None:
        """Adds a filled polygon."""
        self._elements.append(f'<polygon points="{_points(points)}" style="fill:{_colour(colour)}"/>')

    def line(self, points: Points, colour: str, *, width: float = 1.0, dashed: bool = False) -> None:
        """Adds a line through points."""
        dashes = ";stroke-dasharray:5 4" if dashed else ""
        self._elements.append(
            f'<polyline points="{_points(points)}" '
            f'style="fill:none;stroke:{_colour(colour)};stroke-width:{width:g}{dashes}"/>'
        )

    def dot(self, x: float, y: float, radius: float, colour: str, *, hollow: bool = False) -> None:
        """Adds a disc, with a rim that separates it from marks below it, or a ring if it is hollow."""
        fill, rim = ("ground", colour) if hollow else (colour, "ground")
        self._elements.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" '
            f'style="fill:{_colour(fill)};stroke:{_colour(rim)};stroke-width:1.5"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str = "ink",
        *,
        size: float = 13.0,
        anchor: Anchor = "start",
        bold: bool = False,
    ) -> None:
        """Adds text; `y` is its base line."""
        weight = ' font-weight="700"' if bold else ""
        self._elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"{weight} '
            f'style="fill:{_colour(colour)}">{html.escape(text)}</text>'
        )

    def svg(self) -> str:
        """The drawing as an element for a page, in the page's colours."""
        return self._svg(0, 0, self.width, self.height)

    def save(self, path: Path) -> None:
        """Writes an SVG file.

        Raises:
            OSError: The file cannot be written.
        """
        self._save(path, 0, 0, self.width, self.height)

    def save_framed(self, path: Path, caption: Sequence[str] = ()) -> None:
        """Writes an SVG file with a margin, the title above, and the lines of a caption below.

        Raises:
            OSError: The file cannot be written.
        """
        framed = Drawing(self.title, self.width, self.height)
        framed.text(self.width / 2, 22 - _ABOVE, self.title, size=14, anchor="middle", bold=True)
        framed._elements += self._elements
        for number, words in enumerate(caption, 1):
            framed.text(0, self.height + number * _CAPTION_LINE, words, "muted", size=11)
        height = _ABOVE + self.height + _MARGIN + _CAPTION_LINE * len(caption)
        framed._save(path, -_MARGIN, -_ABOVE, self.width + 2 * _MARGIN, height)

    def _save(self, path: Path, left: float, top: float, width: float, height: float) -> None:
        on_ground = Drawing(self.title, self.width, self.height)
        on_ground.rectangle(left + 0.5, top + 0.5, width - 1, height - 1, "ground", rim="grid")
        on_ground._elements += self._elements
        # Many programs that show SVG do not support CSS variables.
        svg = re.sub(r"var\(--[\w-]+, (#\w+)\)", r"\1", on_ground._svg(left, top, width, height))
        path.write_text(svg + "\n", encoding="utf-8")

    def _svg(self, left: float, top: float, width: float, height: float) -> str:
        body = "\n".join(self._elements)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:g} {top:g} {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img" font-family="{_FONT}">\n'
            f"<title>{html.escape(self.title)}</title>\n{body}\n</svg>"
        )


def _colour(name: str) -> str:
    return f"var(--{name}, {COLOURS[name][0]})"


def _points(points: Points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)

"""A drawing of a few kinds of marks, as inline SVG or, by matplotlib, as PNG.

Colours have names. In SVG each is a CSS variable with the light colour to fall back to, so that a page may have others
in the dark; coordinates are pixels from the upper left corner.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Anchor = Literal["start", "middle", "end"]

# By name, on a light and on a dark ground. Those of series can be told apart by the colour-blind (Okabe and Ito 2008).
COLOURS = {
    "ink": ("#1b1f24", "#e6e8eb"),
    "muted": ("#626a73", "#9aa3ad"),
    "grid": ("#dfe3e8", "#343b44"),
    "ground": ("#ffffff", "#14181d"),
    "win": ("#0072b2", "#56b4e9"),
    "loss": ("#d55e00", "#ff9248"),
    "series-1": ("#0072b2", "#56b4e9"),
    "series-2": ("#d55e00", "#ff9248"),
    "series-3": ("#009e73", "#2fd0a4"),
    "series-4": ("#b0508a", "#e39bc6"),
    "series-5": ("#9a7d00", "#f0e442"),
    "series-6": ("#1b1f24", "#e6e8eb"),
    "series-7": ("#7a5230", "#d0a37a"),
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Rectangle:
    """Filled."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Line:
    """Through points."""

    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A disc with a rim that parts it from what is under it, or a ring where it is hollow."""

    x: float
    y: float
    radius: float
    colour: str
    hollow: bool = False


@dataclass(frozen=True)
class Text:
    """On a base line."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    size: float = 13.0
    anchor: Anchor = "start"
    bold: bool = False


Mark = Rectangle | Line | Dot | Text


@dataclass
class Drawing:
    """Marks in their order, the first undermost.

    Attributes:
        title: What there is to see, also for those who do not see it.
        width: In pixels.
        height: In pixels.
        marks: What is drawn.
    """

    title: str
    width: float
    height: float
    marks: list[Mark] = field(default_factory=list)

    def add(self, *marks: Mark) -> None:
        """Draws over what there is."""
        self.marks += marks


def to_svg(drawing: Drawing) -> str:
    """An element to stand in a page, or in a file of its own."""
    body = "\n".join(_element(mark) for mark in drawing.marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" '
        f'font-family="{_FONT}">\n<title>{html.escape(drawing.title)}</title>\n{body}\n</svg>'
    )


def save_drawing(drawing: Drawing, path: Path) -> None:
    """Writes a file, PNG or, without matplotlib, SVG, by its suffix.

    Raises:
        ValueError: The suffix is neither.
        ImportError: A PNG needs matplotlib, which is not installed.
        OSError: The file cannot be written.
    """
    if path.suffix == ".svg":
        path.write_text(to_svg(drawing) + "\n")
    elif path.suffix == ".png":
        _save_png(drawing, path)
    else:
        raise ValueError(f"a drawing is written as .svg or .png, got {path.name}")


def _colour(name: str) -> str:
    return f"var(--{name}, {COLOURS[name][0]})"


def _fill_and_rim(dot: Dot) -> tuple[str, str]:
    return ("ground", dot.colour) if dot.hollow else (dot.colour, "ground")


def _element(mark: Mark) -> str:
    if isinstance(mark, Rectangle):
        return (
            f'<rect x="{mark.x:.1f}" y="{mark.y:.1f}" width="{mark.width:.1f}" height="{mark.height:.1f}" '
            f'style="fill:{_colour(mark.colour)};opacity:{mark.opacity:g}"/>'
        )
    if isinstance(mark, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
        dashes = ";stroke-dasharray:5 4" if mark.dashed else ""
        return (
            f'<polyline points="{points}" '
            f'style="fill:none;stroke:{_colour(mark.colour)};stroke-width:{mark.width:g}{dashes}"/>'
        )
    if isinstance(mark, Dot):
        fill, rim = _fill_and_rim(mark)
        return (
            f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="{mark.radius:g}" '
            f'style="fill:{_colour(fill)};stroke:{_colour(rim)};stroke-width:1.5"/>'
        )
    weight = ' font-weight="700"' if mark.bold else ""
    return (
        f'<text x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size:g}" text-anchor="{mark.anchor}"{weight} '
        f'style="fill:{_colour(mark.colour)}">{html.escape(mark.text)}</text>'
    )


def _save_png(drawing: Drawing, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle
    from matplotlib.patches import Rectangle as Patch

    points = 0.72  # in a pixel, at 100 pixels an inch
    title, margin = 40.0, 10.0
    width, height = drawing.width + 2 * margin, drawing.height + title + margin
    figure = Figure(figsize=(width / 100, height / 100), facecolor=COLOURS["ground"][0])
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-margin, drawing.width + margin), ylim=(drawing.height + margin, -title))
    axes.set_axis_off()
    heading = Text(drawing.width / 2, -18, drawing.title, size=14, anchor="middle", bold=True)
    for order, mark in enumerate([heading, *drawing.marks]):
        colour = COLOURS[mark.colour][0]
        if isinstance(mark, Rectangle):
            axes.add_patch(
                Patch(
                    (mark.x, mark.y),
                    mark.width,
                    mark.height,
                    facecolor=colour,
                    edgecolor="none",
                    alpha=mark.opacity,
                    zorder=order,
                )
            )
        elif isinstance(mark, Line):
            x, y = zip(*mark.points, strict=True)
            style: Literal["--", "-"] = "--" if mark.dashed else "-"
            axes.add_line(Line2D(x, y, color=colour, linewidth=mark.width * points, linestyle=style, zorder=order))
        elif isinstance(mark, Dot):
            fill, rim = (COLOURS[name][0] for name in _fill_and_rim(mark))
            axes.add_patch(
                Circle((mark.x, mark.y), mark.radius, facecolor=fill, edgecolor=rim, linewidth=1, zorder=order)
            )
        else:
            axes.text(
                mark.x,
                mark.y,
                mark.text,
                color=colour,
                fontsize=mark.size * points,
                ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
                va="baseline",
                weight="bold" if mark.bold else "normal",
                zorder=order,
                parse_math=False,
            )
    figure.savefig(path, dpi=200)

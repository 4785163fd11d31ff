"""A drawing of a few kinds of marks: a part of a page, as SVG, or a file of its own, as SVG or, by matplotlib, as PNG.

Colours have names. In a page each is a CSS variable with the light colour to fall back to, so that the page may have
others in the dark. A file does not know what it is shown on: it has the light colours, on a ground of its own.
Coordinates are pixels from the upper left corner.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
    """Filled, more or less opaquely, with a line around it where it has a rim."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    opacity: float = 1.0
    rim: str | None = None


@dataclass(frozen=True)
class Polygon:
    """Filled."""

    points: Sequence[tuple[float, float]]
    colour: str


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


Mark = Rectangle | Polygon | Line | Dot | Text


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


def framed(drawing: Drawing, caption: Sequence[str] = ()) -> Drawing:
    """The drawing within a margin, its title above it and the lines of a caption below."""
    top, margin, line = 40.0, 10.0, 15.0
    bottom = top + drawing.height
    made = Drawing(drawing.title, drawing.width + 2 * margin, bottom + margin + line * len(caption))
    made.add(Text(made.width / 2, 22, drawing.title, size=14, anchor="middle", bold=True))
    made.add(*(_moved(mark, margin, top) for mark in drawing.marks))
    made.add(*(Text(margin, bottom + line * i, words, "muted", size=11) for i, words in enumerate(caption, 1)))
    return made


def to_svg(drawing: Drawing) -> str:
    """An element to stand in a page, in the page's colours."""
    return _svg(drawing, lambda name: f"var(--{name}, {COLOURS[name][0]})")


def save_drawing(drawing: Drawing, path: Path) -> None:
    """Writes a drawing to a file that ends in .svg or .png.

    Raises:
        ImportError: It is a .png, and matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: The file ends in something else.
    """
    ground = Rectangle(0.5, 0.5, drawing.width - 1, drawing.height - 1, "ground", rim="grid")
    drawing = replace(drawing, marks=[ground, *drawing.marks])
    if path.suffix == ".svg":
        path.write_text(_svg(drawing, _light) + "\n", encoding="utf-8")
    elif path.suffix == ".png":
        _save_png(drawing, path)
    else:
        raise ValueError(f"a drawing is written as .svg or .png, got {path.name}")


def _moved(mark: Mark, right: float, down: float) -> Mark:
    if isinstance(mark, (Polygon, Line)):
        return replace(mark, points=[(x + right, y + down) for x, y in mark.points])
    return replace(mark, x=mark.x + right, y=mark.y + down)


def _light(name: str) -> str:
    return COLOURS[name][0]


def _fill_and_rim(dot: Dot) -> tuple[str, str]:
    return ("ground", dot.colour) if dot.hollow else (dot.colour, "ground")


def _svg(drawing: Drawing, colour: Callable[[str], str]) -> str:
    body = "\n".join(_element(mark, colour) for mark in drawing.marks)
    size = f"{drawing.width:g}", f"{drawing.height:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
        f'height="{size[1]}" role="img" font-family="{_FONT}">\n'
        f"<title>{html.escape(drawing.title)}</title>\n{body}\n</svg>"
    )


def _element(mark: Mark, colour: Callable[[str], str]) -> str:
    if isinstance(mark, Rectangle):
        rim = f";stroke:{colour(mark.rim)}" if mark.rim else ""
        return (
            f'<rect x="{mark.x:.1f}" y="{mark.y:.1f}" width="{mark.width:.1f}" height="{mark.height:.1f}" '
            f'style="fill:{colour(mark.colour)};fill-opacity:{mark.opacity:g}{rim}"/>'
        )
    if isinstance(mark, Polygon):
        return f'<polygon points="{_points(mark.points)}" style="fill:{colour(mark.colour)}"/>'
    if isinstance(mark, Line):
        dashes = ";stroke-dasharray:5 4" if mark.dashed else ""
        return (
            f'<polyline points="{_points(mark.points)}" '
            f'style="fill:none;stroke:{colour(mark.colour)};stroke-width:{mark.width:g}{dashes}"/>'
        )
    if isinstance(mark, Dot):
        fill, rim = _fill_and_rim(mark)
        return (
            f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="{mark.radius:g}" '
            f'style="fill:{colour(fill)};stroke:{colour(rim)};stroke-width:1.5"/>'
        )
    weight = ' font-weight="700"' if mark.bold else ""
    return (
        f'<text x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size:g}" text-anchor="{mark.anchor}"{weight} '
        f'style="fill:{colour(mark.colour)}">{html.escape(mark.text)}</text>'
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _save_png(drawing: Drawing, path: Path) -> None:
    from matplotlib import patches
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    points = 0.72  # in a pixel, at 100 pixels an inch
    figure = Figure(figsize=(drawing.width / 100, drawing.height / 100))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.set_axis_off()
    for order, mark in enumerate(drawing.marks):
        if isinstance(mark, Rectangle):
            axes.add_patch(
                patches.Rectangle(
                    (mark.x, mark.y),
                    mark.width,
                    mark.height,
                    facecolor=to_rgba(_light(mark.colour), mark.opacity),
                    edgecolor=_light(mark.rim) if mark.rim else "none",
                    linewidth=points,
                    zorder=order,
                )
            )
        elif isinstance(mark, Polygon):
            axes.add_patch(patches.Polygon(mark.points, facecolor=_light(mark.colour), edgecolor="none", zorder=order))
        elif isinstance(mark, Line):
            x, y = zip(*mark.points, strict=True)
            style: Literal["--", "-"] = "--" if mark.dashed else "-"
            colour = _light(mark.colour)
            axes.add_line(Line2D(x, y, color=colour, linewidth=mark.width * points, linestyle=style, zorder=order))
        elif isinstance(mark, Dot):
            fill, rim = (_light(name) for name in _fill_and_rim(mark))
            axes.add_patch(
                patches.Circle((mark.x, mark.y), mark.radius, facecolor=fill, edgecolor=rim, linewidth=1, zorder=order)
            )
        else:
            axes.text(
                mark.x,
                mark.y,
                mark.text,
                color=_light(mark.colour),
                fontsize=mark.size * points,
                ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
                va="baseline",
                weight="bold" if mark.bold else "normal",
                zorder=order,
                parse_math=False,
            )
    figure.savefig(path, dpi=200)

"""The few shapes that the figures are made of, as an SVG file.

A figure brings its own light ground, so that it reads the same on light and on dark pages.
"""

from __future__ import annotations

from html import escape

# A fill and the line around it.
BLUE = ("#dbe8fb", "#2f66b0")
ORANGE = ("#fde6cc", "#b8660f")
GREEN = ("#d9f0de", "#2f7d44")
GREY = ("#eceef2", "#7d8696")

_INK = "#1f2430"
_FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


class Canvas:
    """A drawing of `width` by `height` pixels; `title` says in words what it shows."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" font-family="{_FONT}" font-size="13" fill="{_INK}">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{_INK}"/></marker></defs>',
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="#fbfbfd" stroke="#d5d9e0"/>',
        ]

    def rect(self, x: float, y: float, width: float, height: float, colour: tuple[str, str], radius: int = 0) -> None:
        """A filled rectangle with a line around it."""
        fill, line = colour
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" fill="{fill}" '
            f'stroke="{line}"/>'
        )

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, bold: bool = False) -> None:
        """A line of text, its baseline at y."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}"{weight}>{escape(text)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, lines: list[str], colour: tuple[str, str], size: int = 12
    ) -> None:
        """A rectangle with lines of text in its middle, the first one bold where there are more."""
        self.rect(x, y, width, height, colour, radius=5)
        step = size + 4
        top = y + height / 2 - step * (len(lines) - 1) / 2 + size * 0.35
        for index, line in enumerate(lines):
            bold = index == 0 and len(lines) > 1
            self.text(x + width / 2, top + index * step, line, anchor="middle", size=size, bold=bold)

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A straight arrow from the first point to the second."""
        self._line(x1, y1, x2, y2, 'stroke-width="1.4" marker-end="url(#head)"', _INK)

    def line(self, x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> None:
        """A thin straight line."""
        self._line(x1, y1, x2, y2, 'stroke-dasharray="4 3"' if dashed else "", GREY[1])

    def _line(self, x1: float, y1: float, x2: float, y2: float, style: str, colour: str) -> None:
        self._parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" {style}/>')

    def svg(self) -> str:
        """The whole file."""
        return "\n".join([*self._parts, "</svg>", ""])

"""What diagrams are made of beyond the marks of a drawing: boxes with words in them, and arrows."""

from __future__ import annotations

from fastseq.bench.drawing import Drawing

BLUE, ORANGE, GREEN, GREY = "series-1", "series-2", "series-3", "muted"
_TINT = 0.16


class Diagram(Drawing):
    """A drawing of boxes and arrows, as wide as all of them.

    Args:
        title: What there is to see, also for those who do not see it.
        height: In pixels.
        heading: Text in the upper left corner.
    """

    def __init__(self, title: str, height: float, heading: str = "") -> None:
        super().__init__(title, 760, height)
        if heading:
            self.text(20, 28, heading, size=15, bold=True)

    def lines(self, x: float, y: float, texts: list[str], *, size: float, step: float = 17) -> None:
        """Lines of text, one below the other, the first base line at y."""
        for number, text in enumerate(texts):
            self.text(x, y + number * step, text, size=size)

    def rect(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A rectangle in a tint of its colour."""
        self.rectangle(x, y, width, height, colour, opacity=_TINT, rim=colour)

    def box(
        self, x: float, y: float, width: float, height: float, lines: list[str], colour: str, size: float = 12
    ) -> None:
        """A rectangle with lines of text in its middle, the first one bold where there are more."""
        self.rect(x, y, width, height, colour)
        step = size + 4
        top = y + height / 2 - step * (len(lines) - 1) / 2 + size * 0.35
        for index, line in enumerate(lines):
            bold = index == 0 and len(lines) > 1
            self.text(x + width / 2, top + index * step, line, anchor="middle", size=size, bold=bold)

    def arrow(self, *points: tuple[float, float]) -> None:
        """Through points, along the axes, with its head at the last one."""
        (x, y), (end_x, end_y) = points[-2:]
        ahead = (end_x > x) - (end_x < x), (end_y > y) - (end_y < y)
        back_x, back_y = end_x - 8 * ahead[0], end_y - 8 * ahead[1]
        aside_x, aside_y = 4 * ahead[1], 4 * ahead[0]
        self.line([*points[:-1], (back_x, back_y)], "ink", width=1.4)
        self.polygon(
            [(end_x, end_y), (back_x + aside_x, back_y + aside_y), (back_x - aside_x, back_y - aside_y)], "ink"
        )

    def rule(self, x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> None:
        """A thin straight line."""
        self.line([(x1, y1), (x2, y2)], GREY, dashed=dashed)

"""What `accelerate` and `to_stock` tell about a model."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AccelerationReport", "ReportRow"]

_HEADINGS = ("layer", "was", "is", "")


@dataclass(frozen=True)
class ReportRow:
    """A layer or an optimizer.

    Attributes:
        path: The names of the layers that it is in, outermost first, and its own, with slashes between them.
        was: Its class before.
        now: Its class after.
        note: Why it was left as it was, where it was; otherwise what else there is to say, or nothing.
    """

    path: str
    was: str
    now: str
    note: str = ""

    @property
    def replaced(self) -> bool:
        """Whether its class is another one than before."""
        return self.was != self.now


@dataclass(frozen=True)
class AccelerationReport:
    """What `accelerate` or `to_stock` did to a model; `str` makes a table of it.

    Attributes:
        rows: The layers and optimizers that are fast or stand for such, in the model's order.
        others: The classes of the other ones, sorted: nothing in fastseq does what they do.

    >>> from fastseq.keras import AccelerationReport, ReportRow
    >>> print(AccelerationReport((ReportRow("lstm", "LSTM", "FastLSTM"),), ("Dense",)))
    layer  was   is
    lstm   LSTM  FastLSTM
    1 replaced, 0 left; fastseq has nothing for Dense
    """

    rows: tuple[ReportRow, ...]
    others: tuple[str, ...] = ()

    @property
    def replaced(self) -> tuple[ReportRow, ...]:
        """What has another class than before."""
        return tuple(row for row in self.rows if row.replaced)

    @property
    def left(self) -> tuple[ReportRow, ...]:
        """What was left as it was; `note` says why."""
        return tuple(row for row in self.rows if not row.replaced)

    def __str__(self) -> str:
        """A line for each row, and one that sums up."""
        table = [_HEADINGS, *((row.path, row.was, row.now, row.note) for row in self.rows)] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        ]
        others = f"; fastseq has nothing for {', '.join(self.others)}" if self.others else ""
        return "\n".join([*lines, f"{len(self.replaced)} replaced, {len(self.left)} left{others}"])

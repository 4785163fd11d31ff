"""The report of `accelerate` and `to_stock`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AccelerationReport", "ReportRow"]

_HEADINGS = ("layer", "was", "is", "")


@dataclass(frozen=True)
class ReportRow:
    """A row of the report, for a layer or an optimizer.

    Attributes:
        path: The names of the enclosing layers, outermost first, and its own name, with slashes between them.
        was: Its class before.
        now: Its class after.
        note: If its class was not changed, the reason; otherwise a remark, or "".
    """

    path: str
    was: str
    now: str
    note: str = ""

    @property
    def replaced(self) -> bool:
        """Whether its class was changed."""
        return self.was != self.now


@dataclass(frozen=True)
class AccelerationReport:
    """The changes that `accelerate` or `to_stock` made to a model. `str` formats them as a table.

    Attributes:
        rows: The layers and optimizers that are fast or of a class with a fast replacement, in the model's order.
        others: The classes of all other layers and optimizers, sorted; fastseq has no replacement for them.

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
        """The rows whose class was changed."""
        return tuple(row for row in self.rows if row.replaced)

    @property
    def left(self) -> tuple[ReportRow, ...]:
        """The rows whose class was not changed; `note` says why."""
        return tuple(row for row in self.rows if not row.replaced)

    def __str__(self) -> str:
        """A line for each row, and a line with the totals."""
        table = [_HEADINGS, *((row.path, row.was, row.now, row.note) for row in self.rows)] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        ]
        others = f"; fastseq has nothing for {', '.join(self.others)}" if self.others else ""
        return "\n".join([*lines, f"{len(self.replaced)} replaced, {len(self.left)} left{others}"])

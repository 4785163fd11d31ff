"""Loads series of prices to forecast: from a CSV file, or the synthetic series that comes with the package.

A model sees a window of price changes and forecasts the next change, both in units of the typical change in the
training part. So the data does not depend on the level of the prices. A forecast of 0 is the naive forecast: the last
price again.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastseq.data import SYNTHETIC, DataError, TrainingData

__all__ = ["PriceData", "load_prices"]

# Made by examples/make_prices.py.
_SYNTHETIC_FILE = Path(__file__).with_name("prices.csv")
# Enough for at least two windows each for training, validation and test.
_FEWEST_WINDOWS = 10


@dataclass(frozen=True)
class PriceData(TrainingData):
    """Windows of a price's changes, the test part later than the training part.

    x is (samples, window, 1) float32 and y (samples,) float32: changes over `unit`, which is the root mean square of
    the changes in the training part.

    Attributes:
        dates: The dates of the prices to forecast in the test part, as in the file, or their row numbers.
        prices: (test samples,) float64, the prices to forecast.
        last_prices: (test samples,) float64, the price before each of these.
    """

    dates: list[str]
    prices: NDArray[np.float64]
    last_prices: NDArray[np.float64]

    def to_prices(self, changes: NDArray[np.float32]) -> NDArray[np.float64]:
        """Converts a model's outputs for the test part, changes of shape (test samples,), to prices."""
        return self.last_prices + self.unit * changes.astype(np.float64)


def load_prices(data: str = "auto", *, window: int = 20, test_split: float = 0.2) -> PriceData:
    """Reads a CSV file of prices.

    The file has a header with the columns `date` and `close` (other columns are ignored), or one column of numbers with
    or without a header. Dates are ISO 8601, each later than the one before.

    Args:
        data: `"auto"` or `"synthetic"` for the synthetic series that comes with the package; or a CSV file.
        window: The number of changes that a model sees.
        test_split: The fraction of the windows, the latest ones, to test on.

    Returns:
        A `PriceData`.

    Raises:
        DataError: The file cannot be read, or has other contents; the message names the line.
        ValueError: An argument is out of range, or `test_split` leaves nothing to train or to test on.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if not 0.0 < test_split < 1.0:
        raise ValueError(f"test_split must be between 0 and 1, got {test_split}")
    synthetic = data in ("auto", SYNTHETIC)
    path = _SYNTHETIC_FILE if synthetic else Path(data)
    dates, prices = _read(path)
    fewest = window + 1 + _FEWEST_WINDOWS
    if len(prices) < fewest:
        raise DataError(f"{path} must have at least {fewest} prices, for windows of {window}, got {len(prices)}")

    with np.errstate(all="ignore"):  # results out of range are checked below
        changes = np.diff(prices)
        windows = np.lib.stride_tricks.sliding_window_view(changes[:-1], window)
        targets = changes[window:]
        split = int(len(windows) * (1 - test_split))
        if not 2 <= split <= len(windows) - 2:
            raise ValueError(
                f"test_split must leave 2 of {len(windows)} windows or more to train on and 2 to test on, "
                f"got {test_split}"
            )
        # Only the changes that are known at the end of the training part.
        known = changes[: split + window]
        unit = float(np.sqrt(np.mean(np.square(known))))
        x = (windows / unit).astype(np.float32)[..., np.newaxis]
        y = (targets / unit).astype(np.float32)
    if not known.any():
        raise DataError(f"{path} must have prices that change: all to train on are {prices[0]:g}")
    if not (math.isfinite(unit) and np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(
            f"{path} must have prices of similar size: their changes, from {changes.min():g} to {changes.max():g}, "
            f"cannot be measured by the typical one, {unit:g}"
        )
    first = split + window + 1  # the first price to forecast in the test part
    return PriceData(
        x[:split],
        y[:split],
        x[split:],
        y[split:],
        SYNTHETIC if synthetic else str(path),
        dates[first:],
        prices[first:],
        prices[first - 1 : -1],
        unit=unit,
        naive=float(np.mean(np.abs(targets[split:]))),
    )


def _read(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Reads the dates, or row numbers, and the prices."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise DataError(f"cannot read {path}, which must be a CSV file: {why}") from error
    if not rows:
        raise DataError(f"{path} is empty")
    header = [name.lower() for name in rows[0][1]]
    if len(header) == 1:
        date_column, close_column = None, 0
        if _as_number(header[0]) is None:
            del rows[0]
    elif header.count("date") == header.count("close") == 1:
        date_column, close_column = header.index("date"), header.index("close")
        del rows[0]
    else:
        raise DataError(
            f"{path} must begin with a header that has the columns date and close, or have a single column of "
            f"numbers; its first row is {', '.join(rows[0][1])}"
        )

    dates: list[str] = []
    prices: list[float] = []
    before: datetime | None = None
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise DataError(f"{where}: must have {len(header)} columns, got {len(row)}")
        price = _as_number(row[close_column])
        if price is None or not math.isfinite(price):
            raise DataError(f"{where}: the price must be a finite number, got {row[close_column]!r}")
        prices.append(price)
        if date_column is None:
            dates.append(str(len(prices)))
            continue
        date = row[date_column]
        now = _as_time(date)
        if now is None:
            raise DataError(f"{where}: the date must be as in 2024-12-31, got {date!r}")
        if before is not None and now <= before:
            raise DataError(f"{where}: dates must rise from line to line, got {date} after {dates[-1]}")
        dates.append(date)
        before = now
    return dates, np.array(prices, np.float64)


def _as_number(text: str) -> float | None:
    if "_" in text:  # Python allows underscores in numbers, but prices do not have them
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _as_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)

"""Price series: windows that do not look ahead, and files of users."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import fastseq
from fastseq.data import DataError
from fastseq.prices import load_prices

ROOT = Path(__file__).parent.parent
# Enough prices for windows of 2.
VALUES = [10.0, 11.0, 9.0, 12.0, 12.5, 11.0, 13.0, 10.0, 14.0, 15.0, 13.5, 12.0, 16.0]


def _column(values: list[float], header: str = "") -> str:
    return header + "".join(f"{value}\n" for value in values)


def _table(values: list[float], header: str = "date,close") -> str:
    return header + "\n" + "".join(f"2024-01-{day:02},{value}\n" for day, value in enumerate(values, 1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def test_windows(file: Path) -> None:
    file.write_text(_table(VALUES))
    data = load_prices(str(file), window=2, test_split=0.2)
    assert data.source == str(file)
    assert not data.synthetic
    assert data.x_train.shape == (8, 2, 1)
    assert data.y_train.shape == (8,)
    assert data.x_test.shape == (2, 2, 1)
    assert data.x_train.dtype == data.y_train.dtype == np.float32
    changes = np.diff(VALUES)
    assert data.unit == pytest.approx(np.sqrt(np.mean(changes[:10] ** 2)))
    windows = np.concatenate([data.x_train, data.x_test])[..., 0] * data.unit
    targets = np.concatenate([data.y_train, data.y_test]) * data.unit
    for sample in range(10):
        np.testing.assert_allclose(windows[sample], changes[sample : sample + 2], rtol=1e-6)
        assert targets[sample] == pytest.approx(changes[sample + 2], rel=1e-6)
    assert data.dates == ["2024-01-12", "2024-01-13"]
    np.testing.assert_array_equal(data.prices, VALUES[-2:])
    np.testing.assert_array_equal(data.last_prices, VALUES[-3:-1])
    np.testing.assert_allclose(data.to_prices(data.y_test), data.prices, rtol=1e-6)
    np.testing.assert_array_equal(data.to_prices(np.zeros(2, np.float32)), data.last_prices)
    assert data.naive == pytest.approx((1.5 + 4.0) / 2)


def test_the_future_changes_nothing_in_the_training_part(file: Path) -> None:
    file.write_text(_table(VALUES))
    data = load_prices(str(file), window=2)
    file.write_text(_table([*VALUES[:-2], -1e6, 5.0]))
    other = load_prices(str(file), window=2)
    assert other.unit == data.unit
    np.testing.assert_array_equal(other.x_train, data.x_train)
    np.testing.assert_array_equal(other.y_train, data.y_train)
    assert not np.array_equal(other.y_test, data.y_test)


@pytest.mark.parametrize(
    "text",
    [
        _column(VALUES),
        _column(VALUES, "price\n"),
        _table(VALUES),
        "\ufeff" + _table(VALUES, "Date,Close").replace("\n", "\r\n") + "\r\n\r\n",
        "volume,close,date\n" + "".join(f"7, {v} ,2024-01-{i:02} 15:30\n" for i, v in enumerate(VALUES, 1)),
    ],
    ids=["column", "column with a name", "dates", "from a spreadsheet", "other columns"],
)
def test_kinds_of_files(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    data = load_prices(str(file), window=2)
    np.testing.assert_array_equal(data.prices, VALUES[-2:])


def test_a_million_rows(file: Path) -> None:
    file.write_text("\r".join(map(str, np.arange(1_000_000) % 7)))
    data = load_prices(str(file), window=2)
    assert len(data.x_train) + len(data.x_test) == 1_000_000 - 3


def test_a_column_has_numbers_for_dates(file: Path) -> None:
    file.write_text(_column(VALUES, "price\n"))
    assert load_prices(str(file), window=2).dates == ["12", "13"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.csv is empty"),
        (_table(VALUES, "date,price"), r"the columns date and close, or have a single .* its first row is date, price"),
        (_table(VALUES, "2023-12-31,9"), r"the columns date and close, .* its first row is 2023-12-31, 9"),
        (_table(VALUES).replace("12.5", "n/a"), r"mine.csv, line 6: the price must be a finite number, got 'n/a'"),
        (_table(VALUES).replace("12.5", ""), r"line 6: the price must be a finite number, got ''"),
        (_table(VALUES).replace("12.5", "nan"), r"line 6: the price must be a finite number, got 'nan'"),
        (_column(VALUES).replace("12.5", "inf"), r"line 5: the price must be a finite number, got 'inf'"),
        (_table(VALUES).replace("12.5", "12,5"), r"line 6: must have 2 columns, got 3"),
        (
            _table(VALUES).replace("2024-01-05", "5.1.2024"),
            r"line 6: the date must be as in 2024-12-31, got '5.1.2024'",
        ),
        (
            _table(VALUES).replace("2024-01-05", "2024-01-02"),
            r"line 6: dates must rise from line to line, got 2024-01-02 after 2024-01-04",
        ),
        (_table(VALUES).replace("2024-01-05", "2024-01-04"), r"line 6: dates must rise"),
        (_table(VALUES[:-1]), r"must have at least 13 prices, for windows of 2, got 12"),
        (_column([3.0] * 13), r"must have prices that change: all to train on are 3"),
        (_column([], "price\n"), r"must have at least 13 prices, for windows of 2, got 0"),
        (_table([]), r"must have at least 13 prices, for windows of 2, got 0"),
        ("\r\n , \r\n", r"mine.csv is empty"),
        (_column(VALUES).replace("12.5", "1_2"), r"line 5: the price must be a finite number, got '1_2'"),
        (_column(VALUES).replace("12.5", "1e999"), r"line 5: the price must be a finite number, got '1e999'"),
        (_column(VALUES).replace("12.5", "12\x005"), r"(line 5: the price must be a finite number|line contains NUL)"),
        (_column([*VALUES, 1e308, -1e308]), r"must have prices of similar size: their changes, from -inf to 1e\+308"),
        (_column([value * 1e200 for value in VALUES]), r"similar size: .* by the typical one, inf"),
        (_column([value * 1e-200 for value in VALUES]), r"similar size: .* by the typical one, 0"),
        (_column([*VALUES, 1e50]), r"similar size: .* to 1e\+50, cannot be measured by the typical one, 2"),
        (
            _table(VALUES, "date;close").replace(",", ";"),
            r"line 2: the price must be a finite number, got '2024-01-01;",
        ),
        ("price\n" + "1" * 200_000, r"must be a CSV file: field larger than field limit"),
    ],
)
def test_bad_files(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        load_prices(str(file), window=2)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nowhere.csv, which must be a CSV file: No such file"):
        load_prices(str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match=r"cannot read .*, which must be a CSV file: Is a directory"):
        load_prices(str(tmp_path))
    with pytest.raises(DataError, match=r"cannot read .*, which must be a CSV file: File name too long"):
        load_prices("long" * 100)
    # Opens, and cannot be read, not even by the system's administrator.
    with pytest.raises(DataError, match=r"cannot read /proc/self/mem, which must be a CSV file: Input/output error"):
        load_prices("/proc/self/mem")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"cannot read .*binary.csv, which must be a CSV file: .*codec can't decode"):
        load_prices(str(tmp_path / "binary.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"test_split": 1.0}, "test_split must be between 0 and 1, got 1.0"),
        ({"test_split": 0.99}, "test_split must leave 2 of 10 windows or more to train on and 2 to test on, got 0.99"),
        ({"test_split": 0.05}, "test_split must leave 2 of 10 windows or more to train on and 2 to test on, got 0.05"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], message: str, file: Path) -> None:
    file.write_text(_column([float(price) for price in range(31)]))
    with pytest.raises(ValueError, match=message):
        load_prices(str(file), **arguments)  # type: ignore[arg-type]


def test_the_synthetic_prices_are_what_their_script_makes() -> None:
    made = runpy.run_path(str(ROOT / "examples/make_prices.py"))["make_prices"]()
    assert (Path(fastseq.__file__).parent / "prices.csv").read_text() == made
    data = load_prices()
    assert data.synthetic
    assert len(data.x_train) + len(data.x_test) == 2000 - 21


def test_the_synthetic_prices_can_be_forecast() -> None:
    """By the two days before, in the least squares of the training part: better than by the last price alone."""
    data = load_prices(window=2)
    weights, *_ = np.linalg.lstsq(data.x_train[..., 0], data.y_train, rcond=None)
    mae = np.mean(np.abs(data.prices - data.to_prices(data.x_test[..., 0] @ weights)))
    assert data.naive is not None
    assert mae < 0.92 * data.naive

"""The command `fastseq predict`: predictions of a file of `fastseq.Predictor`, without Keras."""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastseq.commands import positive, replacing

if TYPE_CHECKING:
    from fastseq.prediction.predictor import Predictor

_FORMATS = (".npy", ".csv")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options to a parser."""
    parser.add_argument("model", type=Path, metavar="MODEL.fastseq", help="a file of `fastseq export`")
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="ROWS.npy|ROWS.csv|ROWS.npz",
        help="an array whose first axis is the batch; or a line of numbers for each row, all of one length; or, for a "
        "model with several inputs, their arrays by name",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE.npy|FILE.csv", help="default: a line for each row on the standard output"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="default: what fastseq would use")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Runs the command.

    Args:
        options: The options of `add_options`.
        parser: Reports errors of usage.

    Returns:
        0; 2 if a file cannot be read or written, or if the model cannot take the rows.
    """
    if options.output is not None and options.output.suffix not in _FORMATS:
        parser.error(f"argument --output: must end with {' or '.join(_FORMATS)}, got {options.output}")
    if options.output is not None and not options.output.parent.is_dir():
        parser.error(f"argument --output: there is no folder {options.output.parent}")
    from fastseq.prediction.predictor import Predictor

    try:
        predictor = Predictor.load(options.model)
        outputs = predictor(_read(options.input, predictor), threads=options.threads)
        if len(predictor.output_names) > 1:
            outputs = list(outputs.values()) if isinstance(outputs, dict) else list(outputs)
        else:
            outputs = [outputs[0] if isinstance(outputs, (list, tuple)) else outputs]
        _write(outputs, options.output)
    except (MemoryError, OSError, TypeError, ValueError) as error:
        print(f"fastseq predict: error: {error}", file=sys.stderr)
        return 2
    return 0


def _read(path: Path, predictor: Predictor) -> Any:
    """The rows in a file, in the form in which the predictor takes them."""
    import numpy as np

    if path.suffix == ".csv":
        rows = _rows_of_csv(path)
    elif path.suffix in (".npy", ".npz"):
        try:
            with open(path, "rb") as file:
                rows = np.load(file, allow_pickle=False)
                if not isinstance(rows, np.ndarray):
                    rows = {name: rows[name] for name in rows.files}
        except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is not a file of arrays: {error}") from None
    else:
        raise ValueError(f"{path} must end with .npy, .csv or .npz")
    if not isinstance(rows, dict) and len(predictor.input_names) > 1:
        raise ValueError(
            f"the model has the inputs {', '.join(predictor.input_names)}: give their arrays as an .npz file"
        )
    if isinstance(rows, dict) and len(predictor.input_names) == 1:
        raise ValueError(
            f"the model has one input, {predictor.input_names[0]}: give its array as an .npy or a .csv file"
        )
    return rows


def _rows_of_csv(path: Path) -> Any:
    """Numbers of Python, which have no dtype: the predictor takes them as the model's."""
    rows: list[list[float]] = []
    with open(path, newline="", encoding="utf-8") as file:
        for cells in _lines(path, file):
            if not cells:
                continue
            line = len(rows) + 1
            try:
                rows.append([_number(cell) for cell in cells])
            except ValueError:
                raise ValueError(
                    f"{path}, row {line}: expected numbers with commas between them, got {cells}"
                ) from None
            if len(rows[-1]) != len(rows[0]):
                raise ValueError(f"{path}, row {line}: expected {len(rows[0])} numbers as before, got {len(rows[-1])}")
    if not rows:
        raise ValueError(f"{path} has no rows")
    return rows


def _lines(path: Path, file: Any) -> Iterator[list[str]]:
    try:
        yield from csv.reader(file)
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from None


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _write(outputs: list[Any], path: Path | None) -> None:
    """Writes the outputs: as an array, or as a line for each row, with the outputs of a row side by side."""
    import numpy as np

    if path is not None and path.suffix == ".npy":
        if len(outputs) > 1:
            raise ValueError("the model has several outputs: --output must end with .csv")
        with replacing(path) as new:
            np.save(new, outputs[0])
        return
    flat = np.concatenate([one.reshape(len(one), math.prod(one.shape[1:])) for one in outputs], axis=1)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([str(value) for value in row] for row in flat)
    if path is None:
        sys.stdout.write(text.getvalue())
        return
    with replacing(path) as new:
        new.write_text(text.getvalue(), encoding="utf-8")

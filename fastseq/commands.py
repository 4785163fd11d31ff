"""What the commands share: checks of options, files that are written whole, tables. Imports nothing that takes time."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["claimed", "make_writable", "positive", "replacing", "table"]


def positive(text: str) -> int:
    """An argument that is a whole number from 1 on, for `type=`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def make_writable(out: Path, parser: argparse.ArgumentParser) -> None:
    """Makes the folder of `--out`, before anything that takes time: an hour must not end in "permission denied".

    Args:
        out: What `--out` is.
        parser: Takes the error, and ends the program, where files cannot be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        parser.error(f"argument --out: cannot write to {out}: {error.strerror or error}")


@contextmanager
def claimed(out: Path, parser: argparse.ArgumentParser) -> Iterator[None]:
    """Holds the folder of `--out`, as long as the process lives at most: two runs must not mix their files.

    Args:
        out: What `--out` is; a folder that exists.
        parser: Takes the error, and ends the program, where another process holds it.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            parser.error(f"argument --out: another run is writing to {out}")
        # Else the file system has no locks, as some over a network.
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name of a new file in the same folder, which takes the place of `path` once it is on the disk.

    An error leaves what was there before. A process that is killed may leave the new file behind, which the next one
    to write `path` overwrites.

    Args:
        path: The file to write, or to replace.

    Raises:
        OSError: The new file cannot be brought to the disk, or cannot take the place.
    """
    new = path.with_name(f".new-{path.name}")  # of the same suffix, by which some writers choose the format
    try:
        yield new
        _sync(new)
        os.replace(new, path)
        _sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows under their header: the first column to the left, the others to the right."""
    columns: list[list[str]] = []
    for cells in zip(header, *rows, strict=True):
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if columns else cell.ljust(width) for cell in cells])
    return "\n".join(map("  ".join, zip(*columns, strict=True)))

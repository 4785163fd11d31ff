"""Shared functions of the commands: checks of options, atomic writes, tables. Imports nothing that takes time."""

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
    """Parses an integer that is at least 1, for `type=` of an argument."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def make_writable(out: Path, parser: argparse.ArgumentParser) -> None:
    """Makes the folder of `--out`, and checks that it is writable before anything that takes time.

    Args:
        out: The value of `--out`.
        parser: Reports an error, and ends the program, if files cannot be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        parser.error(f"argument --out: cannot write to {out}: {error.strerror or error}")


@contextmanager
def claimed(out: Path, parser: argparse.ArgumentParser) -> Iterator[None]:
    """Locks the folder of `--out`, so that two runs do not mix their files. The end of the process ends the lock.

    Args:
        out: The value of `--out`; a folder that exists.
        parser: Reports an error, and ends the program, if another process has locked the folder.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            parser.error(f"argument --out: another run is writing to {out}")
        # With other errors, the file system has no locks, such as some network file systems.
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name of a new file in the same folder, which replaces `path` once it has been written to the disk.

    After an error, the previous file is still there. A process that is killed may leave the new file behind; the next
    process that writes `path` overwrites it.

    Args:
        path: The file to write, or to replace.

    Raises:
        OSError: The new file cannot be written to the disk, or cannot replace `path`.
    """
    new = path.with_name(f".new-{path.name}")  # with the same suffix, by which some writers choose the format
    try:
        yield new
        _sync(new)
        os.replace(new, path)
        _sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Formats rows under a header. The first column is left-aligned, the others are right-aligned."""
    columns: list[list[str]] = []
    for cells in zip(header, *rows, strict=True):
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if columns else cell.ljust(width) for cell in cells])
    return "\n".join(map("  ".join, zip(*columns, strict=True)))

"""Checks of command-line options that several commands have. Imports nothing that takes time."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

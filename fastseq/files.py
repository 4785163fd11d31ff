"""Files that are whole or not there, whatever ends the process while it writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


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

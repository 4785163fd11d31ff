"""The progress of a run: on a terminal a line that changes, elsewhere a line for each finished step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_BAR = 16
_WIDTH = 78


class Progress:
    """Shows the progress on a stream.

    Args:
        total: The number of steps.
        limit: The seconds that the run may take.
        stream: The stream to write to.
        clock: Returns the time in seconds.
    """

    def __init__(self, total: int, limit: float, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._limit = limit
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._watched = stream.isatty()
        self._done, self._name = 0, ""

    def show(self, done: int, name: str) -> None:
        """Shows how many steps are done and which is next, in place of the last line."""
        self._done, self._name = done, name
        self._show(done, name)

    def detail(self, doing: str) -> None:
        """Shows the current part of the step."""
        self._show(self._done, f"{self._name}, {doing}")

    def finished(self, result: str) -> None:
        """Shows the result of the step, if the stream is not a terminal."""
        if not self._watched:
            self._stream.write(f"{self._done + 1}/{self._total} {result}\n")
            self._stream.flush()

    def close(self) -> None:
        """Clears the line."""
        self._write("")

    def _show(self, done: int, name: str) -> None:
        full = round(_BAR * done / self._total)
        left = self._left(done)
        line = f"[{'#' * full}{'.' * (_BAR - full)}] {done}/{self._total}, {left} left: {name}"
        self._write(line)

    def _left(self, done: int) -> str:
        elapsed = self._clock() - self._began
        rest = max(0.0, self._limit - elapsed)
        if done:
            rest = min(rest, elapsed / done * (self._total - done))
        return f"{'' if done else 'at most '}{int(rest) // 60}:{int(rest) % 60:02}"

    def _write(self, line: str) -> None:
        if self._watched:
            self._stream.write("\r" + line[:_WIDTH].ljust(_WIDTH) + "\r")
            self._stream.flush()

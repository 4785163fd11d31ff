"""How far a run is: a line that changes on a terminal, elsewhere a line for each step that is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_BAR = 16
_WIDTH = 78


class Progress:
    """Tells it on a stream.

    Args:
        total: How many steps there are.
        limit: Seconds that the run may take.
        stream: To write to.
        clock: Shows the time in seconds.
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
        """Tells how many steps are done and which is next, over what was told before."""
        self._done, self._name = done, name
        self._show(done, name)

    def detail(self, doing: str) -> None:
        """Tells what is done of the step."""
        self._show(self._done, f"{self._name}, {doing}")

    def finished(self, result: str) -> None:
        """Tells what came of the step, where the stream is no terminal."""
        if not self._watched:
            self._stream.write(f"{self._done + 1}/{self._total} {result}\n")
            self._stream.flush()

    def close(self) -> None:
        """Makes the line empty again."""
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

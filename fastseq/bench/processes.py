"""Sides in a process of their own: with another fastseq, another Keras backend, or another OpenMP runtime.

A `Worker` starts start_worker.py and talks to it over its standard input and output, in pickles. The worker times its
own runs: what goes between the processes is not in the figures.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from fastseq.bench.problems import Problem, Results


class Installation(NamedTuple):
    """The fastseq of a worker process."""

    folder: str
    threads: int
    description: str


class Worker:
    """A process that makes and runs sides.

    Args:
        environment: What differs from this process's environment variables.
    """

    def __init__(self, environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("start_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )

    def prepare(self, threads: int | None) -> Installation:
        """`machine.prepare` there. Only for fastseq's sides: others stay without it."""
        installation: Installation = self.ask("prepare", threads)
        return installation

    def make_side(self, name: str, problem: Problem, pass_: str, *, threads: int) -> RemoteSide:
        """`sides.make_side` there."""
        return RemoteSide(self, self.ask("make", name, problem, pass_, threads))

    def ask(self, *message: Any) -> Any:
        """Sends a message and returns the answer, or raises it where it is an exception."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (BrokenPipeError, EOFError):
            raise RuntimeError(f"a worker process has ended with status {self._process.wait()}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it ends where its input ends
        self._process.wait()
        self._process.stdout.close()


@dataclass(frozen=True)
class RemoteSide:
    """A side in a worker process; see `sides.Side`."""

    worker: Worker
    index: int

    def results(self) -> Results:
        """Computes once, there."""
        results: Results = self.worker.ask("results", self.index)
        return results

    def turn(self, runs: int) -> list[float]:
        """See `timing.time_runs`; the seconds are those that the worker measured."""
        seconds: list[float] = self.worker.ask("turn", self.index, runs)
        return seconds

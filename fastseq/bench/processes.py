"""Implementations in a process of their own: with another fastseq, another Keras backend, or another OpenMP runtime.

A worker times its own runs, so the figures are free of the communication between the processes. It is spawned, not
forked, so that it has loaded no library before an implementation asks for it. A forked one would share the OpenMP
runtime that fastseq has loaded.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastseq.bench.problems import Problem, Results

if TYPE_CHECKING:
    from fastseq.bench.implementations import Implementation


def begin(environment: Mapping[str, str]) -> None:
    """Begins a worker: sets these environment variables, and ignores Ctrl-C, which the parent process handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # messages of libraries go to stderr, away from the results on stdout
    os.environ.update(environment)


class Worker:
    """A process that makes and runs implementations. It ends when this process ends, in whatever way.

    Args:
        environment: Environment variables that differ from this process's.
        begin: Called in the worker with the environment, before anything else.
    """

    def __init__(self, environment: Mapping[str, str], begin: Callable[[Mapping[str, str]], None] = begin) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._channel, other_end = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other_end, dict(environment), begin), daemon=True)
        self._process.start()
        other_end.close()
        self._numbers = itertools.count()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of a module in the worker, and returns its result or raises its error here."""
        try:
            self._channel.send((function, arguments))
            answer = self._channel.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeError(f"a worker process has ended with status {self._process.exitcode}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def make_implementation(self, name: str, problem: Problem, pass_: str, *, threads: int) -> RemoteImplementation:
        """Makes an implementation in the worker, with `make_local_implementation`.

        A worker has one implementation at a time: this one replaces the last.
        """
        implementation = RemoteImplementation(self, next(self._numbers))
        self.call(_make, implementation.number, name, problem, pass_, threads)
        return implementation

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._channel.close()  # which ends the worker
        self._process.join()


@dataclass(frozen=True)
class RemoteImplementation:
    """An implementation in a worker process; see `implementations.Implementation`."""

    worker: Worker
    number: int

    def results(self) -> Results:
        """Computes once in the worker."""
        results: Results = self.worker.call(_results, self.number)
        return results

    def turn(self, runs: int) -> list[float]:
        """See `timing.time_runs`; the worker measures the seconds."""
        seconds: list[float] = self.worker.call(_turn, self.number, runs)
        return seconds


# In a worker process: its one implementation, by number.
_implementations: dict[int, Implementation] = {}


def _serve(channel: Connection, environment: Mapping[str, str], begin: Callable[[Mapping[str, str]], None]) -> None:
    begin(environment)
    from fastseq.bench.implementations import UnavailableError

    while True:
        try:
            function, arguments = channel.recv()
        except EOFError:
            return
        try:
            answer = function(*arguments)
        except (UnavailableError, ValueError) as reason:
            answer = reason
        except Exception as error:  # its class may not exist in the other process
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        channel.send(answer)


def _make(number: int, name: str, problem: Problem, pass_: str, threads: int) -> None:
    from fastseq.bench.implementations import make_local_implementation

    _implementations.clear()
    _implementations[number] = make_local_implementation(name, problem, pass_, threads=threads)


def _results(number: int) -> Results:
    return _implementations[number].results()


def _turn(number: int, runs: int) -> list[float]:
    return _implementations[number].turn(runs)

"""The other end of `processes.Worker`: answers the messages on standard input until there are no more."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any, BinaryIO

from fastseq.bench.machine import prepare
from fastseq.bench.problems import Problem
from fastseq.bench.processes import Installation
from fastseq.bench.sides import Side, UnavailableError, make_local_side


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers one message after the other."""
    handlers = _Handlers()
    while True:
        try:
            what, *arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = getattr(handlers, what)(*arguments)
        except (UnavailableError, ValueError) as reason:
            answer = reason
        except Exception as error:  # of a class that the other end may not have
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        pickle.dump(answer, answers)
        answers.flush()


class _Handlers:
    """One for each message."""

    def __init__(self) -> None:
        self._made = 0
        self._sides: dict[int, Side] = {}

    def prepare(self, threads: int | None) -> Installation:
        threads = prepare(threads)
        import fastseq
        from fastseq import runtime

        description = f"instruction set {runtime.isa()}, threads {threads}, {runtime.build_info()['compiler']}"
        return Installation(str(Path(fastseq.__file__).parent), threads, description)

    def make(self, name: str, problem: Problem, pass_: str, threads: int) -> int:
        """The number of the new side, the only one from now on: whoever makes another is done with the last."""
        self._sides.clear()
        self._made += 1
        self._sides[self._made] = make_local_side(name, problem, pass_, threads=threads)
        return self._made

    def results(self, index: int) -> Any:
        return self._sides[index].results()

    def turn(self, index: int, runs: int) -> list[float]:
        return self._sides[index].turn(runs)


def main() -> None:
    """Serves until standard input ends."""
    # Whatever libraries print must not come between the answers.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, channel)

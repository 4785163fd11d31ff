"""Timing of implementations in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

RUNS = 4  # counted runs of one turn
_SETTLE = 0.01
_PEAK_SECONDS = 0.01

# Takes a number of runs, returns a sample of each.
Turn = Callable[[int], list[float]]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Samples:
    """The samples of one implementation: a list for its turn in each round."""

    turns: list[list[float]]

    @property
    def values(self) -> list[float]:
        """The samples of all rounds."""
        return [value for turn in self.turns for value in turn]

    @property
    def median(self) -> float:
        """The median of all samples."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of all samples."""
        values = self.values
        if len(values) < 2:
            return values[0], values[0]
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        return first, third

    @property
    def iqr(self) -> float:
        """The distance between the quartiles."""
        first, third = self.quartiles
        return third - first


def ratios(of: Samples, to: Samples) -> Samples:
    """The medians of one implementation over those of another, by round.

    Within a round both have met the same state of the machine.
    """
    pairs = zip(of.turns, to.turns, strict=True)
    return Samples([[statistics.median(one) / statistics.median(other)] for one, other in pairs])


def time_runs(run: Callable[[], Any], runs: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """A turn: the seconds of each of `runs` runs in a row, by a clock.

    Before them come runs that do not count, at least one and at least 10 ms of them. During these, idle threads of the
    implementation that had the turn before may still spin.
    """
    began = time.perf_counter()
    run()
    while time.perf_counter() - began < _SETTLE:
        run()
    seconds = []
    for _ in range(runs):
        began = clock()
        run()
        seconds.append(clock() - began)
    return seconds


def take_turns(turns: Mapping[Name, Turn], rounds: int) -> Iterator[dict[Name, Samples]]:
    """Gives every implementation a turn in each round, so that all suffer alike from other load of the machine.

    Yields:
        After every round, the samples of all implementations so far.
    """
    taken: dict[Name, list[list[float]]] = {name: [] for name in turns}
    for _ in range(rounds):
        one_round = {name: turn(RUNS) for name, turn in turns.items()}
        for name, values in one_round.items():
            taken[name].append(values)
        yield {name: Samples(list(of)) for name, of in taken.items()}


def fma_peak(threads: int) -> float:
    """The machine's peak of float32 multiply-adds with fastseq's instruction set, in operations a second."""
    from fastseq._libraries import core

    return core.fma_peak(threads, _PEAK_SECONDS)


def peak_turn(threads: int) -> Turn:
    """The probe of the peak in a comparison: one sample a turn, the best of as many probes as a turn has runs.

    It is the best since the peak is the most that the machine can do at that moment, free of other load.
    """
    return lambda runs: [max(fma_peak(threads) for _ in range(runs))]

"""A comparison and its measurement: implementations are made, verified against each other, and timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastseq.bench.implementations import IMPLEMENTATIONS, Implementation, UnavailableError, absent, make_implementation
from fastseq.bench.problems import Problem, Results
from fastseq.bench.timing import RUNS, Samples, Turn, peak_turn, ratios, take_turns


@dataclass(frozen=True)
class Comparison:
    """A problem, and the implementations that compute it.

    Attributes:
        name: Parts, the most general first: "lstm/reuters/training".
        title: A description of the problem.
        kind: "recurrent", "layer", "model" or "scaling".
        implementations: Their names, fastseq's first.
        make: Makes the implementation of a name; raises UnavailableError.
        reference: The implementation whose results the others must have; None where each computes something else.
        verify: Takes an implementation's name, its results and the reference's; raises AssertionError unless they
            agree.
        flops: By name, the floating-point operations of the matrix products; empty where they are not counted.
        threads: By name, the number of threads that the implementation may use.
        labels: By name, a label that replaces the one in `verdicts.LABELS`.
        absent: By name, why the implementation cannot take part, as far as that is known before it is made.
    """

    name: str
    title: str
    kind: str
    implementations: Sequence[str]
    make: Callable[[str], Implementation]
    reference: str | None
    verify: Callable[[str, Results, Results], None]
    flops: Mapping[str, int]
    threads: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def beside_stock(
    kind: str,
    name: str,
    title: str,
    problem: Callable[[], Problem],
    verify: Callable[[str, Results, Results], None],
    *,
    of: str,
    threads: int,
    flops: int = 0,
    labels: Mapping[str, str] | None = None,
    implementations: Sequence[str] = IMPLEMENTATIONS,
) -> Comparison:
    """A comparison of some of `implementations.IMPLEMENTATIONS`, whose results must be stock Keras's.

    Args:
        kind: As in `Comparison`.
        name: As in `Comparison`; its last part is the pass.
        title: As in `Comparison`.
        problem: Makes the arrays, anew for every implementation.
        verify: As in `Comparison`.
        of: The problem's `kind`.
        threads: The number of threads for every implementation.
        flops: The number for every implementation; 0 where it is not counted.
        labels: As in `Comparison`.
        implementations: The names of the implementations.
    """
    pass_ = name.rpartition("/")[2]
    return Comparison(
        name=name,
        title=title,
        kind=kind,
        implementations=implementations,
        make=lambda implementation: make_implementation(implementation, problem(), pass_, threads=threads),
        reference="stock",
        verify=verify,
        flops=dict.fromkeys(implementations, flops) if flops else {},
        threads=dict.fromkeys(implementations, threads),
        labels=labels or {},
        absent=absent(implementations, of, pass_),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


class Budget:
    """An amount of time to spend.

    Args:
        seconds: The amount, from now on.
        clock: Returns the time in seconds.
    """

    def __init__(self, seconds: float = float("inf"), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """The seconds that are left; 0 when all are spent."""
        return max(0.0, self._end - self._clock())

    def share(self, part: float) -> Budget:
        """A part of the time that is left, as a new budget."""
        return Budget(self.left() * part, self._clock)


@dataclass
class Measurement:
    """The results of a comparison; complete after every round.

    Attributes:
        comparison: The comparison that is measured.
        rounds: The number of rounds that were asked for.
        samples: By implementation, the seconds of its runs. All implementations have had the same number of rounds.
        peaks: By number of threads, the FMA peak in the same rounds, in operations a second.
        absent: By implementation, why it did not take part.
        refused: By implementation, why it was not timed: what is wrong with its results, or the error that it raised.
        cut: The implementations or rounds that were cut for lack of time, in words; "" if none were.
    """

    comparison: Comparison
    rounds: int
    samples: dict[str, Samples] = field(default_factory=dict)
    peaks: dict[int, Samples] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    cut: str = ""

    def run(
        self,
        implementations: Sequence[str],
        budget: Budget | None = None,
        tell: Callable[[str], None] = lambda doing: None,
    ) -> None:
        """Makes, verifies and times these implementations, in this order.

        The reference and one more are timed for at least one round, however small the budget is. If the budget is spent
        before all are made, the others are left out. If it is spent before the last round, the rounds end early.

        Args:
            implementations: The names of those that take part.
            budget: The time to spend; None for as much as it takes.
            tell: Is called with what comes next, in words.
        """
        budget = budget or Budget()
        made = self._make(implementations, budget, tell)
        turns: dict[Any, Turn] = {name: one.turn for name, one in made.items()}
        if not turns:
            return
        if self.comparison.flops:
            turns |= {threads: peak_turn(threads) for threads in {self.comparison.threads[name] for name in made}}
        tell(f"round 1 of {self.rounds}")
        for samples in take_turns(turns, self.rounds):
            self.samples = {name: samples[name] for name in made}
            self.peaks = {key: of for key, of in samples.items() if key not in made}
            if self.rounds_done == self.rounds or not budget.left():
                break
            tell(f"round {self.rounds_done + 1} of {self.rounds}")
        if self.rounds_done < self.rounds:
            self._cut(f"{self.rounds_done} of {self.rounds} rounds")

    def _make(
        self, implementations: Sequence[str], budget: Budget, tell: Callable[[str], None]
    ) -> dict[str, Implementation]:
        """The implementations that can be timed, by name."""
        made: dict[str, Implementation] = {}
        expected: Results | None = None
        reference = self.comparison.reference
        for name in dict.fromkeys([*([reference] if reference else []), *implementations]):
            if name in self.comparison.absent:
                self.absent[name] = self.comparison.absent[name]
                continue
            necessary = len(made) < 2
            if not necessary and not budget.left():
                self._cut(f"without {name}")
                continue
            tell(f"{name} is verified")
            try:
                one = self.comparison.make(name)
                results = one.results()
                if name == reference:
                    expected = results
                elif reference is not None:
                    if expected is None:
                        raise AssertionError(f"cannot be verified, {reference} has no results")
                    self.comparison.verify(name, results, expected)
                (seconds,) = one.turn(1)  # compiles what results() did not
            except UnavailableError as reason:
                self.absent[name] = str(reason)
            except AssertionError as error:
                self.refused[name] = str(error)
            except Exception as error:  # whatever a peer does here, the others are measured
                message = str(error).strip().partition("\n")[0]
                self.refused[name] = f"failed, {type(error).__name__}: {message}"
            else:
                if not necessary and seconds * (RUNS + 1) > budget.left():
                    self._cut(f"without {name}, a run of which takes {_duration(seconds)}")
                    continue
                made[name] = one
        return {name: made[name] for name in implementations if name in made}

    def _cut(self, what: str) -> None:
        self.cut += f", {what}" if self.cut else what

    @property
    def rounds_done(self) -> int:
        """How many rounds the implementations have had."""
        return len(next(iter(self.samples.values())).turns) if self.samples else 0

    @property
    def base(self) -> str:
        """The implementation that the others are compared with: the first that was timed."""
        return next(iter(self.samples))

    def ratio(self, implementation: str) -> Samples:
        """The time of this implementation as a multiple of the base's, by round."""
        return ratios(self.samples[implementation], self.samples[self.base])

    def peak(self, implementation: str) -> float | None:
        """The median of the peak of as many threads as the implementation has; None where it was not measured."""
        found = self.peaks.get(self.comparison.threads[implementation])
        return None if found is None else found.median

    def share(self, implementation: str) -> Samples | None:
        """The share of the peak that the implementation reaches, by round; None where its flops are not counted."""
        peak = self.peaks.get(self.comparison.threads[implementation])
        if peak is None or implementation not in self.comparison.flops:
            return None
        seconds = self.samples[implementation]
        rates = Samples([[self.comparison.flops[implementation] / one for one in turn] for turn in seconds.turns])
        return ratios(rates, peak)

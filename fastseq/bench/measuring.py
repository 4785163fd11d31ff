"""A comparison and its measurement: the sides are made, verified against each other, and timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastseq.bench.problems import Problem, Results
from fastseq.bench.sides import SIDES, Side, UnavailableError, absent, make_side
from fastseq.bench.timing import RUNS, Samples, Turn, peak_turn, ratios, take_turns


@dataclass(frozen=True)
class Comparison:
    """Something to compute, and who can.

    Attributes:
        name: Parts, the most general first: "lstm/reuters/training".
        title: What is computed, in words.
        kind: "recurrent", "layer", "model" or "scaling".
        sides: Those who can compute it, fastseq's first.
        make: Makes a side by its name; raises UnavailableError.
        reference: The side whose results the others must have; None where sides compute different things.
        verify: Takes a side's name, its results and the reference's; raises AssertionError unless they agree.
        flops: By side, floating-point operations of the matrix products; of no side where they are not counted.
        threads: By side, those that it may use.
        labels: By side, what to call it where it is something else than elsewhere.
        absent: By side, why it cannot take part, as far as that is known before it is made.
    """

    name: str
    title: str
    kind: str
    sides: Sequence[str]
    make: Callable[[str], Side]
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
    sides: Sequence[str] = SIDES,
) -> Comparison:
    """A comparison of sides of `sides.SIDES`, whose results are to be stock Keras's.

    Args:
        kind: As in `Comparison`.
        name: As there; its last part is the pass.
        title: As there.
        problem: Makes the arrays, anew for every side.
        verify: As in `Comparison`.
        of: The problem's `kind`.
        threads: For every side.
        flops: Of every side; 0 where they are not counted.
        labels: As in `Comparison`.
        sides: Who can compute it.
    """
    pass_ = name.rpartition("/")[2]
    return Comparison(
        name=name,
        title=title,
        kind=kind,
        sides=sides,
        make=lambda side: make_side(side, problem(), pass_, threads=threads),
        reference="stock",
        verify=verify,
        flops=dict.fromkeys(sides, flops) if flops else {},
        threads=dict.fromkeys(sides, threads),
        labels=labels or {},
        absent=absent(sides, of, pass_),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


class Budget:
    """Some time to spend.

    Args:
        seconds: How much, from now on.
        clock: Shows the time in seconds.
    """

    def __init__(self, seconds: float = float("inf"), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """The seconds that are left, 0 when all are spent."""
        return max(0.0, self._end - self._clock())

    def share(self, part: float) -> Budget:
        """A part of what is left, as a budget from now on."""
        return Budget(self.left() * part, self._clock)


@dataclass
class Measurement:
    """What is known of a comparison; complete after every round.

    Attributes:
        comparison: What is measured.
        rounds: How many were asked for.
        samples: By side, the seconds of its runs. All sides have had the same number of rounds.
        peaks: By number of threads, the FMA peak in the same rounds, in operations a second.
        absent: By side, why it did not take part.
        refused: By side, what is wrong with its results, or the error that it ended with: such a side is not timed.
        cut: What there was no time for; "" where nothing was cut.
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
        sides: Sequence[str],
        budget: Budget | None = None,
        tell: Callable[[str], None] = lambda doing: None,
    ) -> None:
        """Makes, verifies and times those sides, in this order.

        The reference and one more are timed for at least one round, however small the budget. Where the budget is
        spent before all are made, the others are left out; where it is spent before all rounds are over, these are.

        Args:
            sides: Who is to take part.
            budget: Of time; None for as much as it takes.
            tell: Is told what comes next.
        """
        budget = budget or Budget()
        made = self._make(sides, budget, tell)
        turns: dict[Any, Turn] = {side: one.turn for side, one in made.items()}
        if not turns:
            return
        if self.comparison.flops:
            turns |= {threads: peak_turn(threads) for threads in {self.comparison.threads[side] for side in made}}
        tell(f"round 1 of {self.rounds}")
        for samples in take_turns(turns, self.rounds):
            self.samples = {side: samples[side] for side in made}
            self.peaks = {key: of for key, of in samples.items() if key not in made}
            if self.rounds_done == self.rounds or not budget.left():
                break
            tell(f"round {self.rounds_done + 1} of {self.rounds}")
        if self.rounds_done < self.rounds:
            self._cut(f"{self.rounds_done} of {self.rounds} rounds")

    def _make(self, sides: Sequence[str], budget: Budget, tell: Callable[[str], None]) -> dict[str, Side]:
        """Those of the sides that can be timed."""
        made: dict[str, Side] = {}
        expected: Results | None = None
        reference = self.comparison.reference
        for side in dict.fromkeys([*([reference] if reference else []), *sides]):
            if side in self.comparison.absent:
                self.absent[side] = self.comparison.absent[side]
                continue
            necessary = len(made) < 2
            if not necessary and not budget.left():
                self._cut(f"without {side}")
                continue
            tell(f"{side} is verified")
            try:
                one = self.comparison.make(side)
                results = one.results()
                if side == reference:
                    expected = results
                elif reference is not None:
                    if expected is None:
                        raise AssertionError(f"cannot be verified, {reference} has no results")
                    self.comparison.verify(side, results, expected)
                (seconds,) = one.turn(1)  # compiles what results() did not
            except UnavailableError as reason:
                self.absent[side] = str(reason)
            except AssertionError as error:
                self.refused[side] = str(error)
            except Exception as error:  # whatever a peer does here, the others are measured
                message = str(error).strip().partition("\n")[0]
                self.refused[side] = f"failed, {type(error).__name__}: {message}"
            else:
                if not necessary and seconds * (RUNS + 1) > budget.left():
                    self._cut(f"without {side}, a run of which takes {_duration(seconds)}")
                    continue
                made[side] = one
        return {side: made[side] for side in sides if side in made}

    def _cut(self, what: str) -> None:
        self.cut += f", {what}" if self.cut else what

    @property
    def rounds_done(self) -> int:
        """How many rounds the sides have had."""
        return len(next(iter(self.samples.values())).turns) if self.samples else 0

    @property
    def base(self) -> str:
        """The side that the others are compared with: the first that was timed."""
        return next(iter(self.samples))

    def ratio(self, side: str) -> Samples:
        """How many times the base's time this side takes, by round."""
        return ratios(self.samples[side], self.samples[self.base])

    def peak(self, side: str) -> float | None:
        """The median of the peak for as many threads as the side has; None where nothing is counted."""
        found = self.peaks.get(self.comparison.threads[side])
        return None if found is None else found.median

    def share(self, side: str) -> Samples | None:
        """The part of the peak that the side reaches, by round; None where its operations are not counted."""
        peak = self.peaks.get(self.comparison.threads[side])
        if peak is None or side not in self.comparison.flops:
            return None
        seconds = self.samples[side]
        rates = Samples([[self.comparison.flops[side] / one for one in turn] for turn in seconds.turns])
        return ratios(rates, peak)

"""The machine's peak of single-precision multiply-adds, to measure beside what is timed."""

from __future__ import annotations

from fastseq.bench.timing import Turn

_SECONDS = 0.01


def fma_peak(threads: int) -> float:
    """Floating-point operations a second, of fastseq's instruction set on so many threads."""
    from fastseq._libraries import core

    return core.fma_peak(threads, _SECONDS)


def peak_turn(threads: int) -> Turn:
    """The probe in a comparison: one sample a turn, the best of as many as the sides have runs.

    The best, since it stands for what the machine can do at most in these moments, whatever else keeps it busy.
    """
    return lambda runs: [max(fma_peak(threads) for _ in range(runs))]

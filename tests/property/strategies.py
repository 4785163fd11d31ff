"""Hypothesis strategies for the properties: settings of a run, sizes, and arrays with values of all kinds.

A case is a frozen dataclass with few small fields, so that a failing one is printed as a line for `@example(...)`. Its
arrays are made from its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fastseq import runtime

# Small ones, and around the widths of vectors and tiles.
sizes = st.one_of(st.integers(0, 5), st.sampled_from((7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)))
few = st.integers(0, 4)
dtypes = st.sampled_from(("float32", "float64"))
seeds = st.integers(0, 2**32 - 1)
booleans = st.booleans()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every case has. An ISA that this machine has not is its best one."""

    dtype: str = "float32"
    isa: str = "scalar"
    threads: int = 1
    seed: int = 0

    def enter(self) -> Any:
        """Sets threads and ISA, and returns the case's random numbers."""
        runtime.set_num_threads(self.threads)
        available = runtime.available_isas()
        runtime.set_isa(self.isa if self.isa in available else available[-1])
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, kw_only=True)
class SequenceRun(Run):
    """What the cases of operations over sequences have."""

    batch: int = 2
    timesteps: int = 5


@dataclass(frozen=True, kw_only=True)
class WindowRun(SequenceRun):
    """And those of operations over windows of timesteps."""

    channels: int = 3
    padding: str = "valid"
    x: str = "normal"
    doutputs: str = "normal"


run = {
    "dtype": dtypes,
    "isa": st.sampled_from(("scalar", "avx2", "avx512", "neon")),
    "threads": st.integers(1, 4),
    "seed": seeds,
}


def other_run() -> None:
    """Goes on with another ISA and number of threads, under which results have the same bits."""
    available = runtime.available_isas()
    runtime.set_isa(available[(available.index(runtime.isa()) + 1) % len(available)])
    runtime.set_num_threads(runtime.get_num_threads() % 4 + 1)


def _some(base: Any, rng: Any, specials: Any) -> Any:
    """Puts one of `specials` at one place at least and at a twentieth of all."""
    if base.size == 0:
        return base
    place = rng.random(base.shape) < 0.05
    place.flat[rng.integers(base.size)] = True
    return np.where(place, rng.choice(specials, base.shape), base)


def _specials(dtype: Any) -> list[float]:
    info = np.finfo(dtype)
    numbers = [0.0, info.smallest_subnormal, info.tiny, info.eps, 1.0, info.max**0.5, info.max, np.inf]
    return [np.nan, *(float(sign * number) for number in numbers for sign in (1, -1))]


_VALUES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "normal": lambda rng, shape, info: rng.standard_normal(shape),
    "zero": lambda rng, shape, info: rng.choice([0.0, -0.0], shape),
    "sparse": lambda rng, shape, info: rng.standard_normal(shape) * (rng.random(shape) < 0.15),
    "integer": lambda rng, shape, info: rng.integers(-3, 4, shape).astype(np.float64),
    "denormal": lambda rng, shape, info: float(info.smallest_subnormal) * rng.integers(-(2**20), 2**20, shape),
    "tiny": lambda rng, shape, info: float(info.tiny) * rng.uniform(-4, 4, shape),
    "large": lambda rng, shape, info: float(info.max) ** 0.5 / 64 * rng.uniform(-1, 1, shape),
    "huge": lambda rng, shape, info: float(info.max) * rng.uniform(-1, 1, shape),
    "nan": lambda rng, shape, info: _some(rng.standard_normal(shape), rng, [np.nan]),
    "infinite": lambda rng, shape, info: _some(rng.standard_normal(shape), rng, [np.inf, -np.inf]),
    "any": lambda rng, shape, info: _some(rng.standard_normal(shape), rng, _specials(info.dtype)),
}
# Normal numbers are as frequent as half of the others, or most would be drowned in NaN.
all_values = st.sampled_from(("normal",) * 5 + tuple(_VALUES))


def draw(kind: str, rng: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """An array of one of the kinds of values, without denormals that the kernels would flush: see `equality`."""
    return np.asarray(_VALUES[kind](rng, shape, np.finfo(dtype)), dtype)

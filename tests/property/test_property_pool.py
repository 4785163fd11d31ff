"""Max and average pooling of any values, sizes and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from equality import assert_equal, assert_same_bits, finite, flushed, same
from hypothesis import given
from hypothesis import strategies as st
from strategies import WindowRun, all_values, draw, few, other_run, run, sizes

from fastseq import functional, reference


@dataclass(frozen=True, kw_only=True)
class PoolCase(WindowRun):
    pool_size: int = 2
    strides: int | None = None
    propagate_nan: bool = False

    @property
    def window(self) -> tuple[int, int | None, str]:
        return self.pool_size, self.strides, self.padding

    @property
    def pooled(self) -> int:
        """How many windows there are; negative where that is an error."""
        strides = self.strides or self.pool_size
        if self.padding == "same":
            return -(-self.timesteps // strides)
        return (self.timesteps - self.pool_size) // strides + 1


# Positions of maxima are of another type from pool_size 257 on.
pool_sizes = st.one_of(st.integers(1, 9), st.sampled_from((16, 100, 256, 257)))
cases = st.builds(
    PoolCase,
    **run,
    batch=few,
    timesteps=sizes,
    channels=sizes,
    pool_size=pool_sizes,
    strides=st.one_of(st.none(), st.integers(1, 9), st.just(70)),
    padding=st.sampled_from(("valid", "same")),
    propagate_nan=st.booleans(),
    x=all_values,
    doutputs=all_values,
)


def _arrays(case: PoolCase) -> tuple[Any, Any]:
    rng = case.enter()
    x = draw(case.x, rng, (case.batch, case.timesteps, case.channels), case.dtype)
    return x, draw(case.doutputs, rng, (case.batch, max(case.pooled, 0), case.channels), case.dtype)


def _rejected(case: PoolCase, forward: Any, x: Any) -> bool:
    if case.pooled >= 0:
        return False
    with pytest.raises(ValueError, match="timesteps must be at least"):
        forward(x, *case.window)
    return True


@given(cases)
def test_max_pool(case: PoolCase) -> None:
    x, doutputs = _arrays(case)
    if _rejected(case, functional.max_pool_forward, x):
        return
    got = functional.max_pool_forward(x, *case.window, propagate_nan=case.propagate_nan)
    dx = functional.max_pool_backward(got.argmax, doutputs, case.timesteps, *case.window)

    # A denormal compares as zero, so that another may be taken. Then it is one that is as great.
    expected = reference.max_pool_forward(flushed(x), *case.window, propagate_nan=case.propagate_nan).outputs
    assert_equal("outputs", got.outputs, expected, 0.0, 1)
    if case.padding == "valid" and x.size and got.outputs.size:
        strides = case.strides or case.pool_size
        steps = np.arange(case.pooled)[:, None] * strides + got.argmax.astype(np.int64)
        taken = np.take_along_axis(flushed(x), steps, axis=1)
        nothing_greater = (got.outputs == np.finfo(x.dtype).min) & (not case.propagate_nan)
        assert (same(taken, got.outputs) | nothing_greater).all()

    def gradient(gradients: Any) -> Any:
        return reference.max_pool_backward(got.argmax, gradients, case.timesteps, *case.window)

    assert_equal("dx", dx, gradient(flushed(doutputs)), gradient(finite(doutputs)), case.pool_size)

    other_run()
    again = functional.max_pool_forward(x, *case.window, propagate_nan=case.propagate_nan)
    assert_same_bits("outputs", again.outputs, got.outputs)
    assert_same_bits("argmax", again.argmax, got.argmax)
    assert_same_bits("dx", functional.max_pool_backward(again.argmax, doutputs, case.timesteps, *case.window), dx)


@given(cases)
def test_average_pool(case: PoolCase) -> None:
    x, doutputs = _arrays(case)
    if _rejected(case, functional.average_pool_forward, x):
        return

    def compute() -> dict[str, Any]:
        return {
            "outputs": functional.average_pool_forward(x, *case.window),
            "dx": functional.average_pool_backward(doutputs, case.timesteps, *case.window),
        }

    def define(x: Any, doutputs: Any) -> dict[str, Any]:
        return {
            "outputs": reference.average_pool_forward(x, *case.window),
            "dx": reference.average_pool_backward(doutputs, case.timesteps, *case.window),
        }

    got = compute()
    expected = define(flushed(x), flushed(doutputs))
    # The sum may overflow where the mean does not.
    magnitude = define(finite(x) * case.pool_size, finite(doutputs))
    for name, array in got.items():
        assert_equal(name, array, expected[name], magnitude[name], case.pool_size + 2)
    other_run()
    for name, array in compute().items():
        assert_same_bits(name, array, got[name])

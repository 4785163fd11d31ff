"""Dropout of any values and shapes, rates and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from equality import assert_same_bits, flushed
from hypothesis import given
from hypothesis import strategies as st
from strategies import Run, all_values, draw, other_run, run, sizes

from fastseq import functional, reference


@dataclass(frozen=True, kw_only=True)
class DropoutCase(Run):
    shape: tuple[int, ...] = (5,)
    shared: tuple[int, ...] | None = None  # of as many last dimensions: 0 is None, 1 is shared, 2 its own size
    rate: float = 0.5
    key: tuple[int, int] = (1, 2)
    x: str = "normal"

    @property
    def noise_shape(self) -> tuple[int | None, ...] | None:
        if self.shared is None:
            return None
        last = self.shape[len(self.shape) - len(self.shared) :]
        return tuple((None, 1, size)[choice] for choice, size in zip(self.shared, last, strict=True))


@st.composite
def _cases(draw: st.DrawFn) -> DropoutCase:
    small = st.lists(st.integers(0, 4), max_size=8).map(tuple)
    shape = draw(st.one_of(st.tuples(sizes, sizes), st.tuples(st.integers(0, 3), sizes, sizes), small))
    shared = draw(st.one_of(st.none(), st.lists(st.integers(0, 2), max_size=len(shape)).map(tuple)))
    words = st.integers(-(2**63), 2**63 - 1)
    return draw(
        st.builds(
            DropoutCase,
            **run,
            shape=st.just(shape),
            shared=st.just(shared),
            rate=st.one_of(st.sampled_from((0.0, 1.0, 0.5, 1e-300, 1 - 2**-53)), st.floats(0, 1)),
            key=st.tuples(words, words),
            x=all_values,
        )
    )


@given(_cases())
def test_dropout(case: DropoutCase) -> None:
    x = draw(case.x, case.enter(), case.shape, case.dtype)
    got = functional.dropout(x, case.rate, case.key, noise_shape=case.noise_shape)
    # All is exact but for one product, the definition's own.
    expected = reference.dropout(flushed(x), case.rate, case.key, noise_shape=case.noise_shape)
    assert_same_bits("y", np.abs(flushed(got)), np.abs(flushed(expected)))
    np.testing.assert_array_equal(flushed(got), flushed(expected))
    other_run()
    assert_same_bits("y", functional.dropout(x, case.rate, case.key, noise_shape=case.noise_shape), got)

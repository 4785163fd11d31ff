"""Adam's update of any values, shapes and gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from equality import assert_equal, assert_same_bits, finite, flushed
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import Run, all_values, booleans, draw, other_run, run, sizes

from fastseq import functional, reference
from fastseq.functional import AdamState


@dataclass(frozen=True, kw_only=True)
class AdamCase(Run):
    shape: tuple[int, ...] = (5,)
    positions: int | None = None  # of slices; None for a dense gradient
    index_dtype: str = "int32"
    amsgrad: bool = False
    alpha: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    variable: str = "normal"
    momentum: str = "normal"
    velocity: str = "normal"
    gradient: str = "normal"

    @property
    def options(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("alpha", "beta_1", "beta_2", "epsilon")}


@st.composite
def _cases(draw: st.DrawFn) -> AdamCase:
    small = st.lists(st.integers(0, 3), max_size=8).map(tuple)
    shape = draw(st.one_of(st.tuples(sizes), st.tuples(sizes, sizes), small))
    of_slices = st.one_of(st.none(), sizes) if shape and shape[0] else st.none()
    rates = st.sampled_from((0.0, 0.5, 0.9, 0.999, 1.0))
    return draw(
        st.builds(
            AdamCase,
            **run,
            shape=st.just(shape),
            positions=of_slices,
            index_dtype=st.sampled_from(("int32", "int64")),
            amsgrad=booleans,
            alpha=st.sampled_from((0.1, 1e-3, 0.0, 10.0)),
            beta_1=rates,
            beta_2=rates,
            epsilon=st.sampled_from((1e-7, 1e-3, 1.0)),
            variable=all_values,
            momentum=all_values,
            velocity=all_values,
            gradient=all_values,
        )
    )


# A NaN in velocity_hat was lost.
@example(case=AdamCase(shape=(20,), amsgrad=True, velocity="nan"))
@example(case=AdamCase(shape=(20,), amsgrad=True, velocity="any", isa="avx512", dtype="float64"))
@given(_cases())
def test_adam(case: AdamCase) -> None:
    rng = case.enter()
    indices = None
    if case.positions is not None:
        indices = rng.integers(0, case.shape[0], case.positions).astype(case.index_dtype)
    variable, momentum, velocity, hat = (
        draw(kind, rng, case.shape, case.dtype) for kind in (case.variable, case.momentum, case.velocity, case.velocity)
    )
    # Of squares: there is no negative velocity.
    velocity, hat = np.asarray(np.abs(velocity)), np.asarray(np.abs(hat))
    gradient_shape = case.shape if indices is None else (len(indices), *case.shape[1:])
    gradient = draw(case.gradient, rng, gradient_shape, case.dtype)
    state = AdamState(variable, momentum, velocity, hat if case.amsgrad else None)

    def update() -> AdamState:
        return functional.adam(state, gradient, indices=indices, **case.options)

    got = update()
    _assert_update(case, got, state, gradient, indices)
    other_run()
    for name, one, other in zip(AdamState._fields, update(), got, strict=True):
        if one is not None:
            assert_same_bits(name, one, other)


def _assert_update(case: AdamCase, got: AdamState, state: AdamState, gradient: Any, indices: Any) -> None:
    arrays = [None if array is None else flushed(array) for array in state]
    expected = AdamState(*reference.adam(*arrays, flushed(gradient), indices=indices, **case.options))
    g, squares = finite(gradient), finite(gradient) ** 2
    if indices is not None:
        columns = math.prod(case.shape[1:])
        g, squares = (
            reference.embedding_backward(indices, of.reshape(len(of), columns), case.shape[0]).reshape(case.shape)
            for of in (g, squares)
        )
    terms = 8 + (case.positions or 0)
    # (g - m) and (g^2 - v) are taken first.
    mean = 2 * finite(state.momentum) + g
    mean_square = 2 * finite(state.velocity) + squares
    assert_equal("momentum", got.momentum, expected.momentum, mean, terms)
    assert_equal("velocity", got.velocity, expected.velocity, mean_square, terms)
    hat = mean_square
    if case.amsgrad:
        hat = np.maximum(hat, finite(state.velocity_hat))
        assert_equal("velocity_hat", got.velocity_hat, expected.velocity_hat, hat, terms)
    else:
        assert got.velocity_hat is None

    # The step, from what was got: its quotient has a relative error, as nothing in it cancels.
    m = got.momentum.astype(np.float64)
    variable = flushed(state.variable).astype(np.float64)
    divisor = np.sqrt(flushed(got.velocity_hat if case.amsgrad else got.velocity).astype(np.float64)) + case.epsilon
    with np.errstate(all="ignore"):
        step = m * case.alpha / divisor
        value = variable - step
    magnitude = finite(variable) + finite(m) * max(case.alpha, 1.0) / np.minimum(
        np.nan_to_num(divisor, posinf=1.0), 1.0
    )
    info = np.finfo(case.dtype)
    # The product of m and alpha may be a denormal, flushed before it is divided.
    lost = float(info.tiny) / np.nan_to_num(divisor, nan=1.0, posinf=1.0)
    error = 8 * float(info.eps) * (finite(variable) + finite(step)) + lost
    assert_equal("variable", got.variable, value, magnitude, 8, error=error)

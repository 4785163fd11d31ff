"""LSTM, GRU and SimpleRNN for any values, sizes, options and masks.

Errors are passed from step to step through every product, so the magnitude of a single element does not bound its
error. Errors are measured relative to the largest number of the array, as everywhere in the suite. If the definition
itself changes by more when its inputs are rounded, as with unbounded gates, the result may have an error of that size.

There are no numbers above the square root of the dtype's range, since sums of their products overflow. There are no
numbers whose products are denormal either: flushing them may remove a factor of an infinity, or decide on which side of
its kink a relu is. NaN and infinities are compared as in `equality`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from equality import assert_equal, assert_same_bits, finite, flushed
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rnn_cases import ACTIVATIONS, BACKWARD, FORWARD, GATES, STATES
from strategies import SequenceRun, booleans, draw, other_run, run, sizes
from tolerances import REFERENCE

from fastseq import functional, reference


@dataclass(frozen=True, kw_only=True)
class RnnCase(SequenceRun):
    timesteps: int = 3
    inputs: int = 3
    units: int = 4
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reset_after: bool = True
    go_backwards: bool = False
    zero_output_for_mask: bool = False
    h0_as_first_output: bool = False
    return_sequences: bool = True
    mask: str = "none"
    masked_x: str = "nan"  # what x has at masked steps
    dropout: str = "none"
    recurrent_dropout: str = "none"
    absent: tuple[str, ...] = ()  # of what may be
    x: str = "normal"
    states: str = "normal"
    weights: str = "normal"
    gradients: str = "normal"


_MASKS: dict[str, Any] = {
    "all": lambda rng, batch, timesteps: np.ones((batch, timesteps), bool),
    "nothing": lambda rng, batch, timesteps: np.zeros((batch, timesteps), bool),
    "before": lambda rng, batch, timesteps: np.arange(timesteps) >= rng.integers(0, timesteps + 1, (batch, 1)),
    "after": lambda rng, batch, timesteps: np.arange(timesteps) < rng.integers(0, timesteps + 1, (batch, 1)),
    "few": lambda rng, batch, timesteps: rng.random((batch, timesteps)) < 0.2,
    "most": lambda rng, batch, timesteps: rng.random((batch, timesteps)) < 0.8,
}
_UNBOUNDED = {"relu", "linear"}
_values = st.sampled_from(("normal",) * 6 + ("zero", "sparse", "integer", "denormal", "large", "nan", "infinite"))
_weights = st.sampled_from(("normal",) * 8 + ("zero", "sparse", "denormal", "nan", "infinite"))
_groups = st.sampled_from(("none", "none", "one", "each"))

cases = st.builds(
    RnnCase,
    **run,
    batch=st.one_of(st.integers(0, 4), sizes),
    timesteps=st.integers(0, 7),
    inputs=sizes,
    units=sizes.filter(bool),
    activation=st.one_of(st.just("tanh"), st.sampled_from(ACTIVATIONS)),
    recurrent_activation=st.one_of(st.just("sigmoid"), st.sampled_from(ACTIVATIONS)),
    reset_after=booleans,
    go_backwards=booleans,
    zero_output_for_mask=booleans,
    h0_as_first_output=booleans,
    return_sequences=booleans,
    mask=st.sampled_from(("none", *_MASKS)),
    masked_x=st.sampled_from(("nan", "normal", "infinite")),
    dropout=_groups,
    recurrent_dropout=_groups,
    absent=st.lists(
        st.sampled_from(("bias", "h0", "c0", "doutputs", "dlast_output", "dh_n", "dc_n")), unique=True, max_size=7
    ).map(tuple),
    x=_values,
    states=_values,
    weights=_weights,
    gradients=_values,
)


class _Call:
    """A case's arguments for a cell, and the results."""

    def __init__(self, cell: str, case: RnnCase):
        self.cell, self.case = cell, case
        rng = case.enter()
        columns = GATES[cell] * case.units
        bounded = _UNBOUNDED.isdisjoint((case.activation, case.recurrent_activation))

        def of(kind: str, *shape: int) -> Any:
            if bounded:
                return draw(kind, rng, shape, case.dtype)
            # Or states would grow without limit.
            return draw("normal" if kind == "large" else kind, rng, shape, case.dtype) * np.asarray(0.5, case.dtype)

        def weight(width: int) -> Any:
            return of(case.weights, width, columns) / np.asarray(max(width, 1) ** 0.5, case.dtype)

        two_biases = cell == "gru" and case.reset_after
        x = of(case.x, case.batch, case.timesteps, case.inputs)
        self.arrays: dict[str, Any] = {
            "x": x,
            "kernel": weight(case.inputs),
            "recurrent_kernel": weight(case.units),
            "bias": of(case.weights, *((2, columns) if two_biases else (columns,))),
            **{f"{state}0": of(case.states, case.batch, case.units) for state in STATES[cell]},
        }
        self.masks: dict[str, Any] = {}
        if case.mask != "none":
            mask = np.broadcast_to(_MASKS[case.mask](rng, case.batch, case.timesteps), (case.batch, case.timesteps))
            self.masks["mask"] = np.ascontiguousarray(mask)
            x[~mask] = draw(case.masked_x, rng, x.shape, case.dtype)[~mask]
        for name, groups, width in (
            ("dropout_mask", case.dropout, case.inputs),
            ("recurrent_dropout_mask", case.recurrent_dropout, case.units),
        ):
            if groups != "none":
                count = 1 if groups == "one" else GATES[cell]
                self.arrays[name] = ((rng.random((count, case.batch, width)) < 0.7) / 0.7).astype(case.dtype)
        self.options: dict[str, Any] = {
            "activation": case.activation,
            "go_backwards": case.go_backwards,
            "zero_output_for_mask": case.zero_output_for_mask,
            "h0_as_first_output": case.h0_as_first_output,
        }
        if cell != "simple_rnn":
            self.options["recurrent_activation"] = case.recurrent_activation
        if cell == "gru":
            self.options["reset_after"] = case.reset_after
        self.gradients = {f"d{name}": of(case.gradients, case.batch, case.units) for name in FORWARD[cell][1:]}
        if case.return_sequences:
            self.gradients["doutputs"] = of(case.gradients, case.batch, case.timesteps, case.units)
        for name in case.absent:
            self.arrays.pop(name, None)
            self.gradients.pop(name, None)

    def compute(self) -> dict[str, Any]:
        arguments = {**self.arrays, **self.masks, **self.options}
        forward = getattr(functional, f"{self.cell}_forward")(**arguments, return_sequences=self.case.return_sequences)
        backward = getattr(functional, f"{self.cell}_backward")(forward.workspace, **arguments, **self.gradients)
        return self._named(forward, backward)

    def define(self, change: Callable[[Any], Any] = lambda array: array) -> dict[str, Any]:
        """By the definition, of arrays that were changed first."""
        arrays = {name: change(flushed(array)) for name, array in self.arrays.items()}
        forward = getattr(reference, f"{self.cell}_forward")(**arrays, **self.masks, **self.options)
        gradients = {name: flushed(array) for name, array in self.gradients.items()}
        backward = getattr(reference, f"{self.cell}_backward")(forward, **gradients)
        return self._named(forward, backward)

    def moved_by_rounding(self, name: str, expected: Any) -> float:
        """How far an array's finite numbers move when the inputs do, by up to half of their last place."""
        rng = np.random.default_rng(0)
        half = float(np.finfo(self.case.dtype).eps) / 2

        def rounded(array: Any) -> Any:
            return array * (1 + half * rng.uniform(-1, 1, array.shape))

        moved = (self.define(rounded)[name] for _ in range(8))
        return max(float(finite(other - expected).max(initial=0.0)) for other in moved)

    def _named(self, forward: Any, backward: Any) -> dict[str, Any]:
        return {
            **{name: getattr(forward, name) for name in FORWARD[self.cell]},
            **{name: getattr(backward, name) for name in BACKWARD[self.cell]},
        }


def _assert_equals_definition(cell: str, case: RnnCase) -> None:
    call = _Call(cell, case)
    got, expected = call.compute(), call.define()
    largest = max(float(finite(array).max(initial=1.0)) for array in expected.values())
    assume(largest < float(np.finfo(case.dtype).max) ** 0.5)
    for name, array in got.items():
        if array is None:
            assert (name, case.return_sequences) == ("outputs", False) or (name, "bias" in case.absent) == (
                "dbias",
                True,
            )
            continue
        error = REFERENCE[case.dtype] * float(finite(expected[name]).max(initial=1.0))
        if (finite(array - expected[name]) > error).any():
            error = max(error, call.moved_by_rounding(name, expected[name]))
        assert_equal(name, array, expected[name], 0.0, 1, error=error)
    if case.dtype == "float64":
        return
    other_run()
    for name, array in call.compute().items():
        if array is not None:
            assert_same_bits(name, array, got[name])


# The definition had NaN in gradients for states and weights that a mask hides.
NAN_AT_MASKED_STEPS = RnnCase(mask="few", states="nan", weights="nan", gradients="infinite", batch=5)


@example(case=NAN_AT_MASKED_STEPS)
@given(cases)
def test_lstm(case: RnnCase) -> None:
    _assert_equals_definition("lstm", case)


# Gradients grow a hundredfold through gates without bounds: rounding the inputs moves them by up to 4e-5.
@example(
    case=RnnCase(seed=4518, batch=63, timesteps=7, inputs=7, units=63, recurrent_activation="relu", go_backwards=True)
)
@example(case=NAN_AT_MASKED_STEPS)
@given(cases)
def test_gru(case: RnnCase) -> None:
    _assert_equals_definition("gru", case)


@example(case=NAN_AT_MASKED_STEPS)
@given(cases)
def test_simple_rnn(case: RnnCase) -> None:
    _assert_equals_definition("simple_rnn", case)

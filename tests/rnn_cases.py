"""Random calls of the recurrent ops for the tests, and functions that run them with the kernels or with the definition.

Tests give an option only where it matters, so that the defaults are tested as well.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fastseq import functional, reference

CELLS = ("lstm", "gru", "simple_rnn")
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}
STATES = {"lstm": ("h", "c"), "gru": ("h",), "simple_rnn": ("h",)}
ACTIVATIONS = ("tanh", "sigmoid", "hard_sigmoid", "relu", "linear")
# What there is besides activations.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("lstm", {}),
    ("gru", {"reset_after": True}),
    ("gru", {"reset_after": False}),
    ("simple_rnn", {}),
]

# What forward and backward return.
FORWARD = {cell: ("outputs", "last_output", *(f"{s}_n" for s in states)) for cell, states in STATES.items()}
BACKWARD = {
    cell: ("dx", "dkernel", "drecurrent_kernel", "dbias", *(f"d{s}0" for s in states))
    for cell, states in STATES.items()
}


every_cell = pytest.mark.parametrize("cell", CELLS)
every_variant = pytest.mark.parametrize(
    ("cell", "variant"), VARIANTS, ids=["lstm", "gru_reset_after", "gru_reset_before", "simple_rnn"]
)


@dataclass
class Case:
    """A call of `cell`. What is in `weights`, `states`, `masks` and `options` goes to forward and backward alike."""

    cell: str
    weights: dict[str, Any]  # x, kernel, recurrent_kernel, bias
    states: dict[str, Any] = field(default_factory=dict)  # h0, c0
    masks: dict[str, Any] = field(default_factory=dict)  # mask, dropout_mask, recurrent_dropout_mask
    options: dict[str, Any] = field(default_factory=dict)  # go_backwards, activation, ...
    gradients: dict[str, Any] = field(default_factory=dict)  # doutputs, dlast_output, dh_n, dc_n
    return_sequences: bool = True

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.weights, **self.states, **self.masks, **self.options}

    @property
    def results(self) -> tuple[str, ...]:
        """The names of all that a run returns."""
        return FORWARD[self.cell] + BACKWARD[self.cell]


def activation_options(cell: str) -> list[dict[str, str]]:
    """Every combination of activations."""
    names = ("activation",) if cell == "simple_rnn" else ("activation", "recurrent_activation")
    return [dict(zip(names, pair, strict=True)) for pair in itertools.product(ACTIVATIONS, repeat=len(names))]


def dropout_groups(cell: str) -> tuple[int, ...]:
    """How many groups of dropout factors there can be; 0 is no dropout."""
    return tuple(sorted({0, 1, GATES[cell]}))


def make_case(
    cell: str,
    batch: int,
    timesteps: int,
    inputs: int,
    units: int,
    dtype: str = "float32",
    *,
    masked: bool = False,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    dropout: int = 0,
    recurrent_dropout: int = 0,
    return_sequences: bool = True,
    activation: str | None = None,
    recurrent_activation: str | None = None,
    reset_after: bool | None = None,
    seed: int = 0,
) -> Case:
    """A random case; `dropout` and `recurrent_dropout` are numbers of groups of factors, None is the default."""
    rng = np.random.default_rng(seed)
    columns = GATES[cell] * units
    # Wide enough to reach the flat ends of activations, but narrower where states could grow without limit.
    spread = 1.0 if {"relu", "linear"}.isdisjoint((activation, recurrent_activation)) else 0.5

    def normal(*shape: int) -> Any:
        return (spread * rng.standard_normal(shape)).astype(dtype)

    def weight(width: int) -> Any:
        # Wider weights would make sequences chaotic: rounding errors would grow with every step.
        return normal(width, columns) / np.array(max(width, 1) ** 0.5, dtype)

    def dropped(*shape: int) -> Any:
        return ((rng.random(shape) < 0.7) / 0.7).astype(dtype)

    chosen = {"activation": activation, "recurrent_activation": recurrent_activation, "reset_after": reset_after}
    case = Case(
        cell,
        weights={
            "x": normal(batch, timesteps, inputs),
            "kernel": weight(inputs),
            "recurrent_kernel": weight(units),
            "bias": normal(*((2, columns) if cell == "gru" and reset_after is not False else (columns,))),
        },
        states={f"{state}0": normal(batch, units) for state in STATES[cell]},
        options={
            "go_backwards": go_backwards,
            "zero_output_for_mask": zero_output_for_mask,
            **({"h0_as_first_output": True} if h0_as_first_output else {}),
            **{name: value for name, value in chosen.items() if value is not None},
        },
        gradients={f"d{name}": normal(batch, units) for name in FORWARD[cell] if name != "outputs"},
        return_sequences=return_sequences,
    )
    if return_sequences:
        case.gradients["doutputs"] = normal(batch, timesteps, units)
    if masked:
        case.masks["mask"] = rng.random((batch, timesteps)) < 0.6
    if dropout:
        case.masks["dropout_mask"] = dropped(dropout, batch, inputs)
    if recurrent_dropout:
        case.masks["recurrent_dropout_mask"] = dropped(recurrent_dropout, batch, units)
    return case


def native_forward(case: Case, **changes: Any) -> Any:
    """`functional`'s forward; `changes` replace or add arguments."""
    call = getattr(functional, f"{case.cell}_forward")
    return call(**{**case.arguments, "return_sequences": case.return_sequences, **changes})


def native_backward(case: Case, workspace: Any, **changes: Any) -> Any:
    """`functional`'s backward likewise."""
    call = getattr(functional, f"{case.cell}_backward")
    return call(**{"workspace": workspace, **case.arguments, **case.gradients, **changes})


def reference_forward(case: Case) -> Any:
    return getattr(reference, f"{case.cell}_forward")(**case.arguments)


def reference_backward(case: Case, forward: Any) -> Any:
    return getattr(reference, f"{case.cell}_backward")(forward, **case.gradients)


def _results(case: Case, forward: Any, backward: Any) -> dict[str, Any]:
    return {
        **{name: getattr(forward, name) for name in FORWARD[case.cell]},
        **{name: getattr(backward, name) for name in BACKWARD[case.cell]},
    }


def run_native(case: Case) -> dict[str, Any]:
    forward = native_forward(case)
    assert forward.workspace is not None
    return _results(case, forward, native_backward(case, forward.workspace))


def run_reference(case: Case) -> dict[str, Any]:
    forward = reference_forward(case)
    return _results(case, forward, reference_backward(case, forward))

"""Random LSTM calls for the tests, and the two ways to run one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastseq import functional, reference

FORWARD = ("outputs", "last_output", "h_n", "c_n")
BACKWARD = ("dx", "dkernel", "drecurrent_kernel", "dbias", "dh0", "dc0")


@dataclass
class Case:
    weights: dict[str, Any]  # x, kernel, recurrent_kernel, bias
    states: dict[str, Any] = field(default_factory=dict)  # h0, c0
    masks: dict[str, Any] = field(default_factory=dict)  # mask, dropout_mask, recurrent_dropout_mask
    options: dict[str, bool] = field(default_factory=dict)  # go_backwards, zero_output_for_mask
    gradients: dict[str, Any] = field(default_factory=dict)  # doutputs, dlast_output, dh_n, dc_n
    return_sequences: bool = True


def make_case(
    batch: int,
    timesteps: int,
    inputs: int,
    units: int,
    dtype: str = "float32",
    *,
    masked: bool = False,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    dropout: int = 0,
    recurrent_dropout: int = 0,
    return_sequences: bool = True,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return (0.5 * rng.standard_normal(shape)).astype(dtype)

    def dropped(*shape: int) -> Any:
        return ((rng.random(shape) < 0.7) / 0.7).astype(dtype)

    case = Case(
        weights={
            "x": normal(batch, timesteps, inputs),
            "kernel": normal(inputs, 4 * units),
            "recurrent_kernel": normal(units, 4 * units),
            "bias": normal(4 * units),
        },
        states={"h0": normal(batch, units), "c0": normal(batch, units)},
        options={"go_backwards": go_backwards, "zero_output_for_mask": zero_output_for_mask},
        gradients={"dlast_output": normal(batch, units), "dh_n": normal(batch, units), "dc_n": normal(batch, units)},
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


def run_native(case: Case) -> dict[str, Any]:
    arguments = {**case.weights, **case.states, **case.masks, **case.options}
    forward = functional.lstm_forward(**arguments, return_sequences=case.return_sequences)
    assert forward.workspace is not None
    backward = functional.lstm_backward(forward.workspace, **arguments, **case.gradients)
    return {
        **{name: getattr(forward, name) for name in FORWARD},
        **{name: getattr(backward, name) for name in BACKWARD},
    }


def run_reference(case: Case) -> dict[str, Any]:
    forward = reference.lstm_forward(**case.weights, **case.states, **case.masks, **case.options)
    backward = reference.lstm_backward(
        forward,
        *(case.weights[name] for name in ("x", "kernel", "recurrent_kernel")),
        **case.gradients,
        **{name: mask for name, mask in case.masks.items() if name != "mask"},
        zero_output_for_mask=case.options["zero_output_for_mask"],
    )
    return {
        **{name: getattr(forward, name) for name in FORWARD},
        **{name: getattr(backward, name) for name in BACKWARD},
    }

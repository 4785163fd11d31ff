"""Random calls of the convolution for the tests, and functions that run them with the kernels or with the definition.

Tests give an option only where it matters, so that the defaults are tested as well.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastseq import functional, reference

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "hard_sigmoid")
RESULTS = ("outputs", "dx", "dkernel", "dbias")

_CHOICES: dict[str, tuple[Any, ...]] = {
    "padding": ("valid", "same", "causal"),
    "strides": (1, 2, 5),
    "dilation_rate": (1, 2, 3),
    "groups": (1, 3),
    "activation": ACTIVATIONS,
    "bias": (True, False),
}
# Every combination of options, defaults left out. Every seventh of them, as 7 shares no factor with any number of
# values, still meets all values of all options.
OPTIONS: list[dict[str, Any]] = [
    {name: value for (name, values), value in zip(_CHOICES.items(), chosen, strict=True) if value != values[0]}
    for chosen in itertools.product(*_CHOICES.values())
]


@dataclass
class Case:
    """A call. What is in `inputs` and `options` goes to forward and backward alike."""

    inputs: dict[str, Any]  # x, kernel, bias
    options: dict[str, Any]
    doutputs: Any

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.inputs, **self.options}


def output_timesteps(timesteps: int, width: int, options: dict[str, Any]) -> int:
    """How many steps of output there are; 0 or less where padding "valid" leaves none."""
    if options.get("padding", "valid") == "valid":
        timesteps -= options.get("dilation_rate", 1) * (width - 1)
    return -(-timesteps // int(options.get("strides", 1)))


def fits(timesteps: int, width: int, options: dict[str, Any]) -> bool:
    """Whether a sequence is long enough."""
    return options.get("padding", "valid") != "valid" or output_timesteps(timesteps, width, options) > 0


def make_case(
    batch: int,
    timesteps: int,
    channels: int,
    filters: int,
    width: int,
    dtype: str = "float32",
    *,
    bias: bool = True,
    seed: int = 0,
    **options: Any,
) -> Case:
    """A random case. `channels` and `filters` are those of one group."""
    rng = np.random.default_rng(seed)
    groups = options.get("groups", 1)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(dtype)

    return Case(
        inputs={
            "x": normal(batch, timesteps, groups * channels),
            # Sums that reach the flat ends of activations, and not only those.
            "kernel": 2 * normal(width, channels, groups * filters) / np.array(max(width * channels, 1) ** 0.5, dtype),
            "bias": normal(groups * filters) if bias else None,
        },
        options=options,
        doutputs=normal(batch, output_timesteps(timesteps, width, options), groups * filters),
    )


def native_forward(case: Case, **changes: Any) -> Any:
    """`functional`'s forward; `changes` replace or add arguments."""
    return functional.conv1d_forward(**{**case.arguments, **changes})


def native_backward(case: Case, outputs: Any, **changes: Any) -> Any:
    """`functional`'s backward likewise."""
    return functional.conv1d_backward(**{"outputs": outputs, "doutputs": case.doutputs, **case.arguments, **changes})


def reference_forward(case: Case) -> Any:
    return reference.conv1d_forward(**case.arguments)


def reference_backward(case: Case, outputs: Any) -> Any:
    return reference.conv1d_backward(outputs, case.doutputs, **case.arguments)


def _results(outputs: Any, gradients: Any) -> dict[str, Any]:
    return {"outputs": outputs, **{name: getattr(gradients, name) for name in RESULTS[1:]}}


def run_native(case: Case) -> dict[str, Any]:
    outputs = native_forward(case)
    return _results(outputs, native_backward(case, outputs))


def run_reference(case: Case) -> dict[str, Any]:
    outputs = reference_forward(case)
    return _results(outputs, reference_backward(case, outputs))

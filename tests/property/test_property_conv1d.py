"""The convolution, with and without max pooling, for any values, sizes and options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from conv1d_cases import ACTIVATIONS, output_timesteps
from equality import allowed_error, assert_equal, assert_same_bits, finite, flushed
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import WindowRun, all_values, booleans, draw, few, other_run, run, sizes

from fastseq import functional, reference

RESULTS = ("dx", "dkernel", "dbias")


@dataclass(frozen=True, kw_only=True)
class ConvCase(WindowRun):
    """`channels` and `filters` are those of one group."""

    filters: int = 4
    width: int = 2
    groups: int = 1
    strides: int = 1
    dilation_rate: int = 1
    activation: str = "linear"
    with_bias: bool = True
    kernel: str = "normal"
    bias: str = "normal"

    @property
    def options(self) -> dict[str, Any]:
        names = ("activation", "strides", "padding", "dilation_rate", "groups")
        return {name: getattr(self, name) for name in names}

    @property
    def convolved(self) -> int:
        """How many steps of output there are; 0 or less where that is an error."""
        return output_timesteps(self.timesteps, self.width, self.options)

    @property
    def terms(self) -> int:
        """Of the longest of all sums, and a few roundings."""
        return self.width * max(self.channels, self.filters) + self.batch * max(self.convolved, 0) + 8

    def inputs(self, rng: Any) -> dict[str, Any]:
        x = draw(self.x, rng, (self.batch, self.timesteps, self.groups * self.channels), self.dtype)
        kernel = draw(self.kernel, rng, (self.width, self.channels, self.groups * self.filters), self.dtype)
        bias = draw(self.bias, rng, (self.groups * self.filters,), self.dtype) if self.with_bias else None
        return {"x": x, "kernel": kernel, "bias": bias}


@dataclass(frozen=True, kw_only=True)
class ConvPoolCase(ConvCase):
    pool_size: int = 2
    pool_strides: int | None = None
    pool_padding: str = "valid"
    propagate_nan: bool = False

    @property
    def window(self) -> tuple[int, int | None, str]:
        return self.pool_size, self.pool_strides, self.pool_padding


_convolution = {
    **run,
    "batch": few,
    "timesteps": sizes,
    "channels": st.one_of(st.integers(0, 4), sizes),
    "filters": st.one_of(st.integers(1, 4), sizes.filter(bool)),
    "width": st.one_of(st.integers(1, 5), st.just(17)),
    "groups": st.sampled_from((1, 1, 2, 3)),
    "strides": st.sampled_from((1, 1, 2, 3, 7, 40)),
    "dilation_rate": st.sampled_from((1, 1, 2, 5)),
    "padding": st.sampled_from(("valid", "same", "causal")),
    "activation": st.sampled_from(ACTIVATIONS),
    "with_bias": booleans,
    "x": all_values,
    "kernel": all_values,
    "bias": all_values,
    "doutputs": all_values,
}
cases = st.builds(ConvCase, **_convolution)
pool_cases = st.builds(
    ConvPoolCase,
    **_convolution,
    pool_size=st.integers(1, 7),
    pool_strides=st.one_of(st.none(), st.integers(1, 8)),
    pool_padding=st.sampled_from(("valid", "same")),
    propagate_nan=st.booleans(),
)


def _rejected(case: ConvCase, forward: Any) -> bool:
    if case.padding != "valid" or case.convolved > 0:
        return False
    with pytest.raises(ValueError, match=r"x must have at least \d+ timesteps"):
        forward()
    return True


def _flushed(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: None if array is None else flushed(array) for name, array in inputs.items()}


def _finite(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: None if array is None else finite(array) for name, array in inputs.items()}


def _assert_outputs(case: ConvCase, outputs: Any, inputs: dict[str, Any]) -> None:
    """The sum's error goes through the activation, which grows with its argument; and it has an error of its own."""
    straight = {**case.options, "activation": "linear"}
    activate = reference.ACTIVATIONS[case.activation].function
    magnitude = reference.conv1d_forward(**_finite(inputs), **straight)
    sums = reference.conv1d_forward(**_flushed(inputs), **straight)
    value = activate(sums)
    error = np.where(np.isfinite(magnitude), allowed_error(magnitude, outputs.dtype, case.terms), 0.0)
    through = np.maximum(activate(sums + error) - value, value - activate(sums - error))
    own = allowed_error(np.abs(value), outputs.dtype, 0 if case.activation == "linear" else 4)
    padded = ~np.isfinite(inputs["kernel"]).all((0, 1))
    error = np.nan_to_num(through + own)
    assert_equal("outputs", outputs, value, magnitude, case.terms, error=error, padded=padded)


def _assert_gradients(
    case: ConvCase, got: Any, outputs: Any, doutputs: Any, inputs: dict[str, Any], with_zeros: bool = True
) -> None:
    """`with_zeros`: whether a gradient of zero times an infinite or NaN x must be NaN."""
    expected = reference.conv1d_backward(flushed(outputs), flushed(doutputs), **_flushed(inputs), **case.options)

    def magnitude_of(dz: Any) -> Any:
        return reference.conv1d_backward(
            np.ones(outputs.shape), dz, **_finite(inputs), **{**case.options, "activation": "linear"}
        )

    # No slope is greater than 1. A gradient of a sum that was flushed may have been as large as the smallest number.
    flushed_dz = np.full(outputs.shape, float(np.finfo(case.dtype).tiny))
    magnitude, off_by_flushing = magnitude_of(finite(doutputs) + flushed_dz), magnitude_of(flushed_dz)
    if not with_zeros:
        x_is_finite = np.isfinite(inputs["x"]).all((0, 1)).reshape(case.groups, case.channels)
        of_filters = np.repeat(x_is_finite, case.filters, axis=0).T  # (channels of a group, filters)
        magnitude = magnitude._replace(dkernel=np.where(of_filters, magnitude.dkernel, np.inf))
    kernel_is_finite = np.isfinite(inputs["kernel"]).all((0, 2))
    padded = {
        "dx": np.tile(~kernel_is_finite, case.groups),
        "dkernel": ~(np.isfinite(doutputs) & np.isfinite(outputs)).all((0, 1)),
        "dbias": False,
    }
    for name in RESULTS:
        array, value = getattr(got, name), getattr(expected, name)
        assert (array is None) == (value is None), name
        if array is not None:
            most = getattr(magnitude, name)
            error = np.nan_to_num(allowed_error(most, array.dtype, case.terms) + getattr(off_by_flushing, name))
            assert_equal(name, array, value, most, case.terms, error=error, padded=padded[name])


# Zeros of padding beside NaN.
@example(case=ConvCase(width=17, padding="same", doutputs="nan"))
@example(case=ConvCase(width=17, padding="causal", kernel="nan"))
# A gradient that is flushed before a large kernel.
@example(case=ConvCase(batch=1, timesteps=1, width=1, activation="sigmoid", kernel="large", doutputs="tiny"))
@given(cases)
def test_conv1d(case: ConvCase) -> None:
    rng = case.enter()
    inputs = case.inputs(rng)

    def forward() -> Any:
        return functional.conv1d_forward(**inputs, **case.options)

    if _rejected(case, forward):
        return
    outputs = forward()
    doutputs = draw(case.doutputs, rng, outputs.shape, case.dtype)

    def backward() -> Any:
        return functional.conv1d_backward(outputs, doutputs, **inputs, **case.options)

    gradients = backward()
    _assert_outputs(case, outputs, inputs)
    _assert_gradients(case, gradients, outputs, doutputs, inputs)
    if case.dtype == "float64":
        return
    other_run()
    assert_same_bits("outputs", forward(), outputs)
    again = backward()
    for name in RESULTS:
        if getattr(again, name) is not None:
            assert_same_bits(name, getattr(again, name), getattr(gradients, name))


# Slopes where all of a window was NaN.
@example(case=ConvPoolCase(activation="tanh", kernel="nan", doutputs="zero"))
@given(pool_cases)
def test_conv1d_max_pool(case: ConvPoolCase) -> None:
    """Beside the two one after the other, which `test_conv1d` and `test_max_pool` are about."""
    rng = case.enter()
    inputs = case.inputs(rng)

    def forward() -> Any:
        return functional.conv1d_max_pool_forward(
            **inputs, **dict(_named(case)), **case.options, pool_propagate_nan=case.propagate_nan
        )

    if _rejected(case, forward):
        return
    convolved = functional.conv1d_forward(**inputs, **case.options)
    try:
        expected = functional.max_pool_forward(convolved, *case.window, propagate_nan=case.propagate_nan)
    except ValueError:
        with pytest.raises(ValueError, match="timesteps must be at least"):
            forward()
        return
    got = forward()
    assert_same_bits("outputs", got.outputs, expected.outputs)
    assert_same_bits("argmax", got.argmax, expected.argmax)

    doutputs = draw(case.doutputs, rng, got.outputs.shape, case.dtype)
    gradients = functional.conv1d_max_pool_backward(got, doutputs, **inputs, **dict(_named(case)), **case.options)
    # The activation's slope is taken where the maximum is, and is that of the lowest number where all were NaN.
    slope = np.asarray(reference.ACTIVATIONS[case.activation].derivative(got.outputs.astype(np.float64)), case.dtype)
    dpooled = flushed(flushed(doutputs) * slope)
    dconvolved = reference.max_pool_backward(got.argmax, dpooled, case.convolved, *case.window)
    linear = replace(case, activation="linear")
    _assert_gradients(linear, gradients, convolved, np.asarray(dconvolved, case.dtype), inputs, with_zeros=False)


def _named(case: ConvPoolCase) -> Any:
    return zip(("pool_size", "pool_strides", "pool_padding"), case.window, strict=True)

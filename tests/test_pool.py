"""The pooling kernels, forward and backward, against their definition."""

from __future__ import annotations

import concurrent.futures
import itertools
from typing import Any

import numpy as np
import pytest
from pool_cases import (
    POOLINGS,
    WINDOWS,
    Results,
    Window,
    any_numbers,
    every_dtype,
    every_nan,
    every_pooling,
    fits,
    run_pool,
    small_integers,
    special_windows,
)
from tolerances import REFERENCE, assert_close

from fastseq import functional, reference, runtime

# (batch, timesteps, channels): 1; around a vector of 8 and of 16, and around two and four of them; primes.
SIZES = [(1, 1, 1), (3, 17, 7), (2, 9, 8), (1, 20, 9), (2, 23, 15), (1, 13, 16), (2, 11, 33), (1, 12, 64), (1, 9, 67)]
# Every thread of four gets work; the sequence of a batch row is cut between threads.
LARGE = (5, 1100, 67)


def _assert_matches_reference(pooling: str, x: Any, window: Window, **options: bool) -> None:
    got, expected = (run_pool(module, pooling, x, window, **options) for module in (functional, reference))
    if pooling == "max":
        np.testing.assert_array_equal(got.outputs, expected.outputs, err_msg=str(window))
        np.testing.assert_array_equal(got.argmax, expected.argmax, err_msg=str(window))
    else:
        assert_close(got.outputs, expected.outputs, REFERENCE[x.dtype.name], f"{window} outputs")
    assert got.outputs.dtype == got.dx.dtype == x.dtype
    assert_close(got.dx, expected.dx, REFERENCE[x.dtype.name], f"{window} dx")


@every_dtype
@pytest.mark.parametrize("size", SIZES)
@every_pooling
def test_matches_reference(isa: str, pooling: str, size: tuple[int, int, int], dtype: str) -> None:
    for window in WINDOWS:
        if fits(size[1], window):
            _assert_matches_reference(pooling, small_integers(size, dtype), window)


@every_nan
@every_dtype
@pytest.mark.parametrize("size", SIZES)
def test_maxima_of_any_numbers_match_reference(
    isa: str, size: tuple[int, int, int], dtype: str, propagate_nan: bool
) -> None:
    for window in WINDOWS:
        if fits(size[1], window):
            x = any_numbers(size, dtype)
            _assert_matches_reference("max", x, window, propagate_nan=propagate_nan)
            outputs = functional.max_pool_forward(x, *window, propagate_nan=propagate_nan, save_argmax=False).outputs
            expected = reference.max_pool_forward(x, *window, propagate_nan=propagate_nan).outputs
            np.testing.assert_array_equal(outputs, expected)


@every_dtype
@every_pooling
def test_large_matches_reference(isa: str, pooling: str, dtype: str) -> None:
    runtime.set_num_threads(4)
    for window in [(4, None, "valid"), (3, 1, "same"), (2, 5, "same"), (5, 2, "valid")]:
        _assert_matches_reference(pooling, small_integers(LARGE, dtype), window)


@pytest.mark.parametrize(
    "window",
    [(4, None, "valid"), (4, 3, "same"), (5, 1, "same"), (3, 7, "same"), (300, 7, "same"), (900, 300, "valid")],
)
@pytest.mark.parametrize(
    ("pooling", "options"), [("max", {}), ("max", {"propagate_nan": True}), ("average", {})], ids=str
)
def test_same_bits_for_any_threads_and_isa(pooling: str, window: Window, options: dict[str, bool]) -> None:
    x = np.random.default_rng(0).standard_normal(LARGE).astype(np.float32)
    if options:
        x[np.random.default_rng(1).random(LARGE) < 0.001] = np.nan
    runtime.set_isa("scalar")
    runtime.set_num_threads(1)
    expected = run_pool(functional, pooling, x, window, **options)
    for isa, threads in itertools.product(runtime.available_isas(), (1, 2, 3, 4, 8)):
        runtime.set_isa(isa)
        runtime.set_num_threads(threads)
        results = run_pool(functional, pooling, x, window, **options)
        for name, got, array in zip(Results._fields, results, expected, strict=True):
            np.testing.assert_array_equal(got, array, err_msg=f"{isa} {threads} {name}")


@pytest.mark.parametrize("size", [(0, 4, 3), (2, 0, 3), (2, 4, 0), (0, 0, 0), (0, 4, 0)])
@every_pooling
def test_empty(isa: str, pooling: str, size: tuple[int, int, int]) -> None:
    for window in [(2, None, "valid"), (2, None, "same"), (3, 1, "same"), (1, 3, "same")]:
        _assert_matches_reference(pooling, small_integers(size), window)


@every_pooling
def test_one_short_window_less_is_none(pooling: str) -> None:
    got = run_pool(functional, pooling, small_integers((2, 3, 4)), (5, 2, "valid"))
    assert got.outputs.shape == (2, 0, 4)
    np.testing.assert_array_equal(got.dx, np.zeros((2, 3, 4)))


def test_pooled_timesteps() -> None:
    for timesteps, window in itertools.product(range(1, 30), WINDOWS):
        if fits(timesteps, window):
            expected = len(reference.pool.windows(timesteps, *window))
            assert functional.pooled_timesteps(timesteps, *window) == expected


def test_no_argmax_for_inference(isa: str) -> None:
    for window in WINDOWS:
        x = small_integers((3, 17, 23))
        training = functional.max_pool_forward(x, *window)
        inference = functional.max_pool_forward(x, *window, save_argmax=False)
        assert inference.argmax is None
        np.testing.assert_array_equal(inference.outputs, training.outputs)


@every_dtype
@pytest.mark.parametrize(
    ("pool_size", "index"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "int32"), (70000, "int32")]
)
def test_argmax_has_the_smallest_dtype(isa: str, pool_size: int, index: str, dtype: str) -> None:
    # Three windows; the first begins in the padding before the sequence, and ends with the second channel's maximum.
    strides, last = -(-pool_size // 3), pool_size - 1
    x = np.zeros((1, pool_size, 2), dtype)
    x[0, last, 0] = x[0, last - strides, 1] = 1
    result = functional.max_pool_forward(x, pool_size, strides, "same")
    places = [[strides, last], [last, last - strides], [last - strides, last - 2 * strides]]
    assert result.argmax.dtype == index
    np.testing.assert_array_equal(result.argmax[0], places)
    dx = functional.max_pool_backward(
        result.argmax, np.ones_like(result.outputs), pool_size, pool_size, strides, "same"
    )
    expected = np.zeros_like(x)
    expected[0, 0, 0], expected[0, last, 0], expected[0, last - strides, 1] = 1, 2, 3
    np.testing.assert_array_equal(dx, expected)
    x[x == 1] = np.nan
    result = functional.max_pool_forward(x, pool_size, strides, "same", propagate_nan=True)
    np.testing.assert_array_equal(result.argmax[0], places)


def test_ties_go_to_the_first(isa: str) -> None:
    x = np.ones((2, 6, 17), np.float32)
    got = run_pool(
        functional,
        "max",
        x,
        (3, 1, "same"),
        np.broadcast_to(np.float32([1, 2, 3, 4, 5, 6]), (2, 17, 6)).swapaxes(1, 2).copy(),
    )
    np.testing.assert_array_equal(got.dx[1, :, 16], [3, 3, 4, 5, 6, 0])
    # Zeros are equal whatever their sign, and the first one is what comes out.
    x = np.broadcast_to(np.float32([-0.0, 0.0, 0.0, -0.0]), (1, 17, 4)).swapaxes(1, 2).copy()
    result = functional.max_pool_forward(x, 2)
    np.testing.assert_array_equal(np.signbit(result.outputs[0, :, 16]), [True, False])
    np.testing.assert_array_equal(result.argmax, 0)


@every_nan
@every_dtype
def test_special_values(isa: str, dtype: str, propagate_nan: bool) -> None:
    nan, inf, lowest = np.nan, np.inf, float(np.finfo(dtype).min)
    windows = {**special_windows(lowest, propagate_nan), (lowest, -inf, lowest): (lowest, 0)}
    for channels in (1, 19):
        x = np.repeat(np.array(list(windows), dtype).reshape(1, -1, 1), channels, axis=2)
        result = functional.max_pool_forward(x, 3, propagate_nan=propagate_nan)
        for channel in (0, channels - 1):
            np.testing.assert_array_equal(result.outputs[0, :, channel], [value for value, _ in windows.values()])
            np.testing.assert_array_equal(result.argmax[0, :, channel], [place for _, place in windows.values()])
        overlapping, expected = (
            module.max_pool_forward(x, 3, 2, "same", propagate_nan=propagate_nan) for module in (functional, reference)
        )
        np.testing.assert_array_equal(overlapping.outputs, expected.outputs)
        np.testing.assert_array_equal(overlapping.argmax, expected.argmax)
    average = functional.average_pool_forward(np.array([nan, 1, 2, 3, inf, -inf], dtype).reshape(1, 6, 1), 2)
    np.testing.assert_array_equal(average.ravel(), [nan, 2.5, nan])


@every_nan
@every_dtype
def test_denormals_count_as_zeros_and_come_out_as_zeros(isa: str, dtype: str, propagate_nan: bool) -> None:
    denormal, tiny = float(np.finfo(dtype).smallest_subnormal) * 3, float(np.finfo(dtype).tiny)
    windows = {
        (-0.0, denormal): (-0.0, 0),
        (denormal, -0.0): (0.0, 0),
        (-denormal, denormal): (-0.0, 0),
        (-1.0, -denormal): (-0.0, 1),
        (denormal, tiny): (tiny, 1),
        (-tiny, -denormal): (-0.0, 1),
    }
    for channels in (1, 19, 64):
        x = np.repeat(np.array(list(windows), dtype).reshape(1, -1, 1), channels, axis=2)
        result = functional.max_pool_forward(x, 2, propagate_nan=propagate_nan)
        for channel in (0, channels - 1):
            values = np.array([value for value, _ in windows.values()], dtype)
            np.testing.assert_array_equal(result.outputs[0, :, channel], values)
            np.testing.assert_array_equal(np.signbit(result.outputs[0, :, channel]), np.signbit(values))
            np.testing.assert_array_equal(result.argmax[0, :, channel], [place for _, place in windows.values()])


def test_gradients_that_are_no_numbers_stay_where_they_belong(isa: str) -> None:
    x = small_integers((1, 4, 17))
    doutputs = np.full((1, 2, 17), np.nan, np.float32)
    doutputs[:, 1] = np.inf
    result = run_pool(functional, "max", x, (2, None, "valid"), doutputs)
    np.testing.assert_array_equal(np.isnan(result.dx).sum(axis=1), 1)
    np.testing.assert_array_equal(np.isinf(result.dx).sum(axis=1), 1)
    np.testing.assert_array_equal((result.dx == 0).sum(axis=1), 2)


def test_a_position_outside_of_the_window_gets_nothing(isa: str) -> None:
    for strides in (3, 2):
        argmax = np.full((2, functional.pooled_timesteps(12, 3, strides), 17), 200, np.uint8)
        dx = functional.max_pool_backward(argmax, np.ones(argmax.shape, np.float32), 12, 3, strides)
        np.testing.assert_array_equal(dx, np.zeros((2, 12, 17)))


def test_large_strides_and_windows() -> None:
    x = small_integers((2, 7, 3))
    for window in [(2**31 - 1, 1, "same"), (2, 2**62, "same"), (2, 2**63 - 1, "valid"), (2**31 - 1, 2**62, "valid")]:
        for pooling in POOLINGS:
            _assert_matches_reference(pooling, x, window)


@every_pooling
def test_inputs_are_not_written_to(pooling: str) -> None:
    x = small_integers(LARGE)
    kept = x.copy()
    x.flags.writeable = False
    run_pool(functional, pooling, x, (3, 2, "same"))
    np.testing.assert_array_equal(x, kept)


@every_pooling
def test_many_python_threads_at_once(pooling: str) -> None:
    x = small_integers(LARGE)
    expected = run_pool(functional, pooling, x, (3, 2, "same"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: run_pool(functional, pooling, x, (3, 2, "same")), range(16)):
            np.testing.assert_array_equal(got.outputs, expected.outputs)
            np.testing.assert_array_equal(got.dx, expected.dx)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": small_integers((3, 4))}, ValueError, r"x must have shape \(batch, timesteps, channels\), got \(3, 4\)"),
        ({"x": small_integers((2, 3, 4, 5))}, ValueError, r"x must have shape .*, got \(2, 3, 4, 5\)"),
        ({"x": small_integers((2, 3, 4), "float16")}, TypeError, "x must have dtype float32 or float64, got float16"),
        ({"x": small_integers((2, 3, 4), "int32")}, TypeError, "x must have dtype float32 or float64, got int32"),
        ({"x": small_integers((2, 3, 4), "uint8")}, TypeError, "x must have dtype float32 or float64, got uint8"),
        ({"x": small_integers((2, 3, 4)).swapaxes(1, 2)}, ValueError, "x must be C-contiguous"),
        ({"x": [[[1.0]]]}, TypeError, "x must be a numpy.ndarray, got list"),
        ({"x": None}, ValueError, "x is required, got None"),
        ({"pool_size": 0}, ValueError, "pool_size must be at least 1, got 0"),
        ({"pool_size": 2**31}, ValueError, "pool_size must be at most 2147483647, got 2147483648"),
        ({"pool_size": 2.0}, TypeError, "pool_size must be an int, got float"),
        ({"strides": 0}, ValueError, "strides must be at least 1, got 0"),
        ({"strides": -1}, ValueError, "strides must be at least 1, got -1"),
        ({"strides": "2"}, TypeError, "strides must be an int, got str"),
        ({"padding": "causal"}, ValueError, "padding must be 'valid' or 'same', got 'causal'"),
        (
            {"x": small_integers((2, 1, 4)), "pool_size": 4, "strides": 2},
            ValueError,
            "timesteps must be at least 2 for pool_size 4 with strides 2 and padding 'valid', got 1",
        ),
    ],
)
@every_pooling
def test_bad_input(pooling: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    forward = functional.max_pool_forward if pooling == "max" else functional.average_pool_forward
    with pytest.raises(error, match=message):
        forward(**{"x": small_integers((2, 6, 4)), "pool_size": 2, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"doutputs": small_integers((2, 2, 4))}, ValueError, r"doutputs must have shape \(2, 3, 4\), got \(2, 2, 4\)"),
        (
            {"doutputs": small_integers((2, 4))},
            ValueError,
            r"doutputs must have shape \(batch, pooled timesteps, channels\), got",
        ),
        (
            {"doutputs": small_integers((2, 3, 4), "float16")},
            TypeError,
            "doutputs must have dtype float32 or float64, got float16",
        ),
        ({"timesteps": -1}, ValueError, "timesteps must be at least 0, got -1"),
        ({"timesteps": 8}, ValueError, r"doutputs must have shape \(2, 4, 4\), got \(2, 3, 4\)"),
        ({"timesteps": 6.0}, TypeError, "timesteps must be an int, got float"),
        ({"padding": "Valid"}, ValueError, "padding must be one of valid, same, causal, got 'Valid'"),
        ({"padding": "causal"}, ValueError, "padding must be 'valid' or 'same', got 'causal'"),
    ],
)
@every_pooling
def test_bad_backward_input(pooling: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"doutputs": small_integers((2, 3, 4)), "timesteps": 6, "pool_size": 2, **change}
    if pooling == "max":
        arguments["argmax"] = np.zeros((2, 3, 4), np.uint8)
    backward = functional.max_pool_backward if pooling == "max" else functional.average_pool_backward
    with pytest.raises(error, match=message):
        backward(**arguments)


@pytest.mark.parametrize(
    ("argmax", "error", "message"),
    [
        (np.zeros((2, 3, 4), np.int16), TypeError, "argmax must have dtype uint8, uint16 or int32, got int16"),
        (np.zeros((2, 3, 4), np.int64), TypeError, "argmax must have dtype uint8, got int64"),
        (np.zeros((2, 3, 4), np.uint16), TypeError, "argmax must have dtype uint8, got uint16"),
        (np.zeros((2, 3, 5), np.uint8), ValueError, r"argmax must have shape \(2, 3, 4\), got \(2, 3, 5\)"),
        (None, ValueError, "argmax is required, got None"),
    ],
)
def test_bad_argmax(argmax: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        functional.max_pool_backward(argmax, small_integers((2, 3, 4)), 6, 2)

"""The convolution and max pooling on a GPU, real or emulated, against their definition.

The common parts of GPU and CPU, such as the checks and the search for windows, are tested on the CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conv1d_cases import (
    OPTIONS,
    RESULTS,
    Case,
    fits,
    make_case,
    output_timesteps,
    reference_backward,
    reference_forward,
    run_native,
    run_reference,
)
from gpu_arrays import DTYPES, Emulated, Real, rounded
from pool_cases import WINDOWS, Window, any_numbers, every_nan, small_integers, special_windows
from pool_cases import fits as window_fits
from tolerances import CUDA, assert_close

from fastseq import cuda, functional, reference

# (batch, timesteps, channels, filters, width), channels and filters of one group: 1; what lies by fours and what does
# not; a kernel wider than the sequence; strides longer than it.
SIZES = [(1, 1, 1, 1, 1), (3, 9, 1, 7, 3), (2, 12, 5, 15, 2), (3, 8, 16, 16, 4), (5, 3, 31, 8, 7), (2, 2, 4, 24, 2)]
# More than one tile in each direction, and of the sums over all timesteps more than one part.
LARGE = [(3, 180, 20, 68, 4), (2, 270, 33, 5, 2)]
LARGE_OPTIONS: list[dict[str, Any]] = [
    {"padding": "same", "activation": "tanh"},
    {"padding": "causal", "dilation_rate": 3, "bias": False},
    {"padding": "same", "strides": 3, "dilation_rate": 2, "groups": 2, "activation": "relu"},
]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def _changed(case: Case, change: Callable[[Any], Any]) -> Case:
    inputs = {name: None if array is None else change(array) for name, array in case.inputs.items()}
    return Case(inputs, case.options, change(case.doutputs))


def _on_gpu(case: Case, gpu: Emulated | Real, dtype: str) -> Case:
    return _changed(case, lambda array: gpu.array(array, dtype))


def _run(case: Case, gpu: Emulated | Real, dtype: str = "float32") -> dict[str, Any]:
    got = run_native(_on_gpu(case, gpu, dtype))
    assert all(array is None or gpu.dtype(array) == dtype for array in got.values())
    return {name: None if array is None else gpu.numpy(array) for name, array in got.items()}


def _assert_matches_reference(case: Case, gpu: Emulated | Real, dtype: str = "float32") -> None:
    got, exact = _run(case, gpu, dtype), _changed(case, lambda array: rounded(array, dtype))
    # The gradients' slopes are those of the outputs as they were rounded, which may be 1 of a sigmoid.
    gradients = reference_backward(exact, got["outputs"])
    for name, expected in {"outputs": reference_forward(exact), **gradients._asdict()}.items():
        if expected is None:
            assert got[name] is None
        else:
            assert_close(got[name], expected, CUDA[dtype], f"{dtype} {case.options} {name}")


def _assert_same(got: dict[str, Any], expected: dict[str, Any], what: str) -> None:
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=f"{what} {name}")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matches_reference(gpu: Emulated | Real, size: tuple[int, int, int, int, int]) -> None:
    _, timesteps, _, _, width = size
    met = [options for options in OPTIONS[SIZES.index(size) :: 7] if fits(timesteps, width, options)]
    assert met
    for number, options in enumerate(met):
        _assert_matches_reference(make_case(*size, **options), gpu, DTYPES[number % 3])


def test_options_match_reference(gpu: Emulated | Real) -> None:
    for options in OPTIONS[::5]:
        _assert_matches_reference(make_case(2, 13, 3, 5, 4, **options), gpu)


@every_dtype
@pytest.mark.parametrize("options", LARGE_OPTIONS, ids=str)
def test_large_matches_reference(gpu: Emulated | Real, options: dict[str, Any], dtype: str) -> None:
    for size in LARGE:
        _assert_matches_reference(make_case(*size, **options), gpu, dtype)


@pytest.mark.parametrize(
    "size", [(0, 9, 3, 5, 2), (2, 0, 3, 5, 2), (0, 0, 3, 5, 2), (2, 9, 0, 5, 2), (0, 0, 0, 1, 1)], ids=str
)
def test_empty(gpu: Emulated | Real, size: tuple[int, int, int, int, int]) -> None:
    _, timesteps, _, _, width = size
    for options in OPTIONS[::29]:
        if fits(timesteps, width, options):
            _assert_matches_reference(make_case(*size, **options), gpu)


@pytest.mark.parametrize(
    "options",
    [
        {"strides": 20},
        {"strides": 2**31 - 1, "padding": "causal"},
        {"strides": 7, "dilation_rate": 19, "padding": "same"},
        {"strides": 3, "dilation_rate": 1000, "padding": "causal"},
        {"strides": 6, "dilation_rate": 4, "padding": "same"},
    ],
    ids=str,
)
def test_long_strides_and_dilation(gpu: Emulated | Real, options: dict[str, Any]) -> None:
    _assert_matches_reference(make_case(3, 20, 5, 17, 4, **options), gpu)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_reaches_what_sees_it(gpu: Emulated | Real, bad: float) -> None:
    """And nothing else: as in the definition."""
    for place, options in itertools.product(
        ("x", "kernel", "bias", "doutputs"), ({}, {"padding": "same", "strides": 2}, {"padding": "same", "groups": 3})
    ):
        case = make_case(3, 21, 5, 17, 3, **options)
        array = case.doutputs if place == "doutputs" else case.inputs[place]
        array[tuple(size // 2 for size in array.shape)] = bad
        with np.errstate(invalid="ignore"):
            expected = run_reference(case)
        got = _run(case, gpu)
        # A patch of dz that reaches beyond its ends has zeros there, and for those the kernel is read.
        for name in RESULTS if place != "kernel" else ("outputs",):
            np.testing.assert_array_equal(
                np.isfinite(got[name]), np.isfinite(expected[name]), err_msg=f"{place} {options} {name}"
            )


def test_sequences_do_not_depend_on_the_batch(gpu: Emulated | Real) -> None:
    case = make_case(5, 30, 5, 17, 3, padding="same", activation="tanh")
    whole = _run(case, gpu)
    for row in (0, 4):
        alone = Case({**case.inputs, "x": case.inputs["x"][row : row + 1]}, case.options, case.doutputs[row : row + 1])
        got = _run(alone, gpu)
        for name in ("outputs", "dx"):
            np.testing.assert_array_equal(got[name][0], whole[name][row], err_msg=name)


def test_same_bits_from_run_to_run(gpu: Emulated | Real) -> None:
    case = make_case(*LARGE[0], **LARGE_OPTIONS[0])
    _assert_same(_run(case, gpu), _run(case, gpu), "again")


def test_same_bits_in_any_order_of_threads(emulated: Emulated) -> None:
    case = make_case(*LARGE[0], **LARGE_OPTIONS[0])
    expected = _run(case, emulated)
    try:
        emulated.order(1)
        _assert_same(_run(case, emulated), expected, "in another order")
    finally:
        emulated.order(0)


def test_products_are_float32_for_any_precision(gpu: Emulated | Real) -> None:
    case = make_case(*SIZES[3], activation="tanh")
    expected = _run(case, gpu)
    cuda.set_precision("tf32")
    try:
        _assert_same(_run(case, gpu), expected, "tf32")
    finally:
        cuda.set_precision("float32")


def _normal(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def _forward_pooled(case: Case, window: Window, **changes: Any) -> functional.MaxPoolResult:
    pool = dict(zip(("pool_size", "pool_strides", "pool_padding"), window, strict=True))
    return functional.conv1d_max_pool_forward(**{**case.arguments, **pool, **changes})


@every_dtype
def test_pooled_is_one_after_the_other(gpu: Emulated | Real, dtype: str) -> None:
    """To the bit, but for what overlapping windows add to one gradient: each times the activation's slope, or all."""
    choices = [
        (options, window)
        for options, window in itertools.product(OPTIONS, WINDOWS)
        if fits(13, 4, options) and window_fits(output_timesteps(13, 4, options), window)
    ]
    for options, window in choices[DTYPES.index(dtype) * 100 :: 311]:
        case = _on_gpu(make_case(2, 13, 3, 5, 4, **options), gpu, dtype)
        result = _forward_pooled(case, window)
        convolved = functional.conv1d_forward(**case.arguments)
        pooled = functional.max_pool_forward(convolved, *window)
        doutputs = gpu.array(_normal(tuple(result.outputs.shape)), dtype)
        pool = dict(zip(("pool_size", "pool_strides", "pool_padding"), window, strict=True))
        fused = functional.conv1d_max_pool_backward(result, doutputs, **case.arguments, **pool)
        dconvolved = functional.max_pool_backward(pooled.argmax, doutputs, convolved.shape[1], *window)
        apart = functional.conv1d_backward(convolved, dconvolved, **case.arguments)
        for got, expected in ((result.outputs, pooled.outputs), (result.argmax, pooled.argmax)):
            np.testing.assert_array_equal(gpu.numpy(got), gpu.numpy(expected), err_msg=f"{options} {window}")
        for name in ("dx", "dkernel", "dbias"):
            one, two = getattr(fused, name), getattr(apart, name)
            if two is None:
                assert one is None
            else:
                what = f"{options} {window} {name}"
                assert_close(gpu.numpy(one), gpu.numpy(two), 2 * CUDA[dtype], what)
                if window[1] is None and dtype == "float32":
                    np.testing.assert_array_equal(gpu.numpy(one), gpu.numpy(two), err_msg=what)


def test_pooled_without_argmax(gpu: Emulated | Real) -> None:
    case, window = _on_gpu(make_case(2, 13, 3, 5, 4), gpu, "float32"), (3, 2, "same")
    inference, training = _forward_pooled(case, window, save_argmax=False), _forward_pooled(case, window)
    assert inference.argmax is None
    np.testing.assert_array_equal(gpu.numpy(inference.outputs), gpu.numpy(training.outputs))


def _assert_max_pool_matches_reference(gpu: Emulated | Real, x: Any, window: Window, dtype: str = "float32") -> None:
    """Of integers, which every dtype has, and whose sums are."""
    expected = reference.max_pool_forward(x, *window)
    doutputs = small_integers(expected.outputs.shape, seed=1)
    got = functional.max_pool_forward(gpu.array(x, dtype), *window)
    dx = functional.max_pool_backward(got.argmax, gpu.array(doutputs, dtype), x.shape[1], *window)
    expected_dx = reference.max_pool_backward(expected.argmax, doutputs, x.shape[1], *window)
    assert gpu.dtype(got.outputs) == gpu.dtype(dx) == dtype
    for one, two in ((got.outputs, expected.outputs), (got.argmax, expected.argmax), (dx, expected_dx)):
        np.testing.assert_array_equal(gpu.numpy(one), two, err_msg=str(window))


@every_dtype
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 17, 7), (2, 23, 33), (0, 4, 3), (2, 0, 3), (2, 4, 0)], ids=str)
def test_max_pool_matches_reference(gpu: Emulated | Real, size: tuple[int, int, int], dtype: str) -> None:
    for window in WINDOWS[DTYPES.index(dtype) :: 3]:
        if window[2] == "same" or size[1] >= window[0]:
            _assert_max_pool_matches_reference(gpu, small_integers(size), window, dtype)


@every_nan
@every_dtype
def test_max_pool_of_special_values(gpu: Emulated | Real, dtype: str, propagate_nan: bool) -> None:
    lowest = {"float32": -(2 - 2**-23) * 2.0**127, "float16": -65504.0, "bfloat16": -(2 - 2**-7) * 2.0**127}[dtype]
    windows = {**special_windows(lowest, propagate_nan), (3, 3, 3): (3, 0)}
    x = gpu.array(np.array(list(windows), np.float32).reshape(1, -1, 1), dtype)
    result = functional.max_pool_forward(x, 3, propagate_nan=propagate_nan)
    np.testing.assert_array_equal(gpu.numpy(result.outputs).ravel(), [value for value, _ in windows.values()])
    np.testing.assert_array_equal(gpu.numpy(result.argmax).ravel(), [place for _, place in windows.values()])


@every_nan
def test_maxima_of_any_numbers_match_reference(gpu: Emulated | Real, propagate_nan: bool) -> None:
    x = any_numbers((3, 17, 7))
    for window in WINDOWS[::5]:
        expected = reference.max_pool_forward(x, *window, propagate_nan=propagate_nan)
        got = functional.max_pool_forward(gpu.array(x), *window, propagate_nan=propagate_nan)
        np.testing.assert_array_equal(gpu.numpy(got.outputs), expected.outputs, err_msg=str(window))
        np.testing.assert_array_equal(gpu.numpy(got.argmax), expected.argmax, err_msg=str(window))


@every_nan
def test_what_is_not_a_number_in_one_pass(gpu: Emulated | Real, propagate_nan: bool) -> None:
    case = make_case(3, 21, 5, 7, 3, padding="same")
    case.inputs["x"][1, 3:9, 2] = np.nan
    case, window = _on_gpu(case, gpu, "float32"), (3, 2, "same")
    expected = functional.max_pool_forward(
        functional.conv1d_forward(**case.arguments), *window, propagate_nan=propagate_nan
    )
    got = _forward_pooled(case, window, pool_propagate_nan=propagate_nan)
    assert np.isnan(gpu.numpy(got.outputs)).any() == propagate_nan
    np.testing.assert_array_equal(gpu.numpy(got.outputs), gpu.numpy(expected.outputs))
    np.testing.assert_array_equal(gpu.numpy(got.argmax), gpu.numpy(expected.argmax))


@pytest.mark.parametrize(("pool_size", "index"), [(256, "uint8"), (257, "uint16"), (65537, "int32")])
def test_argmax_has_the_smallest_dtype(gpu: Emulated | Real, pool_size: int, index: str) -> None:
    x = np.zeros((1, pool_size, 1), np.float32)
    x[0, -1] = 1
    result = functional.max_pool_forward(gpu.array(x), pool_size)
    assert gpu.dtype(result.argmax) == index
    np.testing.assert_array_equal(gpu.numpy(result.argmax), pool_size - 1)
    dx = functional.max_pool_backward(result.argmax, result.outputs, pool_size, pool_size)
    np.testing.assert_array_equal(gpu.numpy(dx), x)


def test_a_position_outside_of_the_window_gets_nothing(gpu: Emulated | Real) -> None:
    for strides in (3, 2):
        argmax = np.full((2, functional.pooled_timesteps(12, 3, strides), 17), 200, np.uint8)
        doutputs = gpu.array(np.ones(argmax.shape, np.float32))
        assert not gpu.numpy(functional.max_pool_backward(gpu.array(argmax), doutputs, 12, 3, strides)).any()


def test_large_strides_and_windows(gpu: Emulated | Real) -> None:
    for window in [(2**31 - 1, 1, "same"), (2, 2**62, "same"), (2, 2**63 - 1, "valid")]:
        _assert_max_pool_matches_reference(gpu, small_integers((2, 7, 3)), window)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": (2, 6)}, ValueError, r"^x must have shape \(batch, timesteps, channels\), got \(2, 6\)$"),
        ({"x": (2, 3, 2)}, ValueError, "^x must have at least 4 timesteps"),
        ({"bias": (5,)}, ValueError, r"^bias must have shape \(6,\), got \(5,\)$"),
    ],
)
def test_bad_shapes(
    gpu: Emulated | Real, change: dict[str, tuple[int, ...]], error: type[Exception], message: str
) -> None:
    case = make_case(2, 8, 2, 6, 4)
    case.inputs.update({name: np.zeros(shape, np.float32) for name, shape in change.items()})
    case = _on_gpu(case, gpu, "float32")
    with pytest.raises(error, match=message):
        functional.conv1d_forward(**case.arguments)
    with pytest.raises(error, match=message):
        functional.conv1d_backward(case.doutputs, case.doutputs, **case.arguments)


def test_float64_is_the_cpus(gpu: Emulated | Real) -> None:
    case = _on_gpu(make_case(2, 8, 2, 6, 4, "float64"), gpu, "float64")
    for call in (
        lambda: functional.conv1d_forward(**case.arguments),
        lambda: functional.max_pool_forward(case.doutputs, 2),
    ):
        with pytest.raises(TypeError, match=r"^x must have dtype float32, float16 or bfloat16, got float64$"):
            call()

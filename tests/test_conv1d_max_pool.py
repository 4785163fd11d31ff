"""The convolution with pooling in one pass: the same bits as convolution and pooling one after the other."""

from __future__ import annotations

import concurrent.futures
import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from conv1d_cases import OPTIONS, Case, fits, make_case, native_backward, native_forward, output_timesteps
from pool_cases import WINDOWS, Window, every_dtype, every_nan, small_integers
from pool_cases import fits as window_fits
from tolerances import FINITE_DIFFERENCE, REFERENCE, assert_close

from fastseq import functional, reference, runtime
from fastseq.functional import MaxPoolResult

# 9 and larger: more than there are timesteps, which "same" takes; and, where strides are not shorter by more than is
# missing, "valid" too, which leaves no window.
CHOICES = [
    (options, window)
    for options, window in itertools.product(OPTIONS, WINDOWS)
    if fits(13, 4, options) and window_fits(output_timesteps(13, 4, options), window)
]
SIZES = [(1, 5, 1, 1, 1), (3, 9, 1, 7, 3), (2, 12, 5, 15, 2), (3, 8, 16, 16, 4), (2, 11, 7, 17, 5), (5, 3, 31, 8, 7)]
# Work for five threads, whose shares cut windows; more pooled timesteps than a block has; a window longer than a block.
LARGE = [(17, 101, 37, 83, 5), (1, 1700, 37, 83, 5), (37, 12, 24, 40, 4)]
LARGE_WINDOWS: list[Window] = [
    (4, None, "valid"),
    (3, 2, "same"),
    (2, 5, "same"),
    (7, 1, "valid"),
    (90, 40, "same"),
    (300, 7, "same"),
]


class Results(NamedTuple):
    outputs: Any
    argmax: Any
    dx: Any
    dkernel: Any
    dbias: Any


def _doutputs(outputs: Any) -> Any:
    return np.random.default_rng(1).standard_normal(outputs.shape).astype(outputs.dtype)


def _forward(case: Case, window: Window, **changes: Any) -> MaxPoolResult:
    pool = dict(zip(("pool_size", "pool_strides", "pool_padding"), window, strict=True))
    return functional.conv1d_max_pool_forward(**{**case.arguments, **pool, **changes})


def _backward(case: Case, window: Window, result: Any, doutputs: Any, **changes: Any) -> Any:
    pool = dict(zip(("pool_size", "pool_strides", "pool_padding"), window, strict=True))
    return functional.conv1d_max_pool_backward(result, doutputs, **{**case.arguments, **pool, **changes})


def _fused(case: Case, window: Window) -> Results:
    result = _forward(case, window)
    gradients = _backward(case, window, result, _doutputs(result.outputs))
    return Results(result.outputs, result.argmax, gradients.dx, gradients.dkernel, gradients.dbias)


def _one_after_the_other(case: Case, window: Window) -> Results:
    convolved = native_forward(case)
    outputs, argmax = (getattr(functional.max_pool_forward(convolved, *window), name) for name in Results._fields[:2])
    doutputs = functional.max_pool_backward(argmax, _doutputs(outputs), convolved.shape[1], *window)
    gradients = native_backward(case, convolved, doutputs=doutputs)
    return Results(outputs, argmax, gradients.dx, gradients.dkernel, gradients.dbias)


def _assert_same(case: Case, window: Window) -> None:
    """The same bits, except for what overlapping windows add to one gradient: each multiplied by the activation's slope
    first, or the sum of all of them."""
    got, expected = _fused(case, window), _one_after_the_other(case, window)
    pool_size, strides, _ = window
    overlap = strides is not None and strides < pool_size
    for name, one, two in zip(Results._fields, got, expected, strict=True):
        what = f"{case.options} {window} {name}"
        if two is None:
            assert one is None, what
            continue
        assert one.dtype == two.dtype, what
        if overlap and name.startswith("d"):
            assert_close(one, two, REFERENCE[two.dtype.name], what)
        else:
            np.testing.assert_array_equal(one, two, err_msg=what)


@every_dtype
def test_options_have_the_bits_of_one_after_the_other(isa: str, dtype: str) -> None:
    # 37 shares no factor with the number of values of any option.
    for options, window in CHOICES[::37]:
        _assert_same(make_case(2, 13, 3, 5, 4, dtype, **options), window)


@every_dtype
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes_have_the_bits_of_one_after_the_other(isa: str, size: tuple[int, int, int, int, int], dtype: str) -> None:
    for window, padding in itertools.product(WINDOWS, ("same", "valid")):
        if fits(size[1], size[4], {"padding": padding}) and window_fits(size[1], window):
            case = make_case(*size, dtype, padding=padding, activation="tanh")
            if window_fits(native_forward(case).shape[1], window):
                _assert_same(case, window)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", LARGE, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu"},
        {"padding": "causal", "dilation_rate": 3, "strides": 2, "activation": "tanh", "bias": False},
    ],
    ids=str,
)
def test_large_has_the_bits_of_one_after_the_other(
    size: tuple[int, int, int, int, int], options: dict[str, Any], dtype: str
) -> None:
    runtime.set_num_threads(3)
    case = make_case(*size, dtype, **options)
    for window in LARGE_WINDOWS:
        if window_fits(native_forward(case).shape[1], window):
            _assert_same(case, window)


@every_dtype
def test_weights_from_few_elements_have_the_bits_of_one_after_the_other(isa: str, dtype: str) -> None:
    """Windows that leave few elements of the gradient, and patches of several panels, one, and a part of one."""
    runtime.set_num_threads(3)
    for size, options in [
        ((3, 310, 100, 21, 5), {"activation": "relu"}),
        ((5, 75, 33, 5, 3), {"activation": "linear", "groups": 2, "strides": 2}),
        ((1, 140, 97, 18, 1), {"activation": "tanh", "strides": 3, "bias": False}),
        ((2, 47, 5, 9, 20), {"activation": "relu", "groups": 3}),
    ]:
        case = make_case(*size, dtype, **options)
        for window in [(3, None, "valid"), (4, 6, "same"), (22, None, "same")]:
            _assert_same(case, window)


def test_positions_outside_of_their_windows_count_for_nothing() -> None:
    case = make_case(2, 150, 40, 7, 5, activation="linear")
    for window in [(4, None, "same"), (300, None, "same")]:
        result = _forward(case, window)
        result.argmax[:] = np.iinfo(result.argmax.dtype).max
        gradients = _backward(case, window, result, _doutputs(result.outputs))
        for gradient in (gradients.dx, gradients.dkernel, gradients.dbias):
            assert not gradient.any()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("window", LARGE_WINDOWS, ids=str)
@pytest.mark.parametrize("size", LARGE, ids=str)
def test_same_bits_for_any_threads_and_isa(size: tuple[int, int, int, int, int], window: Window, padding: str) -> None:
    case = make_case(*size, padding=padding, strides=2 if size[0] == 1 else 1, activation="relu")
    if not window_fits(native_forward(case).shape[1], window):
        pytest.skip("the window is longer than the sequence")
    runtime.set_isa("scalar")
    runtime.set_num_threads(1)
    expected = _fused(case, window)
    for isa, threads in itertools.product(runtime.available_isas(), (1, 2, 3, 5)):
        if isa == "scalar" and threads != 3:
            continue  # slow, and done
        runtime.set_isa(isa)
        runtime.set_num_threads(threads)
        for name, got, array in zip(Results._fields, _fused(case, window), expected, strict=True):
            np.testing.assert_array_equal(got, array, err_msg=f"{isa} {threads} {name}")


def test_backward_matches_finite_difference() -> None:
    for options, window in CHOICES[5::811]:
        case = make_case(2, 13, 2, 2, 4, "float64", **options)
        result = _forward(case, window)
        doutputs = _doutputs(result.outputs)
        gradients = _backward(case, window, result, doutputs)
        rng = np.random.default_rng(2)
        for name, array in case.inputs.items():
            if array is None:
                continue
            direction = rng.standard_normal(array.shape)
            above, below = (
                (doutputs * _forward(case, window, **{name: array + step * direction}).outputs).sum()
                for step in (1e-6, -1e-6)
            )
            got = (getattr(gradients, f"d{name}") * direction).sum()
            assert_close(got, (above - below) / 2e-6, FINITE_DIFFERENCE, f"{options} {window} {name}")


@every_dtype
def test_ties_go_to_the_first(isa: str, dtype: str) -> None:
    """Of small integers and of relu's zeros there are many; the definition, which has no rounding here, says which."""
    x, kernel = small_integers((3, 23, 4), dtype), small_integers((3, 4, 17), dtype, seed=1)
    for activation, window in itertools.product(("relu", "linear"), LARGE_WINDOWS[:4]):
        case = Case({"x": x, "kernel": kernel, "bias": None}, {"activation": activation}, None)
        got = _forward(case, window)
        convolved = reference.conv1d_forward(**case.arguments)
        expected = reference.max_pool_forward(convolved, *window)
        np.testing.assert_array_equal(got.outputs, expected.outputs)
        np.testing.assert_array_equal(got.argmax, expected.argmax)
        assert activation == "linear" or not expected.outputs.all()
        _assert_same(case, window)


def test_relu_passes_no_gradient_to_zeros(isa: str) -> None:
    case = make_case(2, 12, 3, 17, 3, activation="relu")
    case.inputs["bias"][:9] = -100
    case.inputs["bias"][9:] = 100
    got = _fused(case, (2, None, "valid"))
    assert not got.dkernel[..., :9].any()
    assert not got.dbias[:9].any()
    assert got.dkernel[..., 9:].all()


@every_nan
def test_what_is_not_a_number(isa: str, propagate_nan: bool) -> None:
    case = make_case(3, 21, 5, 17, 3, padding="same")
    case.inputs["x"][1, 3:9, 2] = np.nan
    case.inputs["x"][2, 5] = np.inf
    for window in LARGE_WINDOWS:
        if not window_fits(21, window):
            continue
        with np.errstate(invalid="ignore"):
            expected = functional.max_pool_forward(native_forward(case), *window, propagate_nan=propagate_nan)
        got = _forward(case, window, pool_propagate_nan=propagate_nan)
        inference = _forward(case, window, pool_propagate_nan=propagate_nan, save_argmax=False)
        assert np.isnan(got.outputs).any() == propagate_nan
        np.testing.assert_array_equal(got.outputs, expected.outputs)
        np.testing.assert_array_equal(got.argmax, expected.argmax)
        np.testing.assert_array_equal(inference.outputs, expected.outputs)


def test_no_argmax_for_inference(isa: str) -> None:
    case = make_case(2, 23, 3, 17, 3, activation="relu")
    for window in WINDOWS:
        inference = _forward(case, window, save_argmax=False)
        assert inference.argmax is None
        np.testing.assert_array_equal(inference.outputs, _forward(case, window).outputs)


@pytest.mark.parametrize(("pool_size", "index"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "int32")])
def test_argmax_has_the_smallest_dtype(isa: str, pool_size: int, index: str) -> None:
    case = make_case(1, pool_size + 7, 1, 2, 1)
    _assert_same(case, (pool_size, None, "same"))
    assert _forward(case, (pool_size, None, "same")).argmax.dtype == index


@every_dtype
@pytest.mark.parametrize("size", [(0, 9, 3, 5, 2), (2, 0, 3, 5, 2), (0, 0, 3, 5, 2), (2, 9, 0, 5, 2)], ids=str)
def test_empty(isa: str, size: tuple[int, int, int, int, int], dtype: str) -> None:
    for window in [(2, None, "valid"), (3, 1, "same"), (2, 5, "same")]:
        case = make_case(*size, dtype, padding="same")
        _assert_same(case, window)
        if size[0] * size[1] == 0:
            got = _fused(case, window)
            assert not got.outputs.size
            assert not got.dkernel.any()
            assert not got.dbias.any()


def test_no_window_left(isa: str) -> None:
    case = make_case(2, 5, 3, 17, 3)  # three timesteps of the convolution
    got = _fused(case, (5, 2, "valid"))
    assert got.outputs.shape == got.argmax.shape == (2, 0, 17)
    for array, like in ((got.dx, "x"), (got.dkernel, "kernel"), (got.dbias, "bias")):
        np.testing.assert_array_equal(array, np.zeros_like(case.inputs[like]))


def test_large_windows_and_strides() -> None:
    case = make_case(2, 7, 3, 5, 2, activation="relu")
    for window in [(2**31 - 1, 1, "same"), (2, 2**62, "same"), (2, 2**63 - 1, "valid"), (2**31 - 1, 2**62, "valid")]:
        _assert_same(case, window)


def test_empty_batch_takes_no_memory() -> None:
    """However long the sequences and windows: with a batch of one, scratch would be of more than any memory."""
    case = make_case(0, 2**30, 1, 2**16, 1)
    got = _fused(case, (2**31 - 1, None, "same"))
    assert got.outputs.shape == (0, 1, 2**16)
    np.testing.assert_array_equal(got.dkernel, np.zeros((1, 1, 2**16)))
    assert native_backward(case, native_forward(case)).dx.shape == (0, 2**30, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pool_size": 0}, ValueError, "^pool_size must be at least 1, got 0$"),
        ({"pool_size": 2**31}, ValueError, "^pool_size must be at most 2147483647, got 2147483648$"),
        ({"pool_size": 2.0}, TypeError, "^pool_size must be an int, got float$"),
        ({"pool_size": None}, TypeError, "^pool_size must be an int, got NoneType$"),
        ({"pool_strides": 0}, ValueError, "^pool_strides must be at least 1, got 0$"),
        ({"pool_strides": -1}, ValueError, "^pool_strides must be at least 1, got -1$"),
        ({"pool_strides": "2"}, TypeError, "^pool_strides must be an int, got str$"),
        ({"pool_padding": "causal"}, ValueError, "^pool_padding must be 'valid' or 'same', got 'causal'$"),
        ({"pool_padding": "full"}, ValueError, "^pool_padding must be .*, got 'full'$"),
        ({"pool_size": 9, "pool_strides": 2}, ValueError, "^timesteps must be at least 7 for pool_size 9 with "
         "pool_strides 2 and pool_padding 'valid', got 6$"),
        ({"strides": 0}, ValueError, "^strides must be at least 1, got 0$"),
        ({"padding": "full"}, ValueError, "^padding must be one of valid, same, causal, got 'full'$"),
        ({"activation": "gelu"}, ValueError, "^activation must be one of"),
        ({"x": None}, ValueError, "^x is required, got None$"),
        ({"x": np.zeros((2, 2, 4), np.float32)}, ValueError, "^x must have at least 3 timesteps"),
        ({"x": np.zeros((2, 8, 4), np.float16)}, TypeError, "^x must have dtype float32 or float64, got float16$"),
    ],
)  # fmt: skip
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    case, window = make_case(2, 8, 4, 7, 3), WINDOWS[8]
    result = _forward(case, window)
    with pytest.raises(error, match=message):
        _forward(case, window, **change)
    with pytest.raises(error, match=message):
        _backward(case, window, result, _doutputs(result.outputs), **change)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("argmax", np.zeros((2, 3, 7), np.int16), TypeError, "must have dtype uint8, uint16 or int32, got int16"),
        ("argmax", np.zeros((2, 3, 7), np.uint16), TypeError, "must have dtype uint8, got uint16"),
        ("argmax", np.zeros((2, 3, 6), np.uint8), ValueError, r"must have shape \(2, 3, 7\), got \(2, 3, 6\)"),
        ("argmax", None, ValueError, "is required, got None"),
        ("outputs", np.zeros((2, 6, 7), np.float32), ValueError, r"must have shape \(2, 3, 7\), got \(2, 6, 7\)"),
        ("outputs", None, ValueError, "is required, got None"),
        ("doutputs", np.zeros((2, 6, 7), np.float32), ValueError, r"must have shape \(2, 3, 7\), got \(2, 6, 7\)"),
        ("doutputs", np.zeros((2, 3, 7)), TypeError, "must have dtype float32, got float64"),
    ],
)
def test_bad_backward_input(name: str, value: Any, error: type[Exception], message: str) -> None:
    case, window = make_case(2, 8, 4, 7, 3), (2, None, "valid")
    result = _forward(case, window)
    arrays = {"outputs": result.outputs, "argmax": result.argmax, "doutputs": _doutputs(result.outputs), name: value}
    with pytest.raises(error, match=f"^{name} {message}$"):
        _backward(case, window, MaxPoolResult(arrays["outputs"], arrays["argmax"]), arrays["doutputs"])


def test_the_result_of_something_else() -> None:
    case = make_case(2, 8, 4, 7, 3)
    outputs = native_forward(case)
    with pytest.raises(TypeError, match=r"^result must be the MaxPoolResult of .*, got ndarray$"):
        _backward(case, (2, None, "valid"), outputs, outputs)


def test_a_position_outside_of_the_window_gets_nothing(isa: str) -> None:
    case = make_case(2, 14, 3, 17, 3)
    for strides in (3, 2):
        result = _forward(case, (3, strides, "valid"))
        nowhere = MaxPoolResult(result.outputs, np.full_like(result.argmax, 200))
        gradients = _backward(case, (3, strides, "valid"), nowhere, _doutputs(result.outputs))
        assert not any(np.any(array) for array in (gradients.dx, gradients.dkernel, gradients.dbias))


def test_inputs_are_not_written_to() -> None:
    case = make_case(*LARGE[0], padding="same", activation="relu")
    arrays = list(case.inputs.values())
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    _fused(case, (3, 2, "same"))
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_many_python_threads_at_once() -> None:
    case = make_case(*LARGE[0], activation="relu")
    expected = _fused(case, (3, 2, "same"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: _fused(case, (3, 2, "same")), range(16)):
            for name, one, two in zip(Results._fields, got, expected, strict=True):
                np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize("pool_size", [7, 40, 128, 300])
def test_windows_that_overlap_by_much(pool_size: int) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 500, 9), np.float32), rng.standard_normal((5, 9, 10), np.float32)
    outputs = functional.max_pool_forward(functional.conv1d_forward(x, kernel), pool_size, 1)
    pooled = functional.conv1d_max_pool_forward(x, kernel, None, pool_size, 1)
    np.testing.assert_array_equal(pooled.outputs, outputs.outputs)
    np.testing.assert_array_equal(pooled.argmax, outputs.argmax)

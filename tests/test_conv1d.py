"""The convolution: the definition against finite differences, and the kernels against the definition."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conv1d_cases import (
    ACTIVATIONS,
    OPTIONS,
    RESULTS,
    Case,
    fits,
    make_case,
    native_backward,
    native_forward,
    reference_backward,
    reference_forward,
    run_native,
    run_reference,
)
from kernel_checks import (
    assert_no_bias_is_zero,
    assert_same_bits,
    assert_same_in_python_threads,
    assert_works_in_a_forked_child,
    finite_difference,
)
from processes import run_python
from tolerances import FINITE_DIFFERENCE, REFERENCE, assert_close

from fastseq import functional, runtime

# (batch, timesteps, channels, filters, width), channels and filters of one group: 1; around a vector of 8 and of 16;
# primes; columns beyond whole vectors in both directions; a kernel wider than the sequence; strides longer than it.
SIZES = [
    (1, 1, 1, 1, 1),
    (3, 9, 1, 7, 3),
    (2, 12, 5, 15, 2),
    (3, 8, 16, 16, 4),
    (2, 11, 7, 17, 5),
    (5, 3, 31, 8, 7),
    (2, 2, 3, 23, 2),
]
# Large enough that every thread of five gets work: rows and steps; the steps of one sequence; more weights than are
# summed in two parts of the batch; a batch in four parts.
# The last three: kernels of few filters, of more, and a large one, over many short sequences.
LARGE = [
    (17, 101, 37, 83, 5),
    (1, 1700, 37, 83, 5),
    (6, 20, 128, 420, 5),
    (130, 24, 37, 80, 3),
    (37, 7, 24, 40, 4),
    (37, 7, 24, 136, 4),
    (67, 9, 64, 1030, 4),
]
SOME_OPTIONS: list[dict[str, Any]] = [
    {},
    {"padding": "same", "activation": "tanh"},
    {"padding": "causal", "dilation_rate": 3, "activation": "sigmoid"},
    {"padding": "same", "strides": 2, "activation": "relu", "bias": False},
    {"padding": "same", "strides": 3, "dilation_rate": 2, "groups": 2, "activation": "hard_sigmoid"},
]
MOST = 2**31 - 1  # of strides, dilation_rate and groups

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
some_options = pytest.mark.parametrize("options", SOME_OPTIONS, ids=str)


def _assert_matches_reference(case: Case) -> None:
    got, expected = run_native(case), run_reference(case)
    dtype = case.inputs["x"].dtype.name
    for name in RESULTS:
        if expected[name] is None:
            assert got[name] is None
            continue
        assert got[name].dtype == dtype
        assert_close(got[name], expected[name], REFERENCE[dtype], f"{case.options} {name}")


def _assert_same_bits(case: Case, isas: list[str], threads: tuple[int, ...]) -> None:
    assert_same_bits(lambda: run_native(case), isas, threads, case.options)


def _assert_matches_finite_difference(case: Case, forward: Callable[[Case], Any], gradients: Any) -> None:
    def loss() -> float:
        return float((case.doutputs * forward(case)).sum())

    for name, array in case.inputs.items():
        if array is None:
            assert getattr(gradients, f"d{name}") is None
            continue
        difference = finite_difference(loss, array)
        assert_close(getattr(gradients, f"d{name}"), difference, FINITE_DIFFERENCE, f"{case.options} {name}")


def test_reference_matches_finite_difference() -> None:
    for options in OPTIONS[::7]:
        if fits(6, 3, options):
            case = make_case(2, 6, 2, 1, 3, "float64", **options)
            gradients = reference_backward(case, reference_forward(case))
            _assert_matches_finite_difference(case, reference_forward, gradients)


def test_backward_matches_finite_difference() -> None:
    for options in OPTIONS[3::37]:
        if fits(7, 3, options):
            case = make_case(2, 7, 2, 2, 3, "float64", **options)
            _assert_matches_finite_difference(case, native_forward, native_backward(case, native_forward(case)))


@every_dtype
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matches_reference(isa: str, size: tuple[int, int, int, int, int], dtype: str) -> None:
    _, timesteps, _, _, width = size
    met = [options for options in OPTIONS[SIZES.index(size) :: 7] if fits(timesteps, width, options)]
    assert met
    for options in met:
        _assert_matches_reference(make_case(*size, dtype, **options))


@every_dtype
def test_every_combination_of_options_matches_reference(isa: str, dtype: str) -> None:
    for options in OPTIONS:
        _assert_matches_reference(make_case(2, 13, 3, 5, 4, dtype, **options))


@every_dtype
@pytest.mark.parametrize("count", [7, 15, 16, 17, 23, 31, 55, 100])
def test_channels_around_a_vector_match_reference(isa: str, count: int, dtype: str) -> None:
    # Both ways round, as backward's products have the channels as columns; 130 is more than a product's block of depth.
    for channels, filters in ((count, 130), (130, count)):
        _assert_matches_reference(make_case(2, 5, channels, filters, 2, dtype, padding="same"))


@some_options
@pytest.mark.parametrize("size", LARGE, ids=str)
def test_large_matches_reference(size: tuple[int, int, int, int, int], options: dict[str, Any]) -> None:
    runtime.set_num_threads(5)
    _assert_matches_reference(make_case(*size, **options))


@pytest.mark.parametrize("size", LARGE, ids=str)
def test_large_float64_matches_reference(size: tuple[int, int, int, int, int]) -> None:
    runtime.set_num_threads(3)
    _assert_matches_reference(make_case(*size, "float64", padding="same", activation="tanh"))


@some_options
@pytest.mark.parametrize("size", LARGE, ids=str)
def test_same_bits_for_any_threads_and_isa(size: tuple[int, int, int, int, int], options: dict[str, Any]) -> None:
    case = make_case(*size, **options)
    _assert_same_bits(case, [isa for isa in runtime.available_isas() if isa != "scalar"], (1, 2, 3, 5))


def test_scalar_kernels_have_the_same_bits_for_any_threads() -> None:
    for dtype in ("float32", "float64"):
        _assert_same_bits(make_case(*LARGE[0], dtype, padding="same", activation="tanh"), ["scalar"], (2, 3, 5))


def test_options_have_the_same_bits_on_every_isa() -> None:
    isas = [isa for isa in runtime.available_isas() if isa != "scalar"]
    for options in OPTIONS:
        _assert_same_bits(make_case(2, 13, 17, 19, 4, **options), isas, (1,))


def test_same_bits_on_fewer_threads_than_were_asked_for() -> None:
    """A team that OpenMP does not give in full."""
    code = f"""
import sys, numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conv1d_cases import make_case, run_native
from fastseq import runtime
from fastseq._libraries import core
core.allow_oversubscription(True)
runtime.set_num_threads(5)
for array in run_native(make_case(*{LARGE[0]})).values():
    print(array.tobytes().hex())
"""
    done = run_python(code, OMP_THREAD_LIMIT="2", FASTSEQ_ISA=runtime.isa())
    assert done.returncode == 0, done.stderr[-2000:]
    runtime.set_num_threads(1)
    expected = run_native(make_case(*LARGE[0]))
    for line, name in zip(done.stdout.split(), RESULTS, strict=True):
        assert line == expected[name].tobytes().hex(), name


def test_sequences_do_not_depend_on_the_batch(isa: str) -> None:
    case = make_case(7, 9, 5, 17, 3, padding="same", activation="tanh")
    whole = run_native(case)
    for row in range(7):
        alone = Case({**case.inputs, "x": case.inputs["x"][row : row + 1]}, case.options, case.doutputs[row : row + 1])
        got = run_native(alone)
        for name in ("outputs", "dx"):
            np.testing.assert_array_equal(got[name][0], whole[name][row], err_msg=name)


@pytest.mark.parametrize("options", [{}, {"strides": 3}, {"dilation_rate": 2}, {"groups": 2}], ids=str)
def test_causal_outputs_do_not_depend_on_later_steps(isa: str, options: dict[str, int]) -> None:
    case = make_case(2, 150, 5, 17, 4, padding="causal", **options)
    whole = native_forward(case)
    for steps in (1, 2, 3, 50, 149):
        got = native_forward(case, x=case.inputs["x"][:, :steps].copy())
        assert got.shape[1] > 0
        np.testing.assert_array_equal(got, whole[:, : got.shape[1]])


def test_no_bias_is_a_bias_of_zero(isa: str) -> None:
    case = make_case(2, 9, 5, 17, 3)
    assert_no_bias_is_zero(lambda: run_native(case), case.inputs)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "same", "strides": 2},
        {"padding": "causal", "dilation_rate": 2},
        {"padding": "same", "groups": 3},
    ],
    ids=str,
)
def test_what_is_not_finite_reaches_what_sees_it(isa: str, bad: float, options: dict[str, Any]) -> None:
    """And nothing else: as in the definition."""
    for place in ("x", "kernel", "bias", "doutputs"):
        case = make_case(3, 21, 5, 17, 3, **options)
        array = case.doutputs if place == "doutputs" else case.inputs[place]
        array[tuple(size // 2 for size in array.shape)] = bad
        with np.errstate(invalid="ignore"):
            expected = run_reference(case)
        reached = {name: ~np.isfinite(array) for name, array in expected.items()}
        assert sum(map(np.any, reached.values())) > 0
        got = run_native(case)
        # A patch of dz that reaches beyond its ends has zeros there, and for those the kernel is read.
        for name in RESULTS if place != "kernel" else ("outputs",):
            np.testing.assert_array_equal(~np.isfinite(got[name]), reached[name], err_msg=f"{place} {name}")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_what_is_not_finite(isa: str, activation: str) -> None:
    bias = np.array([np.nan, np.inf, -np.inf, 0], np.float32)
    case = make_case(2, 3, 5, 4, 1, activation=activation)
    case.inputs["bias"] = bias
    got = native_forward(case)
    assert np.isnan(got[..., 0]).all()
    tolerance = REFERENCE["float32"]
    np.testing.assert_allclose(got, reference_forward(case), tolerance, tolerance)


@every_dtype
@pytest.mark.parametrize(
    "size", [(0, 9, 3, 5, 2), (2, 0, 3, 5, 2), (0, 0, 3, 5, 2), (2, 9, 0, 5, 2), (0, 0, 0, 1, 1)], ids=str
)
def test_empty(isa: str, size: tuple[int, int, int, int, int], dtype: str) -> None:
    _, timesteps, _, _, width = size
    met = [options for options in OPTIONS if "activation" not in options and fits(timesteps, width, options)]
    assert met
    for options in met:
        _assert_matches_reference(make_case(*size, dtype, **options))


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("strides", [19, 20, 21, 1000, MOST])
def test_strides_longer_than_the_sequence(isa: str, strides: int, padding: str) -> None:
    _assert_matches_reference(make_case(3, 20, 5, 17, 4, padding=padding, strides=strides))


def test_long_strides(isa: str) -> None:
    """Work and memory follow the steps that the kernel meets, not the strides."""
    for strides, width, dilation_rate in ((50_000, 3, 1), (49_999, 40, 1), (50_000, 7, 4_000), (33_334, 3, 10_000)):
        options = {"strides": strides, "dilation_rate": dilation_rate, "padding": "same"}
        _assert_matches_reference(make_case(3, 100_000, 2, 3, width, **options))


@pytest.mark.parametrize("dilation_rate", [18, 19, 20, 1000])
def test_dilation_longer_than_the_sequence(isa: str, dilation_rate: int) -> None:
    for padding, strides in itertools.product(("same", "causal"), (1, 2, 3)):
        options = {"padding": padding, "strides": strides, "dilation_rate": dilation_rate}
        _assert_matches_reference(make_case(3, 20, 5, 17, 3, **options))


@pytest.mark.parametrize(
    ("padding", "strides", "tap"), [("causal", 1, 2), ("causal", 2, 2), ("causal", MOST, 2), ("same", 1, 1)]
)
def test_the_longest_dilation(isa: str, padding: str, strides: int, tap: int) -> None:
    """One tap meets the sequence. (The definition has not the memory for what the others meet.)"""
    wide = make_case(3, 20, 5, 17, 3, padding=padding, strides=strides, dilation_rate=MOST)
    narrow = Case({**wide.inputs, "kernel": wide.inputs["kernel"][tap : tap + 1]}, {"strides": strides}, wide.doutputs)
    got, expected = run_native(wide), run_reference(narrow)
    assert not np.delete(got["dkernel"], tap, 0).any()
    got["dkernel"] = got["dkernel"][tap : tap + 1]
    for name in RESULTS:
        assert_close(got[name], expected[name], REFERENCE["float32"], name)


def _valid() -> Case:
    return make_case(2, 6, 2, 3, 4, groups=2)


def _float(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": _float(6, 4)}, ValueError, r"^x must have shape \(batch, timesteps, channels\), got \(6, 4\)$"),
        ({"x": _float(2, 6, 4, 1)}, ValueError, r"^x must have shape .*, got \(2, 6, 4, 1\)$"),
        ({"x": _float(2, 6, 4, 1, 1)}, ValueError, r"^x must have shape .*, got \(2, 6, 4, 1, 1\)$"),
        ({"x": _float(2, 6, 6)}, ValueError, r"^kernel must have shape \(4, 3, 6\), got \(4, 2, 6\)$"),
        ({"x": _float(2, 3, 4)}, ValueError, "^x must have at least 4 timesteps for a kernel of width 4 with "
         "dilation_rate 1 and padding 'valid', got 3$"),
        ({"x": _float(2, 0, 4)}, ValueError, "^x must have at least 4 timesteps .*, got 0$"),
        ({"dilation_rate": 2}, ValueError, "^x must have at least 7 timesteps .* dilation_rate 2 .*, got 6$"),
        ({"kernel": _float(4, 6)}, ValueError, r"^kernel must have shape \(kernel_size, channels / groups, filters\), "
         r"got \(4, 6\)$"),
        ({"kernel": _float(4, 4, 6)}, ValueError, r"^kernel must have shape \(4, 2, 6\), got \(4, 4, 6\)$"),
        ({"kernel": _float(0, 2, 6)}, ValueError, r"^kernel must have shape \(at least 1, .*\), got \(0, 2, 6\)$"),
        ({"kernel": _float(4, 2, 0)}, ValueError, r"^kernel must have shape .*, at least 1\), got \(4, 2, 0\)$"),
        ({"kernel": None}, ValueError, "^kernel is required, got None$"),
        ({"x": None}, ValueError, "^x is required, got None$"),
        ({"bias": _float(5)}, ValueError, r"^bias must have shape \(6,\), got \(5,\)$"),
        ({"bias": _float(1, 6)}, ValueError, r"^bias must have shape \(6,\), got \(1, 6\)$"),
        ({"bias": _float(0)}, ValueError, r"^bias must have shape \(6,\), got \(0,\)$"),
        ({"groups": 3}, ValueError, "^groups must divide the channels of x, 4, and the filters of kernel, 6; got 3$"),
        ({"groups": 4}, ValueError, "^groups must divide the channels of x, 4, and the filters of kernel, 6; got 4$"),
        ({"padding": "full"}, ValueError, "^padding must be one of valid, same, causal, got 'full'$"),
        ({"activation": "gelu"}, ValueError, "^activation must be one of tanh, sigmoid, hard_sigmoid, relu, linear, "
         "got 'gelu'$"),
        *(
            ({name: value}, ValueError, f"^{name} must be {bound}, got {value}$")
            for name in ("strides", "dilation_rate", "groups")
            for value, bound in (
                (0, "at least 1"),
                (-1, "at least 1"),
                (MOST + 1, f"at most {MOST}"),
                (2**62, f"at most {MOST}"),
            )
        ),
        ({"x": _float(2, 6, 4, dtype=np.float16)}, TypeError, "^x must have dtype float32 or float64, got float16$"),
        ({"x": _float(2, 6, 4, dtype=np.int32)}, TypeError, "^x must have dtype float32 or float64, got int32$"),
        ({"x": _float(2, 6, 4, dtype=bool)}, TypeError, "^x must have dtype float32 or float64, got bool$"),
        ({"x": _float(2, 6, 4, dtype=">f4")}, TypeError, "^x must have dtype float32 or float64, got >f4$"),
        ({"x": _float(2, 6, 4, dtype=np.float64)}, TypeError, "^kernel must have dtype float64, got float32$"),
        ({"kernel": _float(4, 2, 6, dtype=np.float64)}, TypeError, "^kernel must have dtype float32, got float64$"),
        ({"bias": _float(6, dtype=np.float64)}, TypeError, "^bias must have dtype float32, got float64$"),
        ({"x": [[[0.0]]]}, TypeError, "^x must be a numpy.ndarray, got list$"),
        ({"x": _float(2, 4, 6).swapaxes(1, 2)}, ValueError, "^x must be C-contiguous, got strides"),
        ({"x": _float(2, 12, 4)[:, ::2]}, ValueError, "^x must be C-contiguous, got strides"),
        ({"kernel": _float(4, 2, 12)[:, :, ::2]}, ValueError, "^kernel must be C-contiguous, got strides"),
        ({"bias": _float(6)[::-1]}, ValueError, "^bias must be C-contiguous, got strides"),
        ({"bias": np.frombuffer(b"\0" * 25, np.uint8)[1:].view(np.float32)}, ValueError, "^bias must be aligned"),
    ],
)  # fmt: skip
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    case = _valid()
    with pytest.raises(error, match=message):
        native_forward(case, **change)
    with pytest.raises(error, match=message):
        native_backward(case, case.doutputs, **change)


@pytest.mark.parametrize("name", ["outputs", "doutputs"])
def test_bad_backward_input(name: str) -> None:
    case = _valid()
    outputs = native_forward(case)
    assert outputs.shape == (2, 3, 6)
    for change, error, message in (
        (_float(2, 4, 6), ValueError, r"must have shape \(2, 3, 6\), got \(2, 4, 6\)"),
        (_float(2, 18), ValueError, r"must have shape \(2, 3, 6\), got \(2, 18\)"),
        (_float(2, 3, 6, dtype=np.float64), TypeError, "must have dtype float32, got float64"),
        (_float(2, 6, 3).swapaxes(1, 2), ValueError, "must be C-contiguous"),
        (None, ValueError, "is required, got None"),
    ):
        with pytest.raises(error, match=f"^{name} {message}"):
            native_backward(case, **{"outputs": outputs, name: change})


def test_outputs_too_large_for_memory() -> None:
    x, kernel = _float(2**23, 2**23, 0), _float(1, 0, 2)
    with pytest.raises(MemoryError):
        functional.conv1d_forward(x, kernel)


@some_options
def test_inputs_are_not_written_to(options: dict[str, Any]) -> None:
    case = make_case(*SIZES[-2], **{**options, "padding": "same"})
    arrays = [array for array in (*case.inputs.values(), case.doutputs) if array is not None]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    run_native(case)
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("size", LARGE, ids=str)
def test_many_python_threads_at_once(size: tuple[int, int, int, int, int]) -> None:
    case = make_case(*size, padding="same", activation="relu")
    assert_same_in_python_threads(lambda: run_native(case), RESULTS, 16)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_works_in_a_forked_child() -> None:
    assert_works_in_a_forked_child(lambda: run_native(make_case(*LARGE[0]))["dkernel"])

"""lstm_forward and lstm_backward of the kernels."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
import pickle
from typing import Any

import numpy as np
import pytest
from lstm_cases import BACKWARD, FORWARD, make_case, run_native, run_reference
from tolerances import FINITE_DIFFERENCE, REFERENCE, assert_close

from fastseq import functional, runtime

# (batch, timesteps, inputs, units): 1; around a vector of 8 and of 16; primes; more rows and columns than a tile.
SIZES = [(1, 1, 1, 1), (3, 5, 7, 15), (2, 4, 16, 16), (5, 7, 9, 17), (7, 3, 31, 8), (13, 11, 20, 55)]
OPTIONS = [
    dict(
        zip(
            ("masked", "go_backwards", "zero_output_for_mask", "return_sequences", "dropout", "recurrent_dropout"),
            flags,
            strict=True,
        )
    )
    for flags in itertools.product(*[(False, True)] * 4, (0, 1, 4), (0, 1, 4))
]
# Large enough that every thread of four gets work.
LARGE = (33, 40, 70, 75)


def _assert_matches_reference(case: Any, dtype: str) -> None:
    got, expected = run_native(case), run_reference(case)
    for name in (*FORWARD, *BACKWARD):
        if got[name] is not None:
            assert got[name].dtype == dtype
            assert_close(got[name], expected[name], REFERENCE[dtype], name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_matches_reference(isa: str, size: tuple[int, int, int, int], dtype: str) -> None:
    for options in OPTIONS:
        _assert_matches_reference(make_case(*size, dtype, **options), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_matches_reference(isa: str, dtype: str) -> None:
    _assert_matches_reference(make_case(*LARGE, dtype, masked=True), dtype)


def test_depth_beyond_one_block_matches_reference(isa: str) -> None:
    # Products deeper than the kernels' block of 128, in every operand.
    _assert_matches_reference(make_case(2, 3, 300, 140), "float32")


def test_backward_matches_finite_difference() -> None:
    case = make_case(2, 3, 2, 3, "float64", masked=True, dropout=4, recurrent_dropout=4, seed=3)
    arguments = {**case.weights, **case.states, **case.masks, **case.options}
    gradients = run_native(case)

    def loss() -> float:
        forward = functional.lstm_forward(**arguments)
        values = {"d" + name: getattr(forward, name) for name in FORWARD}
        return float(sum((gradient * values[name]).sum() for name, gradient in case.gradients.items()))

    for name in (*case.weights, *case.states):
        array = arguments[name]
        difference = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-6
            above = loss()
            array[index] = kept - 1e-6
            difference[index] = (above - loss()) / 2e-6
            array[index] = kept
        assert_close(gradients[f"d{name}"], difference, FINITE_DIFFERENCE, name)


@pytest.mark.parametrize("options", OPTIONS[:: len(OPTIONS) // 12])
def test_same_bits_for_any_threads_and_isa(options: dict[str, Any]) -> None:
    case = make_case(*LARGE, **options)
    runs = {}
    for isa in runtime.available_isas():
        runtime.set_isa(isa)
        for threads in (1, 2, 3, 4, 8) if isa != "scalar" else (1,):
            runtime.set_num_threads(threads)
            runs[isa, threads] = run_native(case)
    first = runs.pop(("scalar", 1))
    for key, run in runs.items():
        for name, array in run.items():
            np.testing.assert_array_equal(array, first[name], err_msg=f"{key} {name}")


def test_rows_do_not_depend_on_the_batch(isa: str) -> None:
    case = make_case(7, 5, 9, 17, masked=True)
    whole = functional.lstm_forward(**case.weights, **case.states, **case.masks)
    for row in range(7):
        one = {name: array[row : row + 1] for name, array in {**case.states, **case.masks}.items()}
        alone = functional.lstm_forward(**{**case.weights, "x": case.weights["x"][row : row + 1]}, **one)
        np.testing.assert_array_equal(alone.outputs[0], whole.outputs[row])


def test_absent_arrays_are_zeros_and_ones(isa: str) -> None:
    case = make_case(4, 5, 6, 7)
    x, kernel, recurrent_kernel = (case.weights[name] for name in ("x", "kernel", "recurrent_kernel"))
    zeros = np.zeros((4, 7), np.float32)
    bare = functional.lstm_forward(x, kernel, recurrent_kernel)
    full = functional.lstm_forward(
        x, kernel, recurrent_kernel, np.zeros(28, np.float32), h0=zeros, c0=zeros, mask=np.ones((4, 5), bool)
    )
    np.testing.assert_array_equal(bare.outputs, full.outputs)
    assert bare.workspace is not None
    assert full.workspace is not None
    doutputs = np.ones((4, 5, 7), np.float32)
    one = functional.lstm_backward(bare.workspace, x, kernel, recurrent_kernel, doutputs=doutputs)
    two = functional.lstm_backward(
        full.workspace,
        x,
        kernel,
        recurrent_kernel,
        np.zeros(28, np.float32),
        h0=zeros,
        c0=zeros,
        doutputs=doutputs,
        dlast_output=zeros,
        dh_n=zeros,
        dc_n=zeros,
    )
    assert one.dbias is None
    np.testing.assert_array_equal(one.dx, two.dx)
    np.testing.assert_array_equal(one.dkernel, two.dkernel)


def test_inference_has_the_same_bits(isa: str) -> None:
    for masked in (False, True):
        case = make_case(*LARGE, masked=masked, go_backwards=True)
        arguments = {**case.weights, **case.states, **case.masks, **case.options}
        training = functional.lstm_forward(**arguments)
        inference = functional.lstm_forward(**arguments, save_workspace=False)
        assert inference.workspace is None
        for name in FORWARD:
            np.testing.assert_array_equal(getattr(inference, name), getattr(training, name))


def test_nan_spreads_along_its_row_only(isa: str) -> None:
    case = make_case(3, 6, 5, 9)
    case.weights["x"][1, 2, 3] = np.nan
    outputs = functional.lstm_forward(**case.weights).outputs
    assert outputs is not None
    assert np.isfinite(outputs[[0, 2]]).all()
    assert np.isfinite(outputs[1, :2]).all()
    assert np.isnan(outputs[1, 2:]).all()
    assert np.isnan(run_native(case)["dkernel"]).any()


def test_nan_at_a_masked_step_is_never_read(isa: str) -> None:
    case = make_case(3, 6, 5, 9, masked=True)
    clean = run_native(case)
    case.weights["x"][~case.masks["mask"]] = np.nan
    for name, array in run_native(case).items():
        np.testing.assert_array_equal(array, clean[name], err_msg=name)


def test_masked_everywhere(isa: str) -> None:
    case = make_case(3, 4, 5, 6)
    case.masks["mask"] = np.zeros((3, 4), bool)
    got = run_native(case)
    assert not got["outputs"].any()
    np.testing.assert_array_equal(got["h_n"], case.states["h0"])
    np.testing.assert_array_equal(got["dh0"], case.gradients["dh_n"])
    assert not got["dx"].any()
    assert not got["dkernel"].any()


@pytest.mark.parametrize("size", [(0, 4, 3, 5), (2, 0, 3, 5), (0, 0, 3, 5), (2, 4, 0, 5)])
@pytest.mark.parametrize("masked", [False, True])
def test_empty(isa: str, size: tuple[int, int, int, int], masked: bool) -> None:
    case = make_case(*size, masked=masked)
    got, expected = run_native(case), run_reference(case)
    for name in (*FORWARD, *BACKWARD):
        assert_close(got[name], expected[name], REFERENCE["float32"], name)


def test_a_decaying_state_is_not_slowed_by_denormals() -> None:
    # Gates shut: c decays below the smallest normal float, where it must be zero, not a denormal.
    units = 16
    bias = np.repeat(np.array([-80, -2, 0, 80], np.float32), units)
    result = functional.lstm_forward(
        np.zeros((1, 400, 1), np.float32),
        np.zeros((1, 4 * units), np.float32),
        np.zeros((units, 4 * units), np.float32),
        bias,
        c0=np.ones((1, units), np.float32),
    )
    assert not result.c_n.any()
    tiny = np.float32(1e-40)
    assert tiny + np.float32(0) == tiny, "the caller's floating-point mode must come back"


def _valid() -> dict[str, Any]:
    case = make_case(2, 3, 4, 5)
    return {**case.weights, **case.states, "mask": np.ones((2, 3), bool)}


def _float(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": _float(3, 4)}, ValueError, r"x must have shape \(batch, timesteps, inputs\), got \(3, 4\)"),
        ({"x": _float(2, 3, 4, 1)}, ValueError, r"x must have shape .*, got \(2, 3, 4, 1\)"),
        ({"x": _float(2, 3, 7)}, ValueError, r"kernel must have shape \(7, 20\), got \(4, 20\)"),
        ({"kernel": _float(4, 19)}, ValueError, r"kernel must have shape \(4, 20\), got \(4, 19\)"),
        ({"recurrent_kernel": _float(5, 15)}, ValueError, r"recurrent_kernel must have shape \(5, 20\), got \(5, 15\)"),
        ({"recurrent_kernel": _float(0, 0)}, ValueError, "recurrent_kernel must have at least 1 unit, got 0"),
        ({"recurrent_kernel": None}, ValueError, "recurrent_kernel is required, got None"),
        ({"bias": _float(2, 20)}, ValueError, r"bias must have shape \(20,\), got \(2, 20\)"),
        ({"h0": _float(3, 5)}, ValueError, r"h0 must have shape \(2, 5\), got \(3, 5\)"),
        ({"c0": _float(2, 4)}, ValueError, r"c0 must have shape \(2, 5\), got \(2, 4\)"),
        ({"mask": np.ones((2, 4), bool)}, ValueError, r"mask must have shape \(2, 3\), got \(2, 4\)"),
        ({"mask": np.ones((2, 3), np.int32)}, TypeError, "mask must have dtype bool, got int32"),
        ({"mask": _float(2, 3)}, TypeError, "mask must have dtype bool, got float32"),
        ({"dropout_mask": _float(2, 2, 4)}, ValueError, r"dropout_mask must have shape \(1, 2, 4\), got \(2, 2, 4\)"),
        ({"recurrent_dropout_mask": _float(4, 2, 4)}, ValueError, r"must have shape \(4, 2, 5\), got \(4, 2, 4\)"),
        ({"x": _float(2, 3, 4, dtype=np.float16)}, TypeError, "x must have dtype float32 or float64, got float16"),
        ({"x": _float(2, 3, 4, dtype=">f4")}, TypeError, "x must have dtype float32 or float64, got >f4"),
        ({"x": _float(2, 3, 4, dtype=np.float64)}, TypeError, "recurrent_kernel must have dtype float64, got float32"),
        ({"kernel": _float(4, 20, dtype=np.float64)}, TypeError, "kernel must have dtype float32, got float64"),
        ({"x": _float(2, 4, 3).swapaxes(1, 2)}, ValueError, "x must be C-contiguous"),
        ({"kernel": _float(4, 40)[:, ::2]}, ValueError, "kernel must be C-contiguous"),
        ({"x": [[[0.0]]]}, TypeError, "x must be a numpy.ndarray, got list"),
        (
            {"bias": np.frombuffer(b"\0" * 81, np.uint8)[1:].view(np.float32)},
            ValueError,
            "bias must be aligned to its dtype",
        ),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        functional.lstm_forward(**{**_valid(), **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"doutputs": _float(2, 3, 4)}, ValueError, r"doutputs must have shape \(2, 3, 5\), got \(2, 3, 4\)"),
        ({"dh_n": _float(2, 5, dtype=np.float64)}, TypeError, "dh_n must have dtype float32, got float64"),
        ({"workspace": None}, TypeError, "workspace must be the LSTMWorkspace .* got NoneType"),
        (
            {"workspace": functional.LSTMWorkspace(_float(2, 2, 20), _float(2, 3, 5))},
            ValueError,
            r"gates must have shape \(2, 3, 20\), got \(2, 2, 20\)",
        ),
    ],
)
def test_bad_backward_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    workspace = functional.lstm_forward(**_valid()).workspace
    with pytest.raises(error, match=message):
        functional.lstm_backward(**{"workspace": workspace, **_valid(), **change})


def test_equal_dtypes_of_other_identity() -> None:
    case = make_case(2, 3, 4, 5)
    expected = functional.lstm_forward(**case.weights).outputs
    for remade in (
        {name: pickle.loads(pickle.dumps(array)) for name, array in case.weights.items()},
        {name: array.view(np.dtype(np.float32, metadata={"a": 1})) for name, array in case.weights.items()},
        {name: array.view(array.dtype.newbyteorder("=")) for name, array in case.weights.items()},
    ):
        np.testing.assert_array_equal(functional.lstm_forward(**remade).outputs, expected)


def test_inputs_are_not_written_to() -> None:
    case = make_case(*SIZES[-1], masked=True, dropout=4, recurrent_dropout=4)
    groups = (case.weights, case.states, case.masks, case.gradients)
    before = [{name: array.copy() for name, array in group.items()} for group in groups]
    for group in groups:
        for array in group.values():
            array.flags.writeable = False
    run_native(case)
    for group, kept in zip(groups, before, strict=True):
        for name, array in group.items():
            np.testing.assert_array_equal(array, kept[name])


def test_many_python_threads_at_once() -> None:
    case = make_case(*LARGE)
    expected = run_native(case)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: run_native(case), range(32)):
            for name in (*FORWARD, *BACKWARD):
                np.testing.assert_array_equal(got[name], expected[name])


def _in_child(queue: Any) -> None:
    queue.put((runtime.get_num_threads(), run_native(make_case(*LARGE))["dkernel"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_works_in_a_forked_child() -> None:
    runtime.set_num_threads(2)
    expected = run_native(make_case(*LARGE))["dkernel"]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    threads, got = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert threads == 1
    np.testing.assert_array_equal(got, expected)


def test_dropout_without_bias_matches_reference(isa: str) -> None:
    case = make_case(3, 4, 5, 6, dropout=4, recurrent_dropout=1)
    case.weights["bias"] = np.zeros(24, np.float32)
    expected = run_native(case)
    case.weights.pop("bias")
    got = run_native(case)
    for name in FORWARD:
        np.testing.assert_array_equal(got[name], expected[name])
    np.testing.assert_array_equal(got["dkernel"], expected["dkernel"])

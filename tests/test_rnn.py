"""The recurrent layers' kernels: lstm, gru and simple_rnn, forward and backward."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pickle
from typing import Any

import numpy as np
import pytest
from kernel_checks import (
    assert_no_bias_is_zero,
    assert_same_bits,
    assert_same_in_python_threads,
    assert_works_in_a_forked_child,
    finite_difference,
)
from rnn_cases import (
    CELLS,
    FORWARD,
    GATES,
    STATES,
    Case,
    activation_options,
    dropout_groups,
    every_cell,
    every_variant,
    make_case,
    native_backward,
    native_forward,
    run_native,
    run_reference,
)
from tolerances import FINITE_DIFFERENCE, REFERENCE, assert_close

from fastseq import runtime
from fastseq._libraries import core

# (batch, timesteps, inputs, units): 1; around a vector of 8 and of 16; primes; more rows and columns than a tile.
SIZES = [(1, 1, 1, 1), (3, 5, 7, 15), (2, 4, 16, 16), (5, 7, 9, 17), (7, 3, 31, 8), (13, 11, 20, 55)]
# Large enough that every thread of four gets work.
LARGE = (33, 40, 70, 75)
# The same with few rows for their weights: units are divided too, in the last one among several groups of rows.
FEW_ROWS = [(1, 60, 70, 300), (2, 40, 70, 300), (3, 30, 70, 300), (1, 40, 30, 512), (8, 20, 30, 400)]

# Many rows: backward splits the batch into 4 and 8 shards, which threads divide evenly, unevenly or not at all.
MANY_ROWS = {(128, 20, 70, 40): 4, (300, 12, 50, 45): 8}


def _options(cell: str) -> list[dict[str, Any]]:
    """Every combination of what a call can have but activations."""
    choices: dict[str, tuple[Any, ...]] = {
        "masked": (False, True),
        "go_backwards": (False, True),
        "zero_output_for_mask": (False, True),
        "h0_as_first_output": (False, True),
        "return_sequences": (False, True),
        "dropout": dropout_groups(cell),
        "recurrent_dropout": dropout_groups(cell),
    }
    if cell == "gru":
        choices["reset_after"] = (True, False)
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


# A stride that shares no factor with the number of any option's values meets all of them.
SOME_OPTIONS = [(cell, options) for cell in CELLS for options in _options(cell)[::13]]


def _assert_matches_reference(case: Case) -> None:
    got, expected = run_native(case), run_reference(case)
    dtype = case.weights["x"].dtype.name
    for name in case.results:
        if got[name] is not None:
            assert got[name].dtype == dtype
            assert_close(got[name], expected[name], REFERENCE[dtype], f"{case.options} {name}")


def _assert_same_bits(case: Case, isas: list[str], threads: tuple[int, ...]) -> None:
    assert_same_bits(lambda: run_native(case), isas, threads, case.options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@every_cell
def test_matches_reference(isa: str, cell: str, size: tuple[int, int, int, int], dtype: str) -> None:
    for options in _options(cell):
        _assert_matches_reference(make_case(cell, *size, dtype, **options))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [7, 15, 16, 17, 23, 31, 55, 100])
@every_variant
def test_units_around_a_vector_match_reference(
    isa: str, cell: str, variant: dict[str, Any], units: int, dtype: str
) -> None:
    _assert_matches_reference(make_case(cell, 3, 4, 5, units, dtype, **variant))
    gates = GATES[cell]
    _assert_matches_reference(
        make_case(cell, 3, 4, 5, units, dtype, masked=True, dropout=gates, recurrent_dropout=gates, **variant)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_variant
def test_activations_match_reference(isa: str, cell: str, variant: dict[str, Any], dtype: str) -> None:
    for activations in activation_options(cell):
        _assert_matches_reference(make_case(cell, 3, 5, 6, 17, dtype, masked=True, **variant, **activations))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_variant
def test_large_matches_reference(isa: str, cell: str, variant: dict[str, Any], dtype: str) -> None:
    _assert_matches_reference(make_case(cell, *LARGE, dtype, masked=True, **variant))


@pytest.mark.parametrize("size", FEW_ROWS)
@every_variant
def test_few_rows_match_reference(cell: str, variant: dict[str, Any], size: tuple[int, int, int, int]) -> None:
    runtime.set_num_threads(4)
    gates = GATES[cell]
    for options in ({}, {"masked": True, "dropout": gates, "recurrent_dropout": gates}):
        _assert_matches_reference(make_case(cell, *size, **variant, **options))


@pytest.mark.parametrize("size", MANY_ROWS)
@every_variant
def test_many_rows_match_reference(cell: str, variant: dict[str, Any], size: tuple[int, int, int, int]) -> None:
    runtime.set_num_threads(4)
    gates = GATES[cell]
    for options in ({}, {"masked": True}, {"dropout": gates, "recurrent_dropout": 1, "masked": True}):
        _assert_matches_reference(make_case(cell, *size, **variant, **options))


@every_variant
def test_depth_beyond_one_block_matches_reference(isa: str, cell: str, variant: dict[str, Any]) -> None:
    # Products deeper than the kernels' block of 128, in every operand.
    _assert_matches_reference(make_case(cell, 2, 3, 300, 140, **variant))


@every_variant
def test_backward_matches_finite_difference(cell: str, variant: dict[str, Any]) -> None:
    gates = GATES[cell]
    case = make_case(
        cell, 2, 3, 2, 3, "float64", masked=True, dropout=gates, recurrent_dropout=gates, seed=3, **variant
    )
    gradients = run_native(case)

    def loss() -> float:
        forward = native_forward(case)
        return float(sum((gradient * getattr(forward, name[1:])).sum() for name, gradient in case.gradients.items()))

    for name, array in {**case.weights, **case.states}.items():
        assert_close(gradients[f"d{name}"], finite_difference(loss, array), FINITE_DIFFERENCE, name)


@pytest.mark.parametrize(("cell", "options"), SOME_OPTIONS)
def test_same_bits_for_any_threads_and_isa(cell: str, options: dict[str, Any]) -> None:
    isas = [isa for isa in runtime.available_isas() if isa != "scalar"]
    _assert_same_bits(make_case(cell, *LARGE, **options), isas, (1, 2, 3, 4, 8))


@pytest.mark.parametrize("size", FEW_ROWS)
@every_variant
def test_few_rows_have_the_same_bits_for_any_threads_and_isa(
    cell: str, variant: dict[str, Any], size: tuple[int, int, int, int]
) -> None:
    gates = GATES[cell]
    case = make_case(cell, *size, masked=True, dropout=gates, recurrent_dropout=gates, **variant)
    _assert_same_bits(case, list(runtime.available_isas()), (2, 3, 4, 8))


@pytest.mark.parametrize("size", MANY_ROWS)
@every_variant
def test_many_rows_have_the_same_bits_for_any_threads(
    cell: str, variant: dict[str, Any], size: tuple[int, int, int, int]
) -> None:
    for options in ({}, {"masked": True, "dropout": GATES[cell], "recurrent_dropout": GATES[cell]}):
        case = make_case(cell, *size, **variant, **options)
        _assert_same_bits(case, [runtime.isa()], (2, 3, 4, 6, 7, 8, 16))


def _division(threads: int, batch: int, timesteps: int, inputs: int, units: int) -> dict[str, int]:
    """The plan of LSTM's backward pass."""
    runtime.set_num_threads(threads)
    shapes = {
        "x": (batch, timesteps, inputs),
        "kernel": (inputs, 4 * units),
        "recurrent_kernel": (units, 4 * units),
        "workspace": (batch, timesteps, 6 * units),
    }
    return core.rnn_division("lstm_backward", {name: (shape, "float32") for name, shape in shapes.items()})


@pytest.mark.parametrize(
    ("size", "shards"),
    [
        *MANY_ROWS.items(),
        ((1, 500, 100, 100), 1),
        ((2, 500, 100, 100), 2),
        ((20, 100, 100, 100), 2),
        ((64, 100, 100, 100), 2),
        ((127, 100, 100, 100), 2),
        ((1024, 100, 100, 100), 32),
        ((100_000, 100, 100, 64), 64),
        ((100_000, 100, 200, 200), 8),  # 16 MB of sums
        # Few steps, and weights that do not stay in a core's cache.
        ((127, 2, 100, 100), 1),
        ((1024, 1, 100, 100), 4),
        ((128, 100, 300, 300), 1),
        ((512, 100, 300, 300), 4),
        ((512, 100, 2000, 2000), 1),
    ],
)
def test_shards_depend_on_sizes_alone(size: tuple[int, int, int, int], shards: int) -> None:
    assert {_division(threads, *size)["shards"] for threads in (1, 2, 7, 64)} == {shards}


@pytest.mark.parametrize(
    ("threads", "batch", "row_groups", "subteams"),
    [
        (8, 20, 8, 2),
        (8, 128, 8, 4),
        (6, 128, 6, 2),
        (16, 128, 16, 4),
        (3, 256, 3, 3),
        (7, 1024, 7, 7),
        (24, 128, 24, 4),
    ],
)
def test_subteams_divide_the_threads(threads: int, batch: int, row_groups: int, subteams: int) -> None:
    division = _division(threads, batch, 100, 100, 100)
    assert (division["row_groups"], division["unit_groups"], division["subteams"]) == (row_groups, 1, subteams)


def test_only_recurrent_operations_have_a_division() -> None:
    arguments = {"x": ((2, 4, 3), "float32"), "kernel": ((2, 3, 5), "float32")}
    with pytest.raises(ValueError, match="conv1d_forward is not a recurrent operation"):
        core.rnn_division("conv1d_forward", arguments)


@every_variant
def test_activations_have_the_same_bits_on_every_isa(cell: str, variant: dict[str, Any]) -> None:
    for activations in activation_options(cell):
        case = make_case(cell, 5, 4, 9, 17, seed=1, **variant, **activations)
        _assert_same_bits(case, list(runtime.available_isas()), (1,))


@every_variant
def test_rows_do_not_depend_on_the_batch(isa: str, cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, 7, 5, 9, 17, masked=True, **variant)
    whole = native_forward(case).outputs
    for row in range(7):
        one = {name: array[row : row + 1] for name, array in {**case.states, **case.masks}.items()}
        alone = native_forward(case, x=case.weights["x"][row : row + 1], **one).outputs
        np.testing.assert_array_equal(alone[0], whole[row])


@every_variant
def test_absent_arrays_are_zeros_and_ones(isa: str, cell: str, variant: dict[str, Any]) -> None:
    bare = make_case(cell, 4, 5, 6, 7, **variant)
    bare.states = {}
    bare.gradients = {"doutputs": np.ones((4, 5, 7), np.float32)}
    zeros = np.zeros((4, 7), np.float32)
    full = dataclasses.replace(
        bare,
        weights={**bare.weights, "bias": np.zeros_like(bare.weights["bias"])},
        states={f"{state}0": zeros for state in STATES[cell]},
        masks={"mask": np.ones((4, 5), bool)},
        gradients={**bare.gradients, **{f"d{name}": zeros for name in FORWARD[cell] if name != "outputs"}},
    )
    bare.weights.pop("bias")
    got, expected = run_native(bare), run_native(full)
    assert got.pop("dbias") is None
    for name, array in got.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@every_variant
def test_inference_has_the_same_bits(isa: str, cell: str, variant: dict[str, Any]) -> None:
    for masked in (False, True):
        case = make_case(cell, *LARGE, masked=masked, go_backwards=True, **variant)
        training = native_forward(case)
        inference = native_forward(case, save_workspace=False)
        assert inference.workspace is None
        for name in FORWARD[cell]:
            np.testing.assert_array_equal(getattr(inference, name), getattr(training, name))


@every_variant
def test_nan_spreads_along_its_row_only(isa: str, cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, 3, 6, 5, 9, **variant)
    case.weights["x"][1, 2, 3] = np.nan
    got = run_native(case)
    assert np.isfinite(got["outputs"][[0, 2]]).all()
    assert np.isfinite(got["outputs"][1, :2]).all()
    assert np.isnan(got["outputs"][1, 2:]).all()
    assert np.isnan(got["dkernel"]).any()


@every_variant
def test_nan_at_a_masked_step_is_never_read(isa: str, cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, 3, 6, 5, 9, masked=True, **variant)
    clean = run_native(case)
    case.weights["x"][~case.masks["mask"]] = np.nan
    for name, array in run_native(case).items():
        np.testing.assert_array_equal(array, clean[name], err_msg=name)


@every_variant
def test_masked_everywhere(isa: str, cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, 3, 4, 5, 6, **variant)
    case.masks["mask"] = np.zeros((3, 4), bool)
    got = run_native(case)
    for state in STATES[cell]:
        np.testing.assert_array_equal(got[f"{state}_n"], case.states[f"{state}0"])
        np.testing.assert_array_equal(got[f"d{state}0"], case.gradients[f"d{state}_n"])
    for name in ("outputs", "last_output", "dx", "dkernel", "drecurrent_kernel", "dbias"):
        assert not got[name].any(), name


@pytest.mark.parametrize("size", [(0, 4, 3, 5), (2, 0, 3, 5), (0, 0, 3, 5), (2, 4, 0, 5)])
@pytest.mark.parametrize("masked", [False, True])
@every_variant
def test_empty(isa: str, cell: str, variant: dict[str, Any], size: tuple[int, int, int, int], masked: bool) -> None:
    _assert_matches_reference(make_case(cell, *size, masked=masked, **variant))


_UNITS = 16
# Weights with which a state becomes about 0.6 of itself at every step. Rounded to the nearest denormal it would never
# become zero: 0.6 of the smallest one is the smallest one.
_DECAYING: dict[str, dict[str, Any]] = {
    "lstm": {"bias": np.repeat(np.array([-80, 0.5, 0, 80], np.float32), _UNITS)},
    "gru": {"bias": np.repeat(np.array([[0.5, 0, 0], [0, 0, 0]], np.float32), _UNITS, axis=1)},
    "simple_rnn": {"recurrent_kernel": 0.625 * np.eye(_UNITS, dtype=np.float32)},
}


@every_cell
def test_a_decaying_state_is_not_slowed_by_denormals(cell: str) -> None:
    columns = GATES[cell] * _UNITS
    weights = {
        "x": np.zeros((1, 400, 1), np.float32),
        "kernel": np.zeros((1, columns), np.float32),
        "recurrent_kernel": np.zeros((_UNITS, columns), np.float32),
        **_DECAYING[cell],
    }
    state = STATES[cell][-1]
    result = native_forward(Case(cell, weights, {f"{state}0": np.ones((1, _UNITS), np.float32)}))
    assert not getattr(result, f"{state}_n").any()
    tiny = np.float32(1e-40)
    assert tiny + np.float32(0) == tiny, "the caller's floating-point mode must come back"


def _valid(cell: str) -> Case:
    """Units 5, so that there are 20, 15 or 5 columns."""
    case = make_case(cell, 2, 3, 4, 5)
    case.masks["mask"] = np.ones((2, 3), bool)
    return case


def _float(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def _wrong_factors(cell: str, name: str, shape: tuple[int, int, int], width: int) -> tuple[Any, ...]:
    got = ", ".join(map(str, shape))
    message = rf"{name} must have shape \(1 or {GATES[cell]}, 2, {width}\), got \({got}\)"
    return cell, {name: _float(*shape)}, ValueError, message


NAMES = "tanh, sigmoid, hard_sigmoid, relu, linear"


@pytest.mark.parametrize(
    ("cell", "change", "error", "message"),
    [
        ("lstm", {"x": _float(3, 4)}, ValueError, r"x must have shape \(batch, timesteps, inputs\), got \(3, 4\)"),
        ("lstm", {"x": _float(2, 3, 4, 1)}, ValueError, r"x must have shape .*, got \(2, 3, 4, 1\)"),
        ("lstm", {"x": _float(2, 3, 7)}, ValueError, r"kernel must have shape \(7, 20\), got \(4, 20\)"),
        ("lstm", {"kernel": _float(4, 19)}, ValueError, r"kernel must have shape \(4, 20\), got \(4, 19\)"),
        ("lstm", {"recurrent_kernel": _float(5, 15)}, ValueError, r"must have shape \(5, 20\), got \(5, 15\)"),
        ("lstm", {"recurrent_kernel": _float(0, 0)}, ValueError, "recurrent_kernel must have at least 1 unit, got 0"),
        ("lstm", {"recurrent_kernel": None}, ValueError, "recurrent_kernel is required, got None"),
        ("lstm", {"bias": _float(2, 20)}, ValueError, r"bias must have shape \(20,\), got \(2, 20\)"),
        ("lstm", {"h0": _float(3, 5)}, ValueError, r"h0 must have shape \(2, 5\), got \(3, 5\)"),
        ("lstm", {"c0": _float(2, 4)}, ValueError, r"c0 must have shape \(2, 5\), got \(2, 4\)"),
        ("lstm", {"mask": np.ones((2, 4), bool)}, ValueError, r"mask must have shape \(2, 3\), got \(2, 4\)"),
        ("lstm", {"mask": np.ones((2, 3), np.int32)}, TypeError, "mask must have dtype bool, got int32"),
        ("lstm", {"mask": _float(2, 3)}, TypeError, "mask must have dtype bool, got float32"),
        _wrong_factors("lstm", "dropout_mask", (2, 2, 4), 4),
        _wrong_factors("lstm", "dropout_mask", (3, 2, 4), 4),
        _wrong_factors("lstm", "recurrent_dropout_mask", (4, 2, 4), 5),
        (
            "lstm",
            {"x": _float(2, 3, 4, dtype=np.float16)},
            TypeError,
            "must have dtype float32 or float64, got float16",
        ),
        ("lstm", {"x": _float(2, 3, 4, dtype=">f4")}, TypeError, "x must have dtype float32 or float64, got >f4"),
        (
            "lstm",
            {"x": _float(2, 3, 4, dtype=np.float64)},
            TypeError,
            "recurrent_kernel must have dtype float64, got float32",
        ),
        ("lstm", {"kernel": _float(4, 20, dtype=np.float64)}, TypeError, "must have dtype float32, got float64"),
        ("lstm", {"x": _float(2, 4, 3).swapaxes(1, 2)}, ValueError, "x must be C-contiguous"),
        ("lstm", {"kernel": _float(4, 40)[:, ::2]}, ValueError, "kernel must be C-contiguous"),
        ("lstm", {"x": [[[0.0]]]}, TypeError, "x must be a numpy.ndarray, got list"),
        (
            "lstm",
            {"bias": np.frombuffer(b"\0" * 81, np.uint8)[1:].view(np.float32)},
            ValueError,
            "bias must be aligned to its dtype",
        ),
        ("gru", {"kernel": _float(4, 20)}, ValueError, r"kernel must have shape \(4, 15\), got \(4, 20\)"),
        ("gru", {"recurrent_kernel": _float(5, 20)}, ValueError, r"must have shape \(5, 15\), got \(5, 20\)"),
        ("gru", {"bias": _float(15)}, ValueError, r"bias must have shape \(2, 15\), got \(15,\)"),
        ("gru", {"bias": _float(30)}, ValueError, r"bias must have shape \(2, 15\), got \(30,\)"),
        ("gru", {"reset_after": False}, ValueError, r"bias must have shape \(15,\), got \(2, 15\)"),
        _wrong_factors("gru", "dropout_mask", (4, 2, 4), 4),
        _wrong_factors("gru", "dropout_mask", (3, 2, 5), 4),
        _wrong_factors("gru", "recurrent_dropout_mask", (3, 2, 4), 5),
        ("gru", {"c0": _float(2, 5)}, TypeError, "unexpected keyword argument 'c0'"),
        ("simple_rnn", {"kernel": _float(4, 20)}, ValueError, r"kernel must have shape \(4, 5\), got \(4, 20\)"),
        ("simple_rnn", {"recurrent_kernel": _float(5, 4)}, ValueError, r"must have shape \(5, 5\), got \(5, 4\)"),
        ("simple_rnn", {"bias": _float(2, 5)}, ValueError, r"bias must have shape \(5,\), got \(2, 5\)"),
        ("simple_rnn", {"dropout_mask": _float(4, 2, 4)}, ValueError, r"must have shape \(1, 2, 4\), got \(4, 2, 4\)"),
        ("simple_rnn", {"c0": _float(2, 5)}, TypeError, "unexpected keyword argument 'c0'"),
        *(
            (cell, {name: "gelu"}, ValueError, f"^{name} must be one of {NAMES}, got 'gelu'")
            for cell in CELLS
            for name in activation_options(cell)[0]
        ),
    ],
)
def test_bad_input(cell: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        native_forward(_valid(cell), **change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"doutputs": _float(2, 3, 4)}, ValueError, r"doutputs must have shape \(2, 3, 5\), got \(2, 3, 4\)"),
        ({"dh_n": _float(2, 5, dtype=np.float64)}, TypeError, "dh_n must have dtype float32, got float64"),
        ({"activation": "gelu"}, ValueError, f"^activation must be one of {NAMES}, got 'gelu'"),
    ],
)
@every_cell
def test_bad_backward_input(cell: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    case = _valid(cell)
    workspace = native_forward(case).workspace
    with pytest.raises(error, match=message):
        native_backward(case, workspace, **change)


def test_bad_workspace() -> None:
    case = _valid("lstm")
    message = r"workspace must be the RNNWorkspace of lstm_forward\(..., save_workspace=True\), got NoneType"
    with pytest.raises(TypeError, match=message):
        native_backward(case, None)
    workspace = native_forward(case).workspace
    short = dataclasses.replace(workspace, values=workspace.values[:, :2].copy())
    with pytest.raises(ValueError, match=r"workspace must have shape \(2, 3, (\d+)\), got \(2, 2, \1\)"):
        native_backward(case, short)


@every_cell
def test_equal_dtypes_of_other_identity(cell: str) -> None:
    case = make_case(cell, 2, 3, 4, 5)
    expected = native_forward(case).outputs
    for remade in (
        {name: pickle.loads(pickle.dumps(array)) for name, array in case.weights.items()},
        {name: array.view(np.dtype(np.float32, metadata={"a": 1})) for name, array in case.weights.items()},
        {name: array.view(array.dtype.newbyteorder("=")) for name, array in case.weights.items()},
    ):
        np.testing.assert_array_equal(native_forward(case, **remade).outputs, expected)


@every_variant
def test_inputs_are_not_written_to(cell: str, variant: dict[str, Any]) -> None:
    gates = GATES[cell]
    case = make_case(cell, *SIZES[-1], masked=True, dropout=gates, recurrent_dropout=gates, **variant)
    groups = (case.weights, case.states, case.masks, case.gradients)
    before = [{name: array.copy() for name, array in group.items()} for group in groups]
    for group in groups:
        for array in group.values():
            array.flags.writeable = False
    run_native(case)
    for group, kept in zip(groups, before, strict=True):
        for name, array in group.items():
            np.testing.assert_array_equal(array, kept[name])


@every_variant
def test_many_python_threads_at_once(cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, *LARGE, **variant)
    assert_same_in_python_threads(lambda: run_native(case), case.results, 32)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@every_cell
def test_works_in_a_forked_child(cell: str) -> None:
    assert_works_in_a_forked_child(lambda: run_native(make_case(cell, *LARGE))["dkernel"])


@every_variant
def test_dropout_without_bias_matches_reference(isa: str, cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, 3, 4, 5, 6, dropout=GATES[cell], recurrent_dropout=1, **variant)
    assert_no_bias_is_zero(lambda: run_native(case), case.weights)
    _assert_matches_reference(case)

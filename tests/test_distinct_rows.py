"""Recurrent layers whose input has many equal rows, which the kernels compute once: same results, same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rnn_cases
from rnn_cases import Case
from tolerances import REFERENCE, assert_close

from fastseq import functional, runtime

# Enough steps for the kernels to look for equal rows.
BATCH, TIMESTEPS, INPUTS, UNITS = 12, 60, 64, 45
HALF = BATCH // 2
WORDS = 25


def _with_rows(case: Case, rows: Any, ids: Any) -> Case:
    case.weights["x"] = np.ascontiguousarray(rows[ids], dtype=case.weights["x"].dtype)
    return case


def _case(cell: str, dtype: str = "float32", batch: int = BATCH, timesteps: int = TIMESTEPS, **options: Any) -> Case:
    rng = np.random.default_rng(1)
    case = rnn_cases.make_case(cell, batch, timesteps, INPUTS, UNITS, dtype, **options)
    return _with_rows(case, rng.standard_normal((WORDS, INPUTS)), rng.integers(WORDS, size=(batch, timesteps)))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"masked": True},
    {"masked": True, "go_backwards": True, "zero_output_for_mask": True},
    {"recurrent_dropout": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@rnn_cases.every_variant
def test_matches_reference(isa: str, cell: str, variant: dict[str, Any], dtype: str, options: dict[str, Any]) -> None:
    case = _case(cell, dtype, **variant, **options)
    expected = rnn_cases.run_reference(case)
    for name, result in rnn_cases.run_native(case).items():
        assert_close(result, expected[name], REFERENCE[dtype], name)


@rnn_cases.every_variant
def test_same_bits_for_any_threads_and_isa(cell: str, variant: dict[str, Any]) -> None:
    for options in OPTIONS:
        case = _case(cell, **variant, **options)
        runtime.set_isa(runtime.available_isas()[-1])
        runtime.set_num_threads(1)
        expected = rnn_cases.run_native(case)
        for isa in runtime.available_isas():
            for threads in (1, 2, 3, 8):
                runtime.set_isa(isa)
                runtime.set_num_threads(threads)
                for name, result in rnn_cases.run_native(case).items():
                    np.testing.assert_array_equal(result, expected[name], f"{name}, {isa}, {threads} threads")


@pytest.mark.parametrize(("batch", "timesteps"), [(128, 18), (300, 20)])
@rnn_cases.every_variant
def test_many_shards(cell: str, variant: dict[str, Any], batch: int, timesteps: int) -> None:
    """Each of the 4 and 8 shards of backward has its own distinct rows."""
    for options in ({}, {"masked": True}):
        case = _case(cell, batch=batch, timesteps=timesteps, **variant, **options)
        runtime.set_num_threads(1)
        expected = rnn_cases.run_native(case)
        for name, result in rnn_cases.run_reference(case).items():
            assert_close(expected[name], result, REFERENCE["float32"], name)
        for threads in (2, 3, 6, 8):
            runtime.set_num_threads(threads)
            for name, result in rnn_cases.run_native(case).items():
                np.testing.assert_array_equal(result, expected[name], f"{name}, {threads} threads")


@rnn_cases.every_variant
def test_outputs_are_those_of_rows_computed_one_by_one(isa: str, cell: str, variant: dict[str, Any]) -> None:
    """A few sequences alone have too few steps for a search for equal rows."""
    case = _case(cell, **variant)
    forward = getattr(functional, f"{cell}_forward")
    whole = forward(**case.arguments).outputs
    for begin in range(0, BATCH, HALF // 2):
        part = slice(begin, begin + HALF // 2)
        arguments = {key: value[part] if key in ("x", "h0", "c0") else value for key, value in case.arguments.items()}
        np.testing.assert_array_equal(forward(**arguments).outputs, whole[part])


@rnn_cases.every_variant
def test_masked_steps_have_no_influence(isa: str, cell: str, variant: dict[str, Any]) -> None:
    case = _case(cell, masked=True, **variant)
    expected = rnn_cases.run_native(case)
    for fill in (0.0, np.nan):
        case.weights["x"] = np.where(case.masks["mask"][:, :, None], case.weights["x"], np.float32(fill))
        for name, result in rnn_cases.run_native(case).items():
            np.testing.assert_array_equal(result, expected[name], f"{fill} {name}")
    case.weights["x"][~case.masks["mask"]] = np.random.default_rng(2).standard_normal(INPUTS, np.float32)
    for name, result in rnn_cases.run_native(case).items():
        np.testing.assert_array_equal(result, expected[name], name)


def _ids(kind: str) -> Any:
    rng = np.random.default_rng(3)
    shape = (BATCH, TIMESTEPS)
    if kind == "one row":
        return np.zeros(shape, int)
    if kind == "all different":
        return np.arange(BATCH * TIMESTEPS).reshape(shape)
    if kind == "different after the first steps":  # which the sample does not show
        return np.where(np.arange(TIMESTEPS) % 3 == 0, 0, np.arange(BATCH * TIMESTEPS).reshape(shape))
    return rng.integers(int(kind), size=shape)


@pytest.mark.parametrize("kind", ["one row", "all different", "different after the first steps", "2", "200", "400"])
def test_any_number_of_distinct_rows(isa: str, kind: str) -> None:
    ids = _ids(kind)
    case = _with_rows(_case("lstm"), np.random.default_rng(4).standard_normal((ids.max() + 1, INPUTS)), ids)
    expected = rnn_cases.run_reference(case)
    for name, result in rnn_cases.run_native(case).items():
        assert_close(result, expected[name], REFERENCE["float32"], name)


def test_zeros_of_either_sign_and_nan_are_rows_of_their_own(isa: str) -> None:
    rows = np.zeros((4, INPUTS), np.float32)
    rows[1] = -0.0
    rows[2, 3] = np.nan
    rows[3, -1] = 1e-42
    ids = np.tile(np.arange(BATCH) % 4, (TIMESTEPS, 1)).T  # one row for each sequence
    case = _with_rows(_case("simple_rnn"), rows, ids)
    results = rnn_cases.run_native(case)
    assert np.isnan(results["outputs"][ids[:, 0] == 2]).all()
    assert not np.isnan(results["outputs"][ids[:, 0] != 2]).any()


def _rows_with_equal_hashes() -> Any:
    """Two rows of float64 to which csrc/ops/distinct_rows.h gives the same hash."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    first = np.random.default_rng(5).standard_normal(INPUTS)
    words = first.view(np.uint64)
    with np.errstate(over="ignore"):
        # The first of four chains has words 0, 4, 8, ...; it starts with 1. A change of word 0 is undone by word 4.
        others = (words[0] ^ np.arange(1, 1 << 18, dtype=np.uint64)).astype(np.uint64)
        difference = ((np.uint64(1) ^ words[0]) * factor) ^ ((np.uint64(1) ^ others) * factor)
    undone = words[4] ^ difference
    small = np.abs(undone.view(np.float64))
    found = int(np.flatnonzero((small > 0.1) & (small < 10))[0])
    second = words.copy()
    second[0], second[4] = others[found], undone[found]
    return np.stack([first, second.view(np.float64)])


@rnn_cases.every_variant
def test_different_rows_with_equal_hashes(isa: str, cell: str, variant: dict[str, Any]) -> None:
    rows = _rows_with_equal_hashes()
    assert (rows[0] != rows[1]).sum() == 2
    ids = np.random.default_rng(6).integers(2, size=(BATCH, TIMESTEPS))
    case = _with_rows(_case(cell, "float64", **variant), rows, ids)
    expected = rnn_cases.run_reference(case)
    for name, result in rnn_cases.run_native(case).items():
        assert_close(result, expected[name], REFERENCE["float64"], name)

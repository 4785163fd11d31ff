"""The embedding operation over NumPy arrays, forward and backward."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from kernel_checks import finite_difference
from tolerances import FINITE_DIFFERENCE, STOCK, assert_close

from fastseq import functional, reference, runtime

SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4), (0,), (4, 0), (0, 3, 2)]
TABLES = [(1, 1), (2, 15), (7, 16), (16, 17), (31, 33), (5, 100)]
DTYPES = list(itertools.product(("float32", "float64"), ("int32", "int64")))

# Enough for every thread of four to get work, and how often which id occurs.
POSITIONS, INPUT_DIM, OUTPUT_DIM = 65003, 503, 97
DISTRIBUTIONS = {
    "uniform": lambda rng: rng.integers(0, INPUT_DIM, POSITIONS),
    "half padding": lambda rng: np.where(np.arange(POSITIONS) % 100 < 50, 0, rng.integers(0, INPUT_DIM, POSITIONS)),
    "half the last": lambda rng: np.where(rng.random(POSITIONS) < 0.5, INPUT_DIM - 1, rng.integers(0, 9, POSITIONS)),
    "few": lambda rng: rng.choice([17, 18, 400], POSITIONS),
    "one": lambda rng: np.full(POSITIONS, 250),
    "sorted": lambda rng: np.sort(rng.integers(0, INPUT_DIM, POSITIONS)),
}


def _case(shape: tuple[int, ...], table: tuple[int, int], dtypes: tuple[str, str]) -> tuple[Any, Any, Any]:
    """ids, embeddings, doutputs."""
    rng = np.random.default_rng(0)
    dtype, ids_dtype = dtypes
    return (
        np.asarray(rng.integers(0, table[0], shape), ids_dtype),
        rng.standard_normal(table).astype(dtype),
        np.asarray(rng.standard_normal((*shape, table[1])), dtype),
    )


def _sums(ids: Any, doutputs: Any, input_dim: int) -> Any:
    """The gradient in the dtype of `doutputs`, added up in the order of positions: what it must be to the bit."""
    sums = np.zeros((input_dim, doutputs.shape[-1]), doutputs.dtype)
    np.add.at(sums, ids, doutputs)
    return sums


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("shape", SHAPES)
def test_matches_reference(shape: tuple[int, ...], table: tuple[int, int], dtypes: tuple[str, str]) -> None:
    ids, embeddings, doutputs = _case(shape, table, dtypes)
    outputs = functional.embedding_forward(ids, embeddings)
    assert outputs.dtype == dtypes[0]
    np.testing.assert_array_equal(outputs, reference.embedding_forward(ids, embeddings))
    for squared in (False, True):
        got = functional.embedding_backward(ids, doutputs, table[0], squared=squared)
        assert got.dtype == dtypes[0]
        rows = doutputs * doutputs if squared else doutputs
        np.testing.assert_array_equal(got, _sums(ids, rows, table[0]))
        expected = reference.embedding_backward(ids, doutputs, table[0], squared=squared)
        assert_close(got, expected, STOCK[dtypes[0]])


@pytest.mark.parametrize(("shape", "positions"), [((0, 5), 0), ((0, 0), 0), ((5, 0), 0), ((5, 0), 3)])
def test_tables_without_elements(shape: tuple[int, int], positions: int) -> None:
    ids, embeddings, doutputs = _case((positions,), (max(1, shape[0]), shape[1]), ("float32", "int64"))
    assert functional.embedding_forward(ids, embeddings[: shape[0]]).shape == (positions, shape[1])
    dembeddings = functional.embedding_backward(ids, doutputs, shape[0])
    assert dembeddings.shape == shape
    assert not dembeddings.any()


@pytest.mark.parametrize("dtypes", [("float32", "int32"), ("float64", "int64")])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_same_bits_for_any_threads(distribution: str, dtypes: tuple[str, str]) -> None:
    _, embeddings, doutputs = _case((POSITIONS,), (INPUT_DIM, OUTPUT_DIM), dtypes)
    ids = np.asarray(DISTRIBUTIONS[distribution](np.random.default_rng(1)), dtypes[1])
    outputs = embeddings[ids]
    sums, sums_of_squares = _sums(ids, doutputs, INPUT_DIM), _sums(ids, doutputs * doutputs, INPUT_DIM)
    for threads in (1, 2, 3, 4, 8):
        runtime.set_num_threads(threads)
        np.testing.assert_array_equal(functional.embedding_forward(ids, embeddings), outputs)
        np.testing.assert_array_equal(functional.embedding_backward(ids, doutputs, INPUT_DIM), sums)
        got = functional.embedding_backward(ids, doutputs, INPUT_DIM, squared=True)
        np.testing.assert_array_equal(got, sums_of_squares)


def test_rows_narrower_than_a_cache_line_are_not_divided() -> None:
    rng = np.random.default_rng(0)
    ids, doutputs = rng.choice([0, 0, 0, 5], 1_200_000), rng.standard_normal((1_200_000, 3))
    expected = _sums(ids, doutputs, 6)
    for threads in (1, 2, 3, 6):
        runtime.set_num_threads(threads)
        np.testing.assert_array_equal(functional.embedding_backward(ids, doutputs, 6), expected)


def test_reference_matches_finite_difference() -> None:
    ids, embeddings, doutputs = _case((3, 5), (4, 2), ("float64", "int64"))

    def loss() -> float:
        return float((doutputs * reference.embedding_forward(ids, embeddings)).sum())

    difference = finite_difference(loss, embeddings)
    assert_close(reference.embedding_backward(ids, doutputs, 4), difference, FINITE_DIFFERENCE)


def test_nan_stays_in_its_row() -> None:
    ids, embeddings, doutputs = _case((3, 5), (4, 20), ("float32", "int32"))
    embeddings[2, 7] = doutputs[1, 1, 3] = np.nan
    expected = np.zeros((4, 20), bool)
    expected[ids[1, 1], 3] = True
    np.testing.assert_array_equal(np.isnan(functional.embedding_backward(ids, doutputs, 4)), expected)
    np.testing.assert_array_equal(np.isnan(functional.embedding_forward(ids, embeddings)), np.isnan(embeddings)[ids])


def _ids(*shape: int, dtype: Any = np.int32) -> Any:
    return np.zeros(shape, dtype)


def _float(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def _with(value: int, *place: int, dtype: Any = np.int32) -> Any:
    """Ids of shape (4, 20)."""
    ids = _ids(4, 20, dtype=dtype)
    ids[place] = value
    return ids


IDS_ERRORS = [
    (_with(5003, 3, 17), ValueError, r"ids must be in \[0, 5000\), got 5003 at \(3, 17\)"),
    (_with(5000, 0, 0), ValueError, r"ids must be in \[0, 5000\), got 5000 at \(0, 0\)"),
    (_with(-1, 1, 0), ValueError, r"ids must be in \[0, 5000\), got -1 at \(1, 0\)"),
    (_with(2**40, 3, 19, dtype=np.int64), ValueError, r"got 1099511627776 at \(3, 19\)"),
    (_with(-(2**63), 2, 2, dtype=np.int64), ValueError, r"got -9223372036854775808 at \(2, 2\)"),
    (np.array(-7), ValueError, r"got -7 at \(\)"),
    (np.array([0, 6000]), ValueError, r"got 6000 at \(1,\)"),
    (_ids(4, 20, dtype=np.uint8), TypeError, "ids must have dtype int32 or int64, got uint8"),
    (_ids(4, 20, dtype=np.uint32), TypeError, "ids must have dtype int32 or int64, got uint32"),
    (_ids(4, 20, dtype=np.int16), TypeError, "ids must have dtype int32 or int64, got int16"),
    (_ids(4, 20, dtype=">i4"), TypeError, "ids must have dtype int32 or int64, got >i4"),
    (_float(4, 20), TypeError, "ids must have dtype int32 or int64, got float32"),
    (_ids(20, 4).T, ValueError, "ids must be C-contiguous"),
    ([[0]], TypeError, "ids must be a numpy.ndarray, got list"),
    (None, ValueError, "ids is required, got None"),
    (_ids(*[1] * 8), ValueError, r"ids must have at most 7 dimensions, got shape \(1, 1, 1, 1, 1, 1, 1, 1\)"),
]


@pytest.mark.parametrize(("ids", "error", "message"), IDS_ERRORS)
def test_rejects_ids(ids: Any, error: type[Exception], message: str) -> None:
    shape = ids.shape if isinstance(ids, np.ndarray) else (4, 20)
    with pytest.raises(error, match=message):
        functional.embedding_forward(ids, _float(5000, 3))
    with pytest.raises(error, match=message):
        functional.embedding_backward(ids, _float(*shape, 3), 5000)


def test_rejects_other_arguments() -> None:
    ids = _ids(4, 20)
    with pytest.raises(ValueError, match=r"embeddings must have shape \(input_dim, output_dim\), got \(5000,\)"):
        functional.embedding_forward(ids, _float(5000))
    with pytest.raises(TypeError, match="embeddings must have dtype float32 or float64, got int32"):
        functional.embedding_forward(ids, _ids(5000, 3))
    with pytest.raises(ValueError, match=r"ids must be in \[0, 0\), got 0 at \(0, 0\)"):
        functional.embedding_forward(ids, _float(0, 3))
    with pytest.raises(ValueError, match=r"doutputs must have shape \(\*ids.shape, output_dim\), got \(4, 3\)"):
        functional.embedding_backward(ids, _float(4, 3), 5)
    with pytest.raises(ValueError, match=r"doutputs must have shape \(4, 20, 3\), got \(4, 21, 3\)"):
        functional.embedding_backward(ids, _float(4, 21, 3), 5)
    with pytest.raises(TypeError, match="doutputs must have dtype float32 or float64, got float16"):
        functional.embedding_backward(ids, _float(4, 20, 3, dtype=np.float16), 5)
    with pytest.raises(ValueError, match="input_dim must be 0 or more, got -1"):
        functional.embedding_backward(ids, _float(4, 20, 3), -1)

"""Dropout of NumPy arrays: the same bits as its definition, which test_keras_dropout.py compares with TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fastseq import reference, runtime
from fastseq.functional import dropout

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

SEEDS = [(0, 0), (1, 0), (7, 2**31 - 1), (-1, -(2**31)), (2**32 + 3, -(2**63)), (np.int64(5), np.uint32(2**32 - 1))]
# Around a counter's 4 words, vectors of 8, 16 and 32 of them, a chunk of 256.
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 127, 128, 129, 255, 256, 257, 1003]
LARGE = 1_000_003  # for several threads


def _x(shape: Sequence[int], dtype: str) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _assert_same_bits(got: Any, expected: Any, what: str = "") -> None:
    assert got.dtype == expected.dtype, what
    np.testing.assert_array_equal(got, expected, err_msg=what)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected), err_msg=what)


@every_dtype
def test_matches_reference_at_any_size(isa: str, dtype: str) -> None:
    for size in SIZES:
        x = _x((size,), dtype)
        _assert_same_bits(dropout(x, 0.3, (1, 2)), reference.dropout(x, 0.3, (1, 2)), f"{size}")


@pytest.mark.parametrize("seed", SEEDS, ids=str)
@every_dtype
def test_matches_reference_for_any_seed(isa: str, dtype: str, seed: tuple[int, int]) -> None:
    x = _x((1003,), dtype)
    _assert_same_bits(dropout(x, 0.5, seed), reference.dropout(x, 0.5, seed))


@every_dtype
def test_rates_on_the_edges(isa: str, dtype: str) -> None:
    """Rates at, just below and just above what a random number is."""
    noise = reference.dropout_noise((64,), (1, 2), dtype)
    x = np.ones(64, dtype)
    for drawn in (float(noise.min()), float(noise[5]), float(noise.max())):
        exact = np.dtype(dtype).type(drawn)
        for rate in (np.nextafter(exact, exact - exact), exact, np.nextafter(exact, exact / exact)):
            got = dropout(x, float(rate), (1, 2))
            _assert_same_bits(got, reference.dropout(x, float(rate), (1, 2)), f"{rate}")
            np.testing.assert_array_equal(got != 0, noise >= float(rate))


@every_dtype
def test_rates_at_the_ends(isa: str, dtype: str) -> None:
    x = _x((100,), dtype)
    _assert_same_bits(dropout(x, 0, (1, 2)), x)
    _assert_same_bits(dropout(x, 1, (1, 2)), np.zeros(100, dtype))
    # Beyond what the dtype tells from 1.
    almost = float(np.nextafter(1.0, 0.0))
    _assert_same_bits(dropout(x, almost, (1, 2)), reference.dropout(x, almost, (1, 2)))


@every_dtype
def test_special_numbers(isa: str, dtype: str) -> None:
    x = np.tile(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype), 40)
    got = dropout(x, 0.5, (1, 2))
    dropped = reference.dropout(np.ones_like(x), 0.5, (1, 2)) == 0
    assert not np.any(got[dropped])
    assert not np.any(np.signbit(got[dropped]))
    _assert_same_bits(got[~dropped], 2 * x[~dropped])


# Every way to share noise in up to four dimensions, the first of which matters to a single thread, and more dimensions.
SHAPES: list[tuple[tuple[int, ...], tuple[int | None, ...]]] = [
    *(((3, 4, 5, 7), noise) for noise in itertools.product((None, 1), repeat=4)),
    ((2, 3, 2, 3, 2, 3, 2, 2), (None, 1, None, 1, None, 1, None, 1)),
    ((2, 3, 2, 3, 2, 3, 2, 2), (1, None, 1, None, 1, None, 1, None)),
    ((3, 1, 5, 1), (None, 1, None, 1)),
    ((3, 4, 5), (5,)),
    ((3, 4, 5), (4, 1)),
    ((3, 4, 5), (1,)),
    ((3, 4, 5), ()),
    ((3, 4, 600), (None, 1, 600)),
    ((3, 0, 5), (None, 1, None)),
    ((3, 0, 5), (3, 0, 5)),
    ((), ()),
]


@pytest.mark.parametrize(("shape", "noise"), SHAPES, ids=str)
@every_dtype
def test_noise_shapes(isa: str, dtype: str, shape: tuple[int, ...], noise: tuple[int | None, ...]) -> None:
    x = _x(shape, dtype)
    got = dropout(x, 0.4, (3, -9), noise_shape=noise)
    _assert_same_bits(got, reference.dropout(x, 0.4, (3, -9), noise_shape=noise))


@pytest.mark.parametrize(
    ("shape", "noise"),
    [
        ((LARGE,), None),
        ((1009, 991), (None, 1)),
        ((1009, 991), (1, None)),
        ((3, 337, 991), (None, 1, None)),
        ((337, 3, 991), (None, 1, None)),
        ((3, 337, 991), (1, None, 1)),
        ((7, 11, 13, 1009), (None, 1, None, 1)),
    ],
    ids=str,
)
@every_dtype
def test_threads_have_the_same_bits(
    isa: str, dtype: str, shape: tuple[int, ...], noise: tuple[int | None, ...] | None
) -> None:
    x = _x(shape, dtype)
    expected = reference.dropout(x, 0.3, (1, 2), noise_shape=noise)
    for threads in (1, 2, 3, 7):
        runtime.set_num_threads(threads)
        _assert_same_bits(dropout(x, 0.3, (1, 2), noise_shape=noise), expected, f"{threads} threads")


def test_gradient_is_dropout_of_the_gradient() -> None:
    x, dy = _x((5, 6), "float64"), _x((6, 5), "float64").T.copy()
    jacobian = np.array([dropout(one, 0.4, (1, 2)) for one in np.eye(30).reshape(30, 5, 6)]).reshape(30, 30)
    np.testing.assert_allclose(jacobian.T @ x.ravel(), dropout(x, 0.4, (1, 2)).ravel())
    np.testing.assert_allclose(jacobian @ dy.ravel(), dropout(dy, 0.4, (1, 2)).ravel())


ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dropout([1.0], 0.5, (1, 2)), TypeError, r"x must be a numpy\.ndarray, got list"),  # type: ignore[arg-type]
        (lambda: dropout(None, 0.5, (1, 2)), ValueError, "x is required, got None"),  # type: ignore[arg-type]
        (lambda: dropout(ONES.astype(int), 0.5, (1, 2)), TypeError, "x must have dtype float32 or float64, got int64"),
        (lambda: dropout(ONES > 0, 0.5, (1, 2)), TypeError, "x must have dtype float32 or float64, got bool"),
        (lambda: dropout(ONES.T, 0.5, (1, 2)), ValueError, "x must be C-contiguous"),
        (lambda: dropout(np.ones([1] * 9), 0.5, (1, 2)), ValueError, "x must have at most 8 dimensions, got 9"),
        (lambda: dropout(ONES, 1.5, (1, 2)), ValueError, r"rate must be in \[0, 1\], got 1\.5"),
        (lambda: dropout(ONES, -0.1, (1, 2)), ValueError, r"rate must be in \[0, 1\], got -0\.1"),
        (lambda: dropout(ONES, np.nan, (1, 2)), ValueError, r"rate must be in \[0, 1\], got nan"),
        (lambda: dropout(ONES, "0.5", (1, 2)), TypeError, "rate must be a number, got '0.5'"),  # type: ignore[arg-type]
        (lambda: dropout(ONES, 0.5, (1,)), ValueError, r"seed must be two integers of 64 bits, got \[1\]"),
        (lambda: dropout(ONES, 0.5, (1, 2**63)), ValueError, r"seed must be two integers of 64 bits, got \[1, 9223"),
        (lambda: dropout(ONES, 0.5, (1, 2.0)), TypeError, r"seed must be of integers, got 2\.0"),  # type: ignore[arg-type]
        (
            lambda: dropout(ONES, 0.5, (1, 2), noise_shape=(2, 1.0)),  # type: ignore[arg-type]
            TypeError,
            r"noise_shape must be of integers, got 1\.0",
        ),
        (
            lambda: dropout(ONES, 0.5, (1, 2), noise_shape=(2, -1)),
            ValueError,
            "noise_shape must have sizes of 0 or more",
        ),
        *(
            (
                lambda noise=noise: dropout(ONES, 0.5, (1, 2), noise_shape=noise),
                ValueError,
                rf"noise_shape must be broadcastable to x's shape \(2, 3\), got {text}",
            )
            for noise, text in [
                ((3, 3), r"\(3, 3\)"),
                ((2,), r"\(2,\)"),
                ((1, 2, 3), r"\(1, 2, 3\)"),
                ((2, 0), r"\(2, 0\)"),
            ]
        ),
    ],
)
def test_bad_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()

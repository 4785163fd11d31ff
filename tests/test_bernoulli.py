"""Random booleans: the bits of their definition, which test_jax_functional.py compares with JAX's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastseq import reference, runtime
from fastseq._libraries import core

LARGE = 1_000_003  # for several threads


def _bernoulli(key: tuple[int, int], probability: float, count: int) -> Any:
    return core.compute("bernoulli", {"key": np.array(key, np.int32), "probability": probability, "count": count})[
        "outputs"
    ]


@pytest.mark.parametrize("key", [(0, 0), (1, 2), (-1, -(2**31)), (2**31 - 1, 77)], ids=str)
def test_matches_reference(isa: str, key: tuple[int, int]) -> None:
    for count in (0, 1, 15, 16, 17, 255, 256, 257, 1003):
        for probability in (0.0, 2.0**-23, 0.3, 0.999999999, 1.0):
            got = _bernoulli(key, probability, count)
            assert got.dtype == np.bool_
            np.testing.assert_array_equal(got, reference.bernoulli(key, probability, count), f"{count} {probability}")


def test_same_bits_for_any_number_of_threads() -> None:
    expected = reference.bernoulli((3, 4), 0.8, LARGE)
    for threads in (1, 2, 3):
        runtime.set_num_threads(threads)
        np.testing.assert_array_equal(_bernoulli((3, 4), 0.8, LARGE), expected)
    assert abs(expected.mean() - 0.8) < 0.002

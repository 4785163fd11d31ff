"""Checks that are the same for every operation."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import runtime

_STEP = 1e-6  # see tolerances.FINITE_DIFFERENCE


def finite_difference(loss: Callable[[], float], array: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gradient of a loss by an array that it reads; each element is changed and put back."""
    difference = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + _STEP
        above = loss()
        array[index] = kept - _STEP
        difference[index] = (above - loss()) / (2 * _STEP)
        array[index] = kept
    return difference


def assert_same_bits(
    run: Callable[[], Mapping[str, Any]], isas: Iterable[str], threads: Iterable[int], what: object
) -> None:
    """That a call gives the results that the scalar kernels give in one thread."""
    runtime.set_isa("scalar")
    runtime.set_num_threads(1)
    expected = run()
    for isa, number in itertools.product(isas, threads):
        runtime.set_isa(isa)
        runtime.set_num_threads(number)
        for name, array in run().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{isa} {number} {what} {name}")


def assert_no_bias_is_zero(run: Callable[[], dict[str, Any]], arrays: dict[str, Any]) -> None:
    """Without the bias among `arrays`, which `run` reads, results are as with a bias of zero, but there is no dbias."""
    arrays["bias"] = np.zeros_like(arrays["bias"])
    expected = run()
    arrays.pop("bias")
    got = run()
    assert got.pop("dbias") is None
    for name, array in got.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def assert_same_in_python_threads(run: Callable[[], dict[str, Any]], names: Iterable[str], calls: int) -> None:
    """Calls from many Python threads at once give the same bits."""
    expected = run()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: run(), range(calls)):
            for name in names:
                np.testing.assert_array_equal(got[name], expected[name])


def _compute_in_child(queue: Any, compute: Callable[[], Any]) -> None:
    queue.put((runtime.get_num_threads(), compute()))


def assert_works_in_a_forked_child(compute: Callable[[], Any]) -> None:
    """An array is the same bits when computed in a forked child, which has one thread."""
    runtime.set_num_threads(2)
    expected = compute()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_compute_in_child, args=(queue, compute))
    child.start()
    threads, got = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert threads == 1
    np.testing.assert_array_equal(got, expected)

"""The recurrent ops on a GPU: sizes at the limits of a block, a cluster and a thread, and both kinds of time loop.

The emulated GPU has 4 multiprocessors, so that even a few rows share a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnn_cases
from gpu_arrays import Emulated, Real, on_gpu
from tolerances import CUDA, assert_close

# batch, timesteps, inputs, units. A group of lanes has one or four units, a thread's weights are 2, 4, 6 or 8 chunks of
# four, and from about 100 units on they take a cluster.
SIZES = [
    (1, 1, 1, 1),
    (2, 3, 4, 5),
    (5, 4, 3, 16),
    (3, 2, 7, 33),
    (9, 3, 2, 64),
    (2, 2, 3, 100),
    (3, 2, 1, 129),
]
EMPTY = [(0, 3, 2, 4), (2, 0, 3, 4), (2, 3, 0, 4)]
OPTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "plain": lambda _: {},
    "backwards": lambda _: {"masked": True, "go_backwards": True, "h0_as_first_output": True},
    "dropout": lambda _: {"masked": True, "zero_output_for_mask": True, "dropout": 1, "recurrent_dropout": 1},
    "gates_dropout": lambda cell: {
        "masked": True,
        "dropout": rnn_cases.GATES[cell],
        "recurrent_dropout": rnn_cases.GATES[cell],
    },
}


def _run(gpu: Emulated | Real, case: rnn_cases.Case) -> dict[str, Any]:
    got = rnn_cases.run_native(on_gpu(case, "float32", gpu.array))
    return {name: gpu.numpy(value) for name, value in got.items()}


def _check(gpu: Emulated | Real, case: rnn_cases.Case) -> None:
    got = _run(gpu, case)
    for name, value in rnn_cases.run_reference(case).items():
        assert_close(got[name], value, CUDA["float32"], name)


@rnn_cases.every_variant
@pytest.mark.parametrize(
    ("size", "options"),
    # The large ones take long on an emulated GPU, and without elements options mean little.
    [
        (size, options)
        for size in [*SIZES, *EMPTY]
        for options in (OPTIONS if size in SIZES and size[-1] < 100 else ("plain", "dropout"))
    ],
    ids=str,
)
def test_matches_reference(
    gpu: Emulated | Real, cell: str, variant: dict[str, Any], size: tuple[int, ...], options: str
) -> None:
    _check(gpu, rnn_cases.make_case(cell, *size, **{**variant, **OPTIONS[options](cell)}))


@rnn_cases.every_cell
@pytest.mark.parametrize("units", [20, 64, 100, 200])
def test_many_rows_match_reference(gpu: Emulated | Real, cell: str, units: int) -> None:
    """More than there are multiprocessors, so that a cluster has several, and the last one fewer."""
    if isinstance(gpu, Emulated) and units > 20:
        pytest.skip("takes minutes on an emulated GPU")
    batch = 11 if isinstance(gpu, Emulated) else 2 * gpu.multiprocessors() + 3
    _check(gpu, rnn_cases.make_case(cell, batch, 4, 3, units, masked=True))


@rnn_cases.every_variant
@pytest.mark.parametrize("options", OPTIONS)
def test_matches_reference_without_clusters(
    emulated: Emulated, monkeypatch: pytest.MonkeyPatch, cell: str, variant: dict[str, Any], options: str
) -> None:
    """GPUs before compute capability 9.0 have none: what is too large for one block goes step by step."""
    monkeypatch.setenv("FASTSEQ_EMULATED_MAJOR", "8")
    for units in (33, 130):
        _check(emulated, rnn_cases.make_case(cell, 3, 3, 2, units, **{**variant, **OPTIONS[options](cell)}))


@rnn_cases.every_cell
@pytest.mark.parametrize("activation", rnn_cases.ACTIVATIONS)
def test_activations_match_reference(gpu: Emulated | Real, cell: str, activation: str) -> None:
    for options in rnn_cases.activation_options(cell):
        if options["activation"] == activation:
            _check(gpu, rnn_cases.make_case(cell, 2, 3, 2, 6, **options))


@rnn_cases.every_cell
def test_order_of_threads_does_not_matter(emulated: Emulated, cell: str) -> None:
    """A missing barrier would show: threads that take turns at random would read what is not there yet."""
    for size in ((5, 6, 2, 16), (3, 5, 2, 100)):
        case = rnn_cases.make_case(cell, *size, masked=True, recurrent_dropout=1)
        emulated.order(0)
        expected = _run(emulated, case)
        try:
            for seed in (1, 2, 3):
                emulated.order(seed)
                for name, value in _run(emulated, case).items():
                    np.testing.assert_array_equal(value, expected[name], err_msg=name)
        finally:
            emulated.order(0)


@rnn_cases.every_variant
def test_same_bits_from_run_to_run(gpu: Emulated | Real, cell: str, variant: dict[str, Any]) -> None:
    case = rnn_cases.make_case(cell, 20, 30, 10, 64, masked=True, **variant)
    if isinstance(gpu, Emulated):
        case = rnn_cases.make_case(cell, 5, 6, 3, 20, masked=True, **variant)
    first = _run(gpu, case)
    for _ in range(3):
        for name, value in _run(gpu, case).items():
            np.testing.assert_array_equal(value, first[name], err_msg=name)


@rnn_cases.every_variant
def test_masked_inputs_are_never_used(gpu: Emulated | Real, cell: str, variant: dict[str, Any]) -> None:
    case = rnn_cases.make_case(cell, 3, 5, 2, 6, masked=True, **variant)
    expected = _run(gpu, case)
    case.weights["x"][~case.masks["mask"]] = np.nan
    for name, value in _run(gpu, case).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)

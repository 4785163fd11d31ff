"""The definition itself: against finite differences and against stock Keras."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from lstm_cases import make_case
from tolerances import FINITE_DIFFERENCE, STOCK, assert_close

from fastseq import reference

OPTIONS = [
    dict(zip(("masked", "go_backwards", "zero_output_for_mask"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=3)
]


def _loss(case: Any) -> float:
    forward = reference.lstm_forward(**case.weights, **case.states, **case.masks, **case.options)
    pairs = {
        "doutputs": forward.outputs,
        "dlast_output": forward.last_output,
        "dh_n": forward.h_n,
        "dc_n": forward.c_n,
    }
    return float(sum((gradient * pairs[name]).sum() for name, gradient in case.gradients.items()))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("dropout", "recurrent_dropout"), [(0, 0), (1, 4), (4, 1)])
def test_backward_matches_finite_difference(options: dict[str, bool], dropout: int, recurrent_dropout: int) -> None:
    case = make_case(3, 4, 2, 3, "float64", dropout=dropout, recurrent_dropout=recurrent_dropout, seed=1, **options)
    forward = reference.lstm_forward(**case.weights, **case.states, **case.masks, **case.options)
    gradients = reference.lstm_backward(
        forward,
        *(case.weights[name] for name in ("x", "kernel", "recurrent_kernel")),
        **case.gradients,
        **{name: mask for name, mask in case.masks.items() if name != "mask"},
        zero_output_for_mask=options["zero_output_for_mask"],
    )
    step = 1e-6
    for group in (case.weights, case.states):
        for name, array in group.items():
            difference = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + step
                above = _loss(case)
                array[index] = kept - step
                below = _loss(case)
                array[index] = kept
                difference[index] = (above - below) / (2 * step)
            assert_close(getattr(gradients, f"d{name}"), difference, FINITE_DIFFERENCE, name)


@pytest.mark.parametrize("options", OPTIONS)
def test_forward_matches_stock_keras(options: dict[str, bool]) -> None:
    case = make_case(3, 5, 4, 6, "float64", seed=2, **options)
    layer = keras.layers.LSTM(
        6,
        return_sequences=True,
        return_state=True,
        go_backwards=options["go_backwards"],
        zero_output_for_mask=options["zero_output_for_mask"],
        dtype="float64",
    )
    layer.build((None, 5, 4))
    layer.set_weights([case.weights[name] for name in ("kernel", "recurrent_kernel", "bias")])
    outputs, h_n, c_n = layer(
        tf.constant(case.weights["x"]),
        initial_state=[tf.constant(case.states["h0"]), tf.constant(case.states["c0"])],
        mask=None if "mask" not in case.masks else tf.constant(case.masks["mask"]),
    )
    forward = reference.lstm_forward(**case.weights, **case.states, **case.masks, **case.options)
    assert_close(forward.outputs, outputs, STOCK["float64"], "outputs")
    assert_close(forward.last_output, outputs[:, -1], STOCK["float64"], "last_output")
    assert_close(forward.h_n, h_n, STOCK["float64"], "h_n")
    assert_close(forward.c_n, c_n, STOCK["float64"], "c_n")


def test_sigmoid_limits() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        got = reference.sigmoid([-np.inf, -800.0, 0.0, 800.0, np.inf])
    np.testing.assert_array_equal(got, [0.0, 0.0, 0.5, 1.0, 1.0])

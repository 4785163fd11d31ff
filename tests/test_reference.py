"""The definition of the recurrent layers and the activations, against finite differences and stock Keras."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from kernel_checks import finite_difference
from rnn_cases import (
    GATES,
    VARIANTS,
    activation_options,
    every_variant,
    make_case,
    reference_backward,
    reference_forward,
)
from tolerances import FINITE_DIFFERENCE, STOCK, assert_close

from fastseq import reference

OPTIONS = [
    dict(zip(("masked", "go_backwards", "zero_output_for_mask", "h0_as_first_output"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=4)
]
ACTIVATIONS = [
    (cell, {**variant, **activations}) for cell, variant in VARIANTS for activations in activation_options(cell)
]
STOCK_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}


def _assert_matches_finite_difference(case: Any) -> None:
    def loss() -> float:
        forward = reference_forward(case)
        return float(sum((gradient * getattr(forward, name[1:])).sum() for name, gradient in case.gradients.items()))

    gradients = reference_backward(case, reference_forward(case))
    for group in (case.weights, case.states):
        for name, array in group.items():
            difference = finite_difference(loss, array)
            assert_close(getattr(gradients, f"d{name}"), difference, FINITE_DIFFERENCE, name)


@pytest.mark.parametrize("options", OPTIONS)
@every_variant
def test_backward_matches_finite_difference(cell: str, variant: dict[str, Any], options: dict[str, bool]) -> None:
    for dropout, recurrent_dropout in ((0, 0), (1, GATES[cell]), (GATES[cell], 1)):
        _assert_matches_finite_difference(
            make_case(
                cell,
                3,
                4,
                2,
                3,
                "float64",
                dropout=dropout,
                recurrent_dropout=recurrent_dropout,
                seed=1,
                **variant,
                **options,
            )
        )


@pytest.mark.parametrize(("cell", "options"), ACTIVATIONS)
def test_activations_match_finite_difference(cell: str, options: dict[str, Any]) -> None:
    _assert_matches_finite_difference(make_case(cell, 2, 3, 2, 3, "float64", masked=True, **options))


def _assert_matches_stock_keras(case: Any) -> None:
    _, timesteps, inputs = case.weights["x"].shape
    masks = {name: tf.constant(mask) for name, mask in case.masks.items()}
    layer = STOCK_LAYERS[case.cell](
        len(case.weights["recurrent_kernel"]),
        return_sequences=True,
        return_state=True,
        # Any rate: the factors are the case's.
        dropout=0.5 if "dropout_mask" in masks else 0.0,
        recurrent_dropout=0.5 if "recurrent_dropout_mask" in masks else 0.0,
        dtype="float64",
        **case.options,
    )
    layer.build((None, timesteps, inputs))
    layer.set_weights([case.weights[name] for name in ("kernel", "recurrent_kernel", "bias")])
    for name in masks.keys() - {"mask"}:
        # A list of one for each gate, but for the SimpleRNN's single one.
        factors = masks[name][0] if case.cell == "simple_rnn" else tf.unstack(masks[name])
        setattr(layer.cell, f"get_{name}", lambda step, factors=factors: factors)
    outputs, *states = layer(
        tf.constant(case.weights["x"]),
        initial_state=[tf.constant(state) for state in case.states.values()],
        mask=masks.get("mask"),
        training=True,
    )
    forward = reference_forward(case)
    assert_close(forward.outputs, outputs, STOCK["float64"], "outputs")
    assert_close(forward.last_output, outputs[:, -1], STOCK["float64"], "last_output")
    for name, state in zip(case.states, states, strict=True):
        assert_close(getattr(forward, f"{name[0]}_n"), state, STOCK["float64"], name)


# Keras on TensorFlow has no h0_as_first_output.
@pytest.mark.parametrize("options", [options for options in OPTIONS if not options["h0_as_first_output"]])
@every_variant
def test_forward_matches_stock_keras(cell: str, variant: dict[str, Any], options: dict[str, bool]) -> None:
    _assert_matches_stock_keras(make_case(cell, 3, 5, 4, 6, "float64", seed=2, **variant, **options))


@every_variant
def test_dropout_matches_stock_keras(cell: str, variant: dict[str, Any]) -> None:
    gates = GATES[cell]
    _assert_matches_stock_keras(
        make_case(cell, 3, 5, 4, 6, "float64", dropout=gates, recurrent_dropout=gates, seed=3, **variant)
    )


@pytest.mark.parametrize(("cell", "options"), ACTIVATIONS)
def test_activations_match_stock_keras(cell: str, options: dict[str, Any]) -> None:
    _assert_matches_stock_keras(make_case(cell, 3, 5, 4, 6, "float64", seed=4, **options))


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_activation_and_derivative_match_stock_keras(name: str) -> None:
    x = tf.constant(np.linspace(-4.0, 4.0, 101))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.activations.get(name)(x)
    activation = reference.ACTIVATIONS[name]
    assert_close(activation.function(x.numpy()), y, STOCK["float64"], name)
    assert_close(activation.derivative(activation.function(x.numpy())), tape.gradient(y, x), STOCK["float64"], name)


@every_variant
def test_a_gradient_has_the_shape_of_its_input(cell: str, variant: dict[str, Any]) -> None:
    case = make_case(cell, 3, 4, 2, 5, **variant)
    gradients = reference_backward(case, reference_forward(case))
    for name, array in {**case.weights, **case.states}.items():
        assert getattr(gradients, f"d{name}").shape == array.shape, name


def test_sigmoid_limits() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        got = reference.sigmoid([-np.inf, -800.0, 0.0, 800.0, np.inf])
    np.testing.assert_array_equal(got, [0.0, 0.0, 0.5, 1.0, 1.0])

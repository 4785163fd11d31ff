"""The TensorFlow operations without the layers: graphs, gradients, shapes, errors, a fresh process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from backends import every_wrap
from processes import run_python
from rnn_cases import (
    GATES,
    STATES,
    VARIANTS,
    Case,
    activation_options,
    every_cell,
    every_variant,
    make_case,
    native_forward,
    run_native,
)
from tolerances import REFERENCE, assert_close

from fastseq.keras import FastGRU, FastLSTM, FastSimpleRNN, export_native
from fastseq.keras.backend import tensorflow as backend


def _options(case: Case) -> dict[str, Any]:
    """All options of the case's cell."""
    defaults: dict[str, Any] = {"activation": "tanh"}
    if case.cell != "simple_rnn":
        defaults["recurrent_activation"] = "sigmoid"
    if case.cell == "gru":
        defaults["reset_after"] = True
    return {**defaults, **case.options}


def _call(case: Case, arrays: dict[str, Any], training: bool) -> tuple[Any, Any, list[Any]]:
    result: tuple[Any, Any, list[Any]] = backend.rnn(
        case.cell,
        [arrays[name] for name in ("x", "kernel", "recurrent_kernel", "bias")]
        + [arrays[f"{state}0"] for state in STATES[case.cell]]
        + [case.masks.get(name) for name in ("mask", "dropout_mask", "recurrent_dropout_mask")],
        options=_options(case) | {"return_sequences": case.return_sequences},
        training=training,
    )
    return result


def _tensors(case: Case) -> dict[str, Any]:
    given = {**case.weights, **case.states}
    return {name: tf.constant(array) for name, array in given.items() if array is not None}


def _run(case: Case, training: bool, wrap: Callable[[Any], Any]) -> dict[str, Any]:
    arrays = _tensors(case)

    @wrap
    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(list(arrays.values()))
            last_output, outputs, states = _call(case, {"bias": None, **arrays}, training)
            results = {"last_output": last_output, "outputs": outputs}
            results |= {f"{name}_n": state for name, state in zip(STATES[case.cell], states, strict=True)}
            loss = tf.add_n([tf.reduce_sum(g * results[name[1:]]) for name, g in case.gradients.items()])
        gradients = tape.gradient(loss, arrays)
        if not case.return_sequences:
            del results["outputs"]  # the last one only: no result of `functional`
        return {**results, **{f"d{name}": gradient for name, gradient in gradients.items()}}

    return dict(compute())


def _assert_same_bits(case: Case, training: bool, wrap: Callable[[Any], Any]) -> None:
    expected = {name: array for name, array in run_native(case).items() if array is not None}
    got = _run(case, training, wrap)
    assert got.keys() == expected.keys()
    for name, tensor in got.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=f"{case.options} {name}")


@every_wrap
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("return_sequences", [True, False])
@every_variant
def test_same_bits_as_functional(
    cell: str, variant: dict[str, Any], wrap: Any, training: bool, dtype: str, return_sequences: bool
) -> None:
    case = make_case(
        cell,
        5,
        6,
        7,
        9,
        dtype,
        masked=True,
        go_backwards=True,
        dropout=GATES[cell],
        recurrent_dropout=GATES[cell],
        return_sequences=return_sequences,
        **variant,
    )
    _assert_same_bits(case, training, wrap)


@pytest.mark.parametrize("training", [True, False])
@every_variant
def test_options_have_the_same_bits_as_functional(cell: str, variant: dict[str, Any], training: bool) -> None:
    for number, activations in enumerate(activation_options(cell)):
        options = {"go_backwards": number % 2 == 0, "zero_output_for_mask": number % 3 == 0, "masked": number % 5 > 0}
        dropout = {"dropout": number % 4 % 2, "recurrent_dropout": number % 4 // 2}
        _assert_same_bits(
            make_case(cell, 3, 4, 5, 6, **variant, **options, **dropout, **activations), training, lambda f: f
        )


@pytest.mark.parametrize("training", [True, False])
@every_variant
def test_without_bias_has_the_same_bits_as_functional(cell: str, variant: dict[str, Any], training: bool) -> None:
    case = make_case(cell, 3, 4, 5, 6, masked=True, **variant)
    case.weights["bias"] = None
    _assert_same_bits(case, training, lambda f: f)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@every_variant
def test_half_types_compute_in_float32(cell: str, variant: dict[str, Any], dtype: str) -> None:
    case = make_case(cell, 3, 4, 5, 6, **variant)
    arrays = {name: tf.cast(array, dtype) for name, array in _tensors(case).items()}
    kind = {"lstm": FastLSTM, "gru": FastGRU, "simple_rnn": FastSimpleRNN}[cell]
    layer = kind(
        6,
        return_sequences=True,
        return_state=True,
        dtype=dtype,
        recurrent_initializer="zeros",
        use_native=True,
        **case.options,
    )
    layer.build(arrays["x"].shape)
    for weight, name in zip(layer.weights, ("kernel", "recurrent_kernel", "bias"), strict=True):
        weight.assign(arrays[name])
    outputs, *states = layer(arrays["x"], initial_state=[arrays[f"{state}0"] for state in STATES[cell]])
    wide = {name: tf.cast(array, tf.float32) for name, array in arrays.items()}
    _, expected, _ = _call(case, wide, True)
    assert {t.dtype for t in (outputs, *states)} == {tf.as_dtype(dtype)}
    np.testing.assert_array_equal(tf.cast(outputs, tf.float32), tf.cast(tf.cast(expected, dtype), tf.float32))


@every_cell
def test_static_shapes(cell: str) -> None:
    @tf.function
    def graph(x: Any) -> Any:
        case = make_case(cell, 1, 5, 3, 4)
        arrays = {**_tensors(case), "x": x}
        arrays |= {name: tf.zeros((tf.shape(x)[0], 4)) for name in case.states}
        last_output, outputs, states = _call(case, arrays, True)
        assert outputs.shape.as_list() == [None, 5, 4]
        assert all(t.shape.as_list() == [None, 4] for t in (last_output, *states))
        return outputs

    assert graph.get_concrete_function(tf.TensorSpec((None, 5, 3))).output_shapes.as_list() == [None, 5, 4]


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


@every_wrap
@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        *(
            (cell, change, message)
            for cell, gates in GATES.items()
            for change, message in [
                (
                    {"kernel": _zeros(4, gates * 5)},
                    rf"kernel must have shape \(3, {gates * 5}\), got \(4, {gates * 5}\)",
                ),
                ({"h0": _zeros(3, 5)}, r"h0 must have shape \(2, 5\), got \(3, 5\)"),
                ({"recurrent_kernel": _zeros(0, 0)}, "recurrent_kernel must have at least 1 unit"),
            ]
        ),
        ("lstm", {"c0": _zeros(2, 4)}, r"c0 must have shape \(2, 5\), got \(2, 4\)"),
        ("lstm", {"bias": _zeros(19)}, r"bias must have shape \(20,\), got \(19,\)"),
        ("gru", {"bias": _zeros(2, 14)}, r"bias must have shape \(2, 15\), got \(2, 14\)"),
        ("gru", {"bias": _zeros(15)}, r"bias must have shape \(2, 15\), got \(15,\)"),
        ("simple_rnn", {"bias": _zeros(2, 5)}, r"bias must have shape \(5,\), got \(2, 5\)"),
    ],
)
def test_bad_shapes_are_invalid_argument(cell: str, wrap: Any, change: dict[str, Any], message: str) -> None:
    case = make_case(cell, 2, 4, 3, 5)
    arrays = {**_tensors(case), **{name: tf.constant(array) for name, array in change.items()}}
    call = wrap(lambda: _call(case, arrays, True))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call()


@every_cell
def test_unknown_activation_is_invalid_argument(cell: str) -> None:
    case = make_case(cell, 2, 4, 3, 5, activation="gelu")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="gelu"):
        _call(case, _tensors(case), True)


@every_cell
def test_wrong_rank_fails_when_the_graph_is_built(cell: str) -> None:
    case = make_case(cell, 2, 4, 3, 5)
    arrays = {**_tensors(case), "x": tf.zeros((2, 3))}
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"must be rank 3|must have shape"):
        _call(case, arrays, True)


@every_cell
def test_persistent_tape(cell: str) -> None:
    case = make_case(cell, 2, 3, 4, 5)
    arrays = _tensors(case)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arrays["x"])
        last_output = _call(case, arrays, True)[0]
    one, two = tape.gradient(last_output, arrays["x"]), tape.gradient(last_output, arrays["x"])
    np.testing.assert_array_equal(one, two)


class _Outputs(tf.Module):  # type: ignore[misc]
    """A case as a function of x, from a state of zero."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._case = case

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])  # type: ignore[untyped-decorator]
    def outputs(self, x: Any) -> Any:
        state = tf.zeros((tf.shape(x)[0], 5))
        arrays = {**_tensors(self._case), "x": x, **dict.fromkeys(self._case.states, state)}
        return _call(self._case, arrays, False)[1]


def test_saved_model_in_a_fresh_process(tmp_path: Path) -> None:
    cases = [make_case(cell, 2, 4, 3, 5, activation="relu", **variant) for cell, variant in VARIANTS]
    for number, case in enumerate(cases):
        with export_native():
            tf.saved_model.save(_Outputs(case), str(tmp_path / f"model{number}"))
        np.save(tmp_path / f"x{number}.npy", case.weights["x"])
    code = f"""
import numpy as np, tensorflow as tf
import fastseq.keras
folder = {str(tmp_path)!r}
for number in range({len(cases)}):
    model = tf.saved_model.load(f"{{folder}}/model{{number}}")
    np.save(f"{{folder}}/got{{number}}.npy", model.outputs(np.load(f"{{folder}}/x{{number}}.npy")))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, case in enumerate(cases):
        case.states = {}
        expected = native_forward(case).outputs
        assert_close(np.load(tmp_path / f"got{number}.npy"), expected, REFERENCE["float32"], case.cell)


def test_no_gradient_by_x_where_nobody_asks_for_it() -> None:
    layer = FastLSTM(3, use_native=True)
    x = tf.random.stateless_normal((2, 4, 5), (0, 1))
    layer.build(x.shape)

    @tf.function
    def gradients(watched: bool) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            if watched:
                tape.watch(x)
            outputs = layer(x, training=True)
        return tape.gradient(outputs, [weight.value for weight in layer.trainable_variables])

    for watched in (True, False):
        graph = gradients.get_concrete_function(watched).graph
        (op,) = [op for op in graph.get_operations() if op.type == "FastseqLstmBackward"]
        assert op.get_attr("with_dx") == watched
    for with_dx, without in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(with_dx, without)

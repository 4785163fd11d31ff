"""The TensorFlow operations below the layers: graphs, gradients, shapes, errors, a fresh process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from processes import run_python
from rnn_cases import Case, make_case, run_native
from tolerances import REFERENCE, assert_close

from fastseq.keras.backend import tensorflow as backend

ARGUMENTS = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias")


def _call(case: Case, arrays: dict[str, Any], training: bool) -> tuple[Any, Any, list[Any]]:
    def factors(name: str) -> Any:
        mask = case.masks.get(name)
        return None if mask is None else list(tf.unstack(mask)) if len(mask) == 4 else tf.constant(mask[0])

    return backend.lstm(
        *(arrays[name] for name in ARGUMENTS),
        case.masks.get("mask"),
        factors("dropout_mask"),
        factors("recurrent_dropout_mask"),
        go_backwards=case.options["go_backwards"],
        zero_output_for_mask=case.options["zero_output_for_mask"],
        return_sequences=case.return_sequences,
        training=training,
    )


def _run(case: Case, training: bool, wrap: Callable[[Any], Any]) -> dict[str, Any]:
    arrays = {name: tf.constant(array) for name, array in {**case.weights, **case.states}.items()}

    @wrap
    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(list(arrays.values()))
            last_output, outputs, (h_n, c_n) = _call(case, arrays, training)
            by_name = {"doutputs": outputs, "dlast_output": last_output, "dh_n": h_n, "dc_n": c_n}
            loss = tf.add_n([tf.reduce_sum(g * by_name[name]) for name, g in case.gradients.items()])
        gradients = tape.gradient(loss, arrays)
        return {
            "last_output": last_output,
            "h_n": h_n,
            "c_n": c_n,
            **({"outputs": outputs} if case.return_sequences else {}),
            **{f"d{name}": gradient for name, gradient in gradients.items()},
        }

    return dict(compute())


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_same_bits_as_functional(wrap: Any, training: bool, dtype: str, return_sequences: bool) -> None:
    case = make_case(
        "lstm",
        5,
        6,
        7,
        9,
        dtype,
        masked=True,
        go_backwards=True,
        dropout=4,
        recurrent_dropout=4,
        return_sequences=return_sequences,
    )
    expected = run_native(case)
    for name, tensor in _run(case, training, wrap).items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_compute_in_float32(dtype: str) -> None:
    case = make_case("lstm", 3, 4, 5, 6)
    arrays = {name: tf.cast(array, dtype) for name, array in {**case.weights, **case.states}.items()}
    _, outputs, states = _call(case, arrays, True)
    wide = {name: tf.cast(array, tf.float32) for name, array in arrays.items()}
    _, expected, _ = _call(case, wide, True)
    assert outputs.dtype == states[0].dtype == tf.as_dtype(dtype)
    np.testing.assert_array_equal(tf.cast(outputs, tf.float32), tf.cast(tf.cast(expected, dtype), tf.float32))


def test_static_shapes() -> None:
    @tf.function
    def graph(x: Any) -> Any:
        case = make_case("lstm", 1, 5, 3, 4)
        arrays = {name: tf.constant(array) for name, array in case.weights.items()}
        arrays |= {"x": x, "h0": tf.zeros((tf.shape(x)[0], 4)), "c0": tf.zeros((tf.shape(x)[0], 4))}
        last_output, outputs, (h_n, _) = _call(case, arrays, True)
        assert outputs.shape.as_list() == [None, 5, 4]
        assert last_output.shape.as_list() == h_n.shape.as_list() == [None, 4]
        return outputs

    assert graph.get_concrete_function(tf.TensorSpec((None, 5, 3))).output_shapes.as_list() == [None, 5, 4]


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": np.zeros((4, 20), np.float32)}, r"kernel must have shape \(3, 20\), got \(4, 20\)"),
        ({"bias": np.zeros(19, np.float32)}, r"bias must have shape \(20,\), got \(19,\)"),
        ({"h0": np.zeros((3, 5), np.float32)}, r"h0 must have shape \(2, 5\), got \(3, 5\)"),
        ({"recurrent_kernel": np.zeros((0, 0), np.float32)}, "recurrent_kernel must have at least 1 unit"),
    ],
)
def test_bad_shapes_are_invalid_argument(wrap: Any, change: dict[str, Any], message: str) -> None:
    case = make_case("lstm", 2, 4, 3, 5)
    arrays = {**case.weights, **case.states, **change}
    call = wrap(lambda: _call(case, {name: tf.constant(array) for name, array in arrays.items()}, True))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call()


def test_wrong_rank_fails_when_the_graph_is_built() -> None:
    case = make_case("lstm", 2, 4, 3, 5)
    arrays = {**case.weights, **case.states, "x": np.zeros((2, 3), np.float32)}
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"must be rank 3|must have shape"):
        _call(case, arrays, True)


def test_second_order_gradients_say_that_there_are_none() -> None:
    case = make_case("lstm", 2, 3, 4, 5)
    arrays = {name: tf.constant(array) for name, array in {**case.weights, **case.states}.items()}
    with tf.GradientTape() as outer:
        outer.watch(arrays["x"])
        with tf.GradientTape() as inner:
            inner.watch(arrays["x"])
            loss = tf.reduce_sum(_call(case, arrays, True)[0])
        first = inner.gradient(loss, arrays["x"])
    with pytest.raises(NotImplementedError, match="no second-order gradients; use use_native=False"):
        outer.gradient(first, arrays["x"])


def test_persistent_tape() -> None:
    case = make_case("lstm", 2, 3, 4, 5)
    arrays = {name: tf.constant(array) for name, array in {**case.weights, **case.states}.items()}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arrays["x"])
        last_output = _call(case, arrays, True)[0]
    one, two = tape.gradient(last_output, arrays["x"]), tape.gradient(last_output, arrays["x"])
    np.testing.assert_array_equal(one, two)


def test_saved_model_in_a_fresh_process(tmp_path: Path) -> None:
    case = make_case("lstm", 2, 4, 3, 5)

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
        def outputs(self, x: Any) -> Any:
            arrays = {name: tf.constant(array) for name, array in case.weights.items()}
            state = tf.zeros((tf.shape(x)[0], 5))
            return _call(case, {**arrays, "x": x, "h0": state, "c0": state}, False)[1]

    tf.saved_model.save(Module(), str(tmp_path / "model"))
    np.save(tmp_path / "x.npy", case.weights["x"])
    code = f"""
import numpy as np, tensorflow as tf
import fastseq.keras
folder = {str(tmp_path)!r}
model = tf.saved_model.load(folder + "/model")
np.save(folder + "/got.npy", model.outputs(np.load(folder + "/x.npy")))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    case.states = {}
    case.gradients = {}
    assert_close(np.load(tmp_path / "got.npy"), run_native(case)["outputs"], REFERENCE["float32"])

"""The pooling operations of TensorFlow without the layers: graphs, gradients, shapes, errors, a fresh process."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from processes import run_python

from fastseq import functional
from fastseq.keras import export_native
from fastseq.keras.backend import tensorflow as backend
from fastseq.keras.backend.tensorflow.library import ops
from fastseq.keras.tensors import with_channels_last

POOLS = {"max": backend.max_pool, "average": backend.average_pool}
WINDOWS: list[dict[str, Any]] = [
    {"pool_size": 4, "strides": 4, "padding": "valid"},
    {"pool_size": 3, "strides": 1, "padding": "same"},
    {"pool_size": 2, "strides": 5, "padding": "same"},
    {"pool_size": 300, "strides": 2, "padding": "same"},
]
every_pooling = pytest.mark.parametrize("pooling", POOLS)
every_window = pytest.mark.parametrize("window", WINDOWS, ids=str)
every_wrap = pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])


def _x(dtype: str = "float32", size: tuple[int, ...] = (3, 21, 17)) -> Any:
    return np.random.default_rng(0).standard_normal(size).astype(dtype)


def _expected(pooling: str, x: Any, doutputs: Any, window: dict[str, Any]) -> tuple[Any, Any]:
    if pooling == "max":
        result = functional.max_pool_forward(x, **window)
        return result.outputs, functional.max_pool_backward(result.argmax, doutputs, x.shape[1], **window)
    outputs = functional.average_pool_forward(x, **window)
    return outputs, functional.average_pool_backward(doutputs, x.shape[1], **window)


@every_wrap
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_window
@every_pooling
def test_same_bits_as_functional(pooling: str, window: dict[str, Any], dtype: str, training: bool, wrap: Any) -> None:
    x = _x(dtype)
    doutputs = _x(dtype, (3, functional.pooled_timesteps(21, **window), 17))

    @wrap
    def compute(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = POOLS[pooling](inputs, **window, training=training)
        return outputs, tape.gradient(outputs, inputs, tf.constant(doutputs))

    for got, expected in zip(compute(tf.constant(x)), _expected(pooling, x, doutputs, window), strict=True):
        np.testing.assert_array_equal(got, expected)


@every_window
@every_pooling
def test_channels_first(pooling: str, window: dict[str, Any]) -> None:
    x = tf.constant(_x())
    pool = functools.partial(POOLS[pooling], **window)
    got = with_channels_last(pool, tf.transpose(x, (0, 2, 1)), "channels_first")
    np.testing.assert_array_equal(tf.transpose(got, (0, 2, 1)), POOLS[pooling](x, **window))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@every_pooling
def test_half_types_compute_in_float32(pooling: str, dtype: str) -> None:
    x = tf.cast(_x(), dtype)
    got = with_channels_last(functools.partial(POOLS[pooling], **WINDOWS[1]), x, "channels_last")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, tf.cast(POOLS[pooling](tf.cast(x, tf.float32), **WINDOWS[1]), dtype))


@every_pooling
def test_static_shapes(pooling: str) -> None:
    for shape, expected in [
        ((None, 21, 5), [None, 11, 5]),
        ((2, None, 5), [2, None, 5]),
        ((None, None, None), [None, None, None]),
    ]:

        @tf.function
        def graph(x: Any, shape: Any = shape) -> Any:
            outputs = POOLS[pooling](x, pool_size=3, strides=2, padding="same", training=True)
            gradient = tf.gradients(outputs, x)[0]
            assert gradient.shape.as_list() == list(shape)
            return outputs

        assert graph.get_concrete_function(tf.TensorSpec(shape)).output_shapes.as_list() == expected


@every_pooling
def test_shape_inference_of_the_operations(pooling: str) -> None:
    window = WINDOWS[0]

    @tf.function
    def graph(x: Any, doutputs: Any, argmax: Any) -> Any:
        if pooling == "max":
            outputs, saved = ops.fastseq_max_pool_forward(x, save_argmax=True, **window)
            assert saved.shape.as_list() == [2, None, None]
            return outputs, ops.fastseq_max_pool_backward(doutputs, 21, argmax, **window)
        outputs = ops.fastseq_average_pool_forward(x, **window)
        return outputs, ops.fastseq_average_pool_backward(doutputs, 21, **window)

    shapes = graph.get_concrete_function(
        tf.TensorSpec((2, 21, 5)), tf.TensorSpec((2, 5, 5)), tf.TensorSpec((2, 5, 5), tf.uint8)
    ).output_shapes
    assert [shape.as_list() for shape in shapes] == [[2, None, 5], [2, None, 5]]


def test_only_training_saves_positions() -> None:
    for save, shape in ((True, (2, 5, 5)), (False, (2, 0, 5))):
        _, argmax = ops.fastseq_max_pool_forward(tf.zeros((2, 21, 5)), save_argmax=save, **WINDOWS[0])
        assert (argmax.dtype, argmax.shape) == (tf.uint8, shape)
    # Two bytes for each.
    _, argmax = ops.fastseq_max_pool_forward(tf.zeros((2, 21, 5)), save_argmax=True, **WINDOWS[3])
    assert argmax.shape == (2, 11, 10)


@every_wrap
@pytest.mark.parametrize("size", [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
@every_pooling
def test_empty(pooling: str, size: tuple[int, int, int], wrap: Any) -> None:
    @wrap
    def compute(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = POOLS[pooling](x, pool_size=2, strides=2, padding="valid", training=True)
        return outputs, tape.gradient(outputs, x)

    outputs, dx = compute(tf.zeros(size))
    assert outputs.shape == (size[0], size[1] // 2, size[2])
    assert dx.shape == size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool_size": 0}, "pool_size must be at least 1, got 0"),
        ({"strides": 0}, "strides must be at least 1, got 0"),
        (
            {"pool_size": 30},
            "timesteps must be at least 26 for pool_size 30 with strides 4 and padding 'valid', got 21",
        ),
        ({"padding": "causal"}, "padding"),
    ],
)
@every_pooling
def test_bad_options_are_invalid_argument(pooling: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        POOLS[pooling](tf.zeros((2, 21, 5)), **{**WINDOWS[0], **change})


@every_pooling
def test_wrong_rank_fails(pooling: str) -> None:
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"must be rank 3|must have shape"):
        POOLS[pooling](tf.zeros((2, 3)), **WINDOWS[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"argmax": tf.zeros((2, 5, 4), tf.uint8)}, r"argmax must have shape \(2, 5, 5\), got \(2, 5, 4\)"),
        ({"argmax": tf.zeros((5,), tf.uint8)}, r"argmax must have shape \(2, 5, 5\), got \(5,\)"),
        ({"pool_size": 300, "padding": "same"}, "argmax must have dtype uint16, got uint8"),
        ({"timesteps": tf.constant([21], tf.int64)}, "timesteps must be a scalar"),
        ({"timesteps": 40}, r"doutputs must have shape \(2, 10, 5\), got \(2, 5, 5\)"),
    ],
)
def test_bad_backward_input_is_invalid_argument(change: dict[str, Any], message: str) -> None:
    arguments = {"doutputs": tf.zeros((2, 5, 5)), "timesteps": 21, "argmax": tf.zeros((2, 5, 5), tf.uint8)}
    if change.get("padding") == "same":
        arguments["doutputs"] = tf.zeros((2, 6, 5))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.fastseq_max_pool_backward(**{**arguments, **WINDOWS[0], **change})


def test_second_order_gradient_of_means() -> None:
    x = tf.constant(_x())

    def second() -> Any:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(POOLS["average"](x, **WINDOWS[1]) ** 3)
            first = inner.gradient(loss, x)
        return outer.gradient(first, x)

    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(tf.nn.avg_pool1d(x, 3, 1, "SAME") ** 3)
        first = inner.gradient(loss, x)
    np.testing.assert_allclose(second(), outer.gradient(first, x), atol=1e-5)


class _Pools(tf.Module):  # type: ignore[misc]
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])  # type: ignore[untyped-decorator]
    def outputs(self, x: Any) -> Any:
        return [POOLS[pooling](x, **window) for pooling in POOLS for window in WINDOWS]


def test_saved_model_in_a_fresh_process(tmp_path: Path) -> None:
    with export_native():
        tf.saved_model.save(_Pools(), str(tmp_path / "model"))
    x = _x(size=(2, 21, 3))
    np.save(tmp_path / "x.npy", x)
    code = f"""
import numpy as np, tensorflow as tf
import fastseq.keras
folder = {str(tmp_path)!r}
outputs = tf.saved_model.load(f"{{folder}}/model").outputs(np.load(f"{{folder}}/x.npy"))
np.savez(f"{{folder}}/got.npz", *outputs)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    got = np.load(tmp_path / "got.npz")
    for number, expected in enumerate(_Pools().outputs(tf.constant(x))):
        np.testing.assert_array_equal(got[f"arr_{number}"], expected)

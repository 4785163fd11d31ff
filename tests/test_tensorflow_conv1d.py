"""The convolution's TensorFlow operations without the layer: graphs, gradients, shapes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from backends import every_wrap
from conv1d_cases import OPTIONS, Case, fits, make_case, run_native
from tolerances import REFERENCE, assert_close

from fastseq import functional
from fastseq.keras import FastConv1D
from fastseq.keras.backend import tensorflow as backend
from fastseq.keras.backend.tensorflow.library import ops
from fastseq.keras.tensors import with_channels_last

DEFAULTS: dict[str, Any] = {
    "activation": "linear",
    "padding": "valid",
    "strides": 1,
    "dilation_rate": 1,
    "groups": 1,
}


def _call(case: Case, arrays: dict[str, Any], **changes: Any) -> Any:
    known: dict[str, Any] = {"convolved_shape": (None, None, None), "training": False}
    known = {name: changes.pop(name, value) for name, value in known.items()}
    inputs = [arrays.get(name) for name in ("x", "kernel", "bias")]
    return backend.conv1d(inputs, options={**DEFAULTS, **case.options, **changes}, **known)


def _tensors(case: Case) -> dict[str, Any]:
    return {name: tf.constant(array) for name, array in case.inputs.items() if array is not None}


def _run(case: Case, wrap: Callable[[Any], Any]) -> dict[str, Any]:
    arrays = _tensors(case)

    @wrap
    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(list(arrays.values()))
            outputs = _call(case, arrays)
        gradients = tape.gradient(outputs, arrays, tf.constant(case.doutputs))
        return {"outputs": outputs, **{f"d{name}": gradient for name, gradient in gradients.items()}}

    return dict(compute())


def _assert_same_bits(case: Case, wrap: Callable[[Any], Any]) -> None:
    expected = {name: array for name, array in run_native(case).items() if array is not None}
    got = _run(case, wrap)
    assert got.keys() == expected.keys()
    for name, tensor in got.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=f"{case.options} {name}")


@every_wrap
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_same_bits_as_functional(wrap: Any, dtype: str, bias: bool) -> None:
    options = {"padding": "same", "strides": 2, "groups": 3, "activation": "tanh"}
    _assert_same_bits(make_case(5, 9, 4, 7, 3, dtype, bias=bias, **options), wrap)
    _assert_same_bits(make_case(5, 9, 4, 7, 3, dtype, bias=bias), wrap)


def test_options_have_the_same_bits_as_functional() -> None:
    for options in OPTIONS[::7]:
        if fits(9, 3, options):
            _assert_same_bits(make_case(2, 9, 4, 7, 3, **options), lambda f: f)


@every_wrap
def test_recycled_memory_has_the_same_bits_as_functional(wrap: Any) -> None:
    # Outputs, dx and dkernel are each of the size from which blocks are recycled.
    case = make_case(4, 130, 520, 520, 1)
    for _ in range(3):
        _assert_same_bits(case, wrap)


@pytest.mark.parametrize("size", [(0, 9, 4, 7, 3), (2, 0, 4, 7, 3), (2, 9, 0, 7, 3)], ids=str)
def test_empty_has_the_same_bits_as_functional(size: tuple[int, int, int, int, int]) -> None:
    _assert_same_bits(make_case(*size, padding="causal"), lambda f: f)


@every_wrap
def test_channels_first(wrap: Any) -> None:
    case = make_case(5, 9, 4, 7, 3, padding="same", groups=2)
    arrays = _tensors(case)
    expected = _call(case, arrays)
    arrays["x"] = tf.transpose(arrays["x"], (0, 2, 1))
    got = wrap(lambda: with_channels_last(lambda x: _call(case, {**arrays, "x": x}), arrays["x"], "channels_first"))()
    np.testing.assert_array_equal(tf.transpose(got, (0, 2, 1)), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_compute_in_float32(dtype: str) -> None:
    case = make_case(3, 9, 4, 7, 3, activation="tanh")
    arrays = {name: tf.cast(array, dtype) for name, array in _tensors(case).items()}
    expected = _call(case, {name: tf.cast(array, tf.float32) for name, array in arrays.items()})
    layer = FastConv1D(7, 3, dtype=dtype, use_native=True, **case.options)
    layer.build(arrays["x"].shape)
    layer.kernel.assign(arrays["kernel"])
    layer.bias.assign(arrays["bias"])
    got = layer(arrays["x"])
    assert got.dtype == tf.as_dtype(dtype)
    np.testing.assert_array_equal(tf.cast(got, tf.float32), tf.cast(tf.cast(expected, dtype), tf.float32))


def test_static_shapes() -> None:
    case = make_case(2, 9, 4, 7, 3)
    arrays = _tensors(case)

    @tf.function
    def graph(x: Any, kernel: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            outputs = _call(case, {**arrays, "x": x, "kernel": kernel})
            known = _call(case, {**arrays, "x": x, "kernel": kernel}, convolved_shape=(None, 7, None))
        assert outputs.shape.as_list() == [2, None, kernel.shape[2]]
        assert known.shape.as_list() == [2, 7, kernel.shape[2]]
        dx, dkernel = tape.gradient(outputs, (x, kernel))
        assert dx.shape.as_list() == x.shape.as_list()
        assert dkernel.shape.as_list() == kernel.shape.as_list()
        return outputs

    for filters in (7, None):
        graph.get_concrete_function(tf.TensorSpec((2, None, 4)), tf.TensorSpec((3, None, filters)))
        graph.get_concrete_function(tf.TensorSpec((2, 9, None)), tf.TensorSpec((3, 4, filters)))


def test_wrong_output_shape_is_an_error() -> None:
    case = make_case(2, 9, 4, 7, 3)
    with pytest.raises(ValueError, match="not compatible with supplied shape"):
        _call(case, _tensors(case), convolved_shape=(None, 8, 7))


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


@every_wrap
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": _zeros(2, 9, 5)}, r"kernel must have shape \(3, 5, 7\), got \(3, 4, 7\)"),
        ({"x": _zeros(2, 2, 4)}, "x must have at least 3 timesteps for a kernel of width 3 .*, got 2"),
        ({"x": _zeros(2, 0, 4)}, "x must have at least 3 timesteps for a kernel of width 3 .*, got 0"),
        ({"kernel": _zeros(3, 4, 0)}, r"kernel must have shape .*, at least 1\), got \(3, 4, 0\)"),
        ({"kernel": _zeros(0, 4, 7)}, r"kernel must have shape \(at least 1, .*, got \(0, 4, 7\)"),
        ({"bias": _zeros(6)}, r"bias must have shape \(7,\), got \(6,\)"),
        ({"bias": _zeros(1, 7)}, r"bias must have shape \(7,\), got \(1, 7\)"),
        ({"groups": 3}, "groups must divide the channels of x, 4, and the filters of kernel, 7; got 3"),
        ({"strides": 2**31}, "strides must be at most 2147483647, got 2147483648"),
        ({"dilation_rate": 2**31}, "dilation_rate must be at most 2147483647, got 2147483648"),
    ],
)
def test_bad_calls_are_invalid_argument(wrap: Any, change: dict[str, Any], message: str) -> None:
    case = make_case(2, 9, 4, 7, 3)
    arrays = {**_tensors(case), **{name: tf.constant(v) for name, v in change.items() if name in case.inputs}}
    options = {name: value for name, value in change.items() if name not in case.inputs}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        wrap(lambda: _call(case, arrays, **options))()


@pytest.mark.parametrize("name", ["outputs", "doutputs"])
def test_bad_backward_calls_are_invalid_argument(name: str) -> None:
    case = make_case(2, 9, 4, 7, 3)
    options = {name: DEFAULTS[name] for name in ("activation", "padding", "strides", "dilation_rate", "groups")}
    arrays = {**_tensors(case), "outputs": _zeros(2, 7, 7), "doutputs": _zeros(2, 7, 7), name: _zeros(2, 7, 6)}
    arrays["argmax"] = np.zeros((0, 0, 0), np.uint8)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{name} must have shape \(2, 7, 7\), got \(2, 7, 6\)"):
        ops.fastseq_conv1d_backward(**arrays, token=[], **options)


@pytest.mark.parametrize(
    "change", [{"activation": "gelu"}, {"padding": "full"}, {"strides": 0}, {"groups": -1}], ids=str
)
def test_options_that_do_not_exist(change: dict[str, Any]) -> None:
    case = make_case(2, 9, 4, 7, 3)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=str(*change.values())):
        _call(case, _tensors(case), **change)


@every_wrap
@pytest.mark.parametrize("change", [{"x": _zeros(9, 4)}, {"kernel": _zeros(3, 4, 7, 1)}], ids=["x", "kernel"])
def test_wrong_rank_fails_when_the_graph_is_built(wrap: Any, change: dict[str, Any]) -> None:
    case = make_case(2, 9, 4, 7, 3)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"must be rank 3|must have shape"):
        wrap(lambda: _call(case, {**_tensors(case), **change}))()


def test_persistent_tape() -> None:
    case = make_case(2, 9, 4, 7, 3)
    arrays = _tensors(case)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arrays["x"])
        outputs = _call(case, arrays)
    one, two = tape.gradient(outputs, arrays["x"]), tape.gradient(outputs, arrays["x"])
    np.testing.assert_array_equal(one, two)


@every_wrap
def test_sparse_gradients(wrap: Any) -> None:
    """Of outputs that are gathered, TensorFlow's gradient is one of slices."""
    case = make_case(4, 9, 4, 7, 3)
    arrays = _tensors(case)
    case.doutputs = np.zeros_like(case.doutputs)
    case.doutputs[1], case.doutputs[2] = 2, 1

    @wrap
    def gradient() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(arrays["x"])
            loss = tf.reduce_sum(tf.gather(_call(case, arrays), [1, 2, 1]))
        return tape.gradient(loss, arrays["x"])

    assert_close(gradient(), run_native(case)["dx"], REFERENCE["float32"])


def test_no_gradient_by_x_where_nobody_asks_for_it() -> None:
    kernel = tf.random.stateless_normal((3, 4, 5), (0, 1))
    x = tf.random.stateless_normal((2, 9, 4), (0, 2))

    @tf.function
    def gradients(watched: bool) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([kernel, x] if watched else [kernel])
            outputs = _call(Case({}, {}, None), {"x": x, "kernel": kernel}, activation="tanh")
        return tape.gradient(outputs, [kernel])

    for watched in (True, False):
        graph = gradients.get_concrete_function(watched).graph
        (op,) = [op for op in graph.get_operations() if op.type == "FastseqConv1dBackward"]
        assert op.get_attr("with_dx") == watched
    np.testing.assert_array_equal(gradients(True)[0], gradients(False)[0])


POOLS: list[dict[str, Any]] = [
    {"pool_size": 3, "pool_strides": 3, "pool_padding": "valid"},
    {"pool_size": 3, "pool_strides": 1, "pool_padding": "same"},
    {"pool_size": 2, "pool_strides": 5, "pool_padding": "same"},
    {"pool_size": 300, "pool_strides": 2, "pool_padding": "same"},  # two bytes for every position
]
every_pool = pytest.mark.parametrize("pool", POOLS, ids=str)


@every_wrap
@every_pool
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_pooled_has_the_same_bits_as_functional(
    bias: bool, training: bool, dtype: str, pool: dict[str, Any], wrap: Any
) -> None:
    case = make_case(5, 21, 4, 7, 3, dtype, bias=bias, strides=2, padding="same", activation="tanh")
    result = functional.conv1d_max_pool_forward(**case.arguments, **pool)
    doutputs = np.random.default_rng(1).standard_normal(result.outputs.shape).astype(dtype)
    expected = functional.conv1d_max_pool_backward(result, doutputs, **case.arguments, **pool)
    arrays = _tensors(case)

    @wrap
    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(list(arrays.values()))
            outputs = _call(case, arrays, training=training, **pool)
        return outputs, tape.gradient(outputs, arrays, tf.constant(doutputs))

    outputs, gradients = compute()
    np.testing.assert_array_equal(outputs, result.outputs)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, getattr(expected, f"d{name}"), err_msg=name)


def _pooled_options(**changes: Any) -> dict[str, Any]:
    options = {name: DEFAULTS[name] for name in ("activation", "padding", "strides", "dilation_rate", "groups")}
    return {**options, **POOLS[0], **changes}


@pytest.mark.parametrize(("pool", "shape"), [(POOLS[0], (2, 2, 7)), (POOLS[3], (2, 4, 14))])
def test_positions_are_saved_where_they_are_asked_for(pool: dict[str, Any], shape: tuple[int, int, int]) -> None:
    arrays = {name: _tensors(make_case(2, 9, 4, 7, 3))[name] for name in ("x", "kernel", "bias")}
    for options, expected in (
        ({"save_argmax": True, **pool}, shape),
        ({"save_argmax": False, **pool}, (2, 0, shape[2])),
        ({"save_argmax": True, "pool_size": 0}, (2, 0, 7)),
    ):
        _, argmax = ops.fastseq_conv1d_forward(**arrays, **_pooled_options(**options))
        assert (argmax.dtype, argmax.shape) == (tf.uint8, expected)


@every_wrap
@pytest.mark.parametrize("size", [(0, 9, 4, 7, 3), (2, 0, 4, 7, 3), (2, 9, 0, 7, 3)], ids=str)
def test_pooled_and_empty(size: tuple[int, int, int, int, int], wrap: Any) -> None:
    case = make_case(*size, padding="same")
    arrays = _tensors(case)

    @wrap
    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(list(arrays.values()))
            outputs = _call(case, arrays, training=True, **POOLS[0])
        return outputs, tape.gradient(outputs, arrays)

    outputs, gradients = compute()
    assert outputs.shape == (size[0], size[1] // 3, 7)
    for name, gradient in gradients.items():
        assert gradient.shape == case.inputs[name].shape
        assert not np.isnan(gradient).any()


@pytest.mark.parametrize("channels_first", [False, True])
def test_static_shapes_of_what_is_pooled(channels_first: bool) -> None:
    def order(*shape: int | None) -> list[int | None]:
        return [shape[0], shape[2], shape[1]] if channels_first else list(shape)

    arrays = _tensors(make_case(2, 9, 4, 7, 3))
    for convolved, expected in ((7, 3), (None, None)):

        @tf.function
        def graph(x: Any, convolved: int | None = convolved) -> Any:
            changes = {**POOLS[0], "pool_padding": "same", "convolved_shape": (None, convolved, 7)}
            case = Case({}, {}, None)
            data_format = "channels_first" if channels_first else "channels_last"
            return with_channels_last(lambda x: _call(case, {**arrays, "x": x}, **changes), x, data_format)

        spec = tf.TensorSpec(order(None, None, 4))
        assert graph.get_concrete_function(spec).output_shapes.as_list() == order(None, expected, 7)


@every_wrap
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool_size": 9, "pool_strides": 1}, "timesteps must be at least 8 for pool_size 9 with pool_strides 1 and "
         "pool_padding 'valid', got 7"),
        ({"pool_size": 2**31}, "pool_size must be at most 2147483647, got 2147483648"),
        ({"x": _zeros(2, 2, 4)}, "x must have at least 3 timesteps for a kernel of width 3 .*, got 2"),
    ],
)  # fmt: skip
def test_bad_pooled_calls_are_invalid_argument(wrap: Any, change: dict[str, Any], message: str) -> None:
    case = make_case(2, 9, 4, 7, 3)
    arrays = {**_tensors(case), **{name: tf.constant(v) for name, v in change.items() if name == "x"}}
    options = {**POOLS[0], **{name: value for name, value in change.items() if name != "x"}}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        wrap(lambda: _call(case, arrays, **options))()


@pytest.mark.parametrize("change", [{"pool_size": -1}, {"pool_strides": 0}, {"pool_padding": "causal"}], ids=str)
def test_pool_options_that_do_not_exist(change: dict[str, Any]) -> None:
    case = make_case(2, 9, 4, 7, 3)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=f"{next(iter(change))}"):
        _call(case, _tensors(case), **{**POOLS[0], **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"argmax": np.zeros((2, 2, 6), np.uint8)}, r"argmax must have shape \(2, 2, 7\), got \(2, 2, 6\)"),
        ({"argmax": np.zeros((0, 0, 0), np.uint8)}, r"argmax must have shape \(2, 2, 7\), got \(0, 0, 0\)"),
        ({"argmax": np.zeros(7, np.uint8)}, r"argmax must have shape \(2, 2, 7\), got \(7,\)"),
        ({"outputs": _zeros(2, 7, 7)}, r"outputs must have shape \(2, 2, 7\), got \(2, 7, 7\)"),
        ({"doutputs": _zeros(2, 7, 7)}, r"doutputs must have shape \(2, 2, 7\), got \(2, 7, 7\)"),
        ({"pool_size": 300, "pool_padding": "same"}, "argmax must have dtype uint16, got uint8"),
    ],
)  # fmt: skip
def test_bad_pooled_backward_calls_are_invalid_argument(change: dict[str, Any], message: str) -> None:
    steps = 3 if change.get("pool_padding") == "same" else 2
    arguments = {
        **_tensors(make_case(2, 9, 4, 7, 3)),
        "outputs": _zeros(2, steps, 7),
        "doutputs": _zeros(2, steps, 7),
        "argmax": np.zeros((2, steps, 7), np.uint8),
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.fastseq_conv1d_backward(**{**arguments, **_pooled_options(), **change}, token=[])

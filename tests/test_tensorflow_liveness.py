"""Gradients that are not needed are not computed, and all others are right, wherever a backward operation runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tolerances import STOCK, assert_close

from fastseq.keras import FastConv1D, FastConv1DMaxPooling1D, FastGRU, FastLSTM, FastSimpleRNN
from fastseq.keras.backend.tensorflow.library import ops

B, T, C, U = 3, 7, 5, 4

_LAYERS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: FastLSTM(U, use_native=True),
    "gru": lambda: FastGRU(U, use_native=True),
    "gru without bias": lambda: FastGRU(U, use_bias=False, use_native=True),
    "simple_rnn": lambda: FastSimpleRNN(U, use_native=True),
    "conv1d": lambda: FastConv1D(U, 3, activation="tanh", use_native=True),
    "conv1d without bias": lambda: FastConv1D(U, 3, use_bias=False, use_native=True),
    "conv1d_max_pool": lambda: FastConv1DMaxPooling1D(U, 3, activation="tanh", use_native=True),
}
every_layer = pytest.mark.parametrize("name", _LAYERS)


def _built(name: str) -> tuple[Any, Any]:
    """A layer, and an input for it."""
    keras.utils.set_random_seed(1)
    layer = _LAYERS[name]()
    layer.build((B, T, C))
    return layer, tf.constant(np.random.default_rng(2).standard_normal((B, T, C), dtype=np.float32))


def _gradients(layer: Any, x: Any) -> list[Any]:
    """By x and by the weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.sin(layer(x)))
    return list(tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)]))


def _computed(name: str, wanted: Callable[[list[Any]], Any]) -> tuple[list[Any], list[bool]]:
    """What `wanted` takes of the gradients, and whether those by x, and by the weights, were computed for that."""
    layer, x = _built(name)

    @tf.function
    def compute(x: Any) -> Any:
        gradients = _gradients(layer, x)
        operations = tf.compat.v1.get_default_graph().get_operations()
        (backward,) = [op for op in operations if op.type.endswith("Backward")]
        computed = [output for output in backward.outputs if output.dtype == tf.uint8]
        return wanted(gradients), computed

    results, computed = compute(x)
    assert len(computed) == 2
    return tf.nest.flatten(results), [bool(flag) for flag in computed]


@every_layer
def test_only_what_somebody_needs_is_computed(name: str) -> None:
    expected = _gradients(*_built(name))
    for wanted, of_x, of_weights in (
        (lambda gradients: gradients, True, True),
        (lambda gradients: gradients[:1], True, False),
        (lambda gradients: gradients[1:], False, True),
        (lambda gradients: gradients[-1:], False, True),
        (lambda gradients: [], False, False),
    ):
        results, computed = _computed(name, wanted)
        assert computed == [of_x, of_weights]
        for got, came in zip(results, wanted(expected), strict=True):
            np.testing.assert_array_equal(got, came)


@every_layer
def test_tapes_that_know_it_leave_it_out_in_eager_mode(name: str) -> None:
    layer, x = _built(name)
    everything = _gradients(layer, x)
    weights = [weight.value for weight in layer.trainable_weights]
    for sources, expected in ((weights, everything[1:]), ([x], everything[:1])):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            loss = tf.reduce_sum(tf.sin(layer(x)))
        for got, came in zip(tape.gradient(loss, sources), expected, strict=True):
            np.testing.assert_array_equal(got, came)


def _nested(compute: Callable[[Any], Any], x: Any) -> Any:
    return tf.function(lambda x: tf.function(compute)(x))(x)


def _in_a_loop(compute: Callable[[Any], Any], x: Any) -> Any:
    @tf.function
    def run(x: Any) -> Any:
        first = [tf.zeros_like(gradient) for gradient in compute(x)]
        return tf.while_loop(lambda i, *_: i < 2, lambda i, *_: (i + 1, *compute(x)), (tf.constant(0), *first))[1:]

    return run(x)


def _in_a_branch(compute: Callable[[Any], Any], x: Any) -> Any:
    @tf.function
    def run(x: Any) -> Any:
        zeros = [tf.zeros_like(gradient) for gradient in compute(x)]
        return tf.cond(tf.reduce_sum(tf.abs(x)) > 0, lambda: compute(x), lambda: zeros)

    return run(x)


def _mapped(compute: Callable[[Any], Any], x: Any) -> Any:
    @tf.function
    def run(x: Any) -> Any:
        stacked = tf.map_fn(compute, tf.stack([x, x]), fn_output_signature=[tf.float32] * len(compute(x)))
        return [tensor[1] for tensor in stacked]

    return run(x)


def _without_grappler(compute: Callable[[Any], Any], x: Any) -> Any:
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        return tf.function(compute)(x)
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


_PLACES = {
    "nested": _nested,
    "loop": _in_a_loop,
    "branch": _in_a_branch,
    "map": _mapped,
    "unoptimized": _without_grappler,
}


@pytest.mark.parametrize("place", _PLACES)
@every_layer
def test_gradients_are_right_wherever_they_are_computed(name: str, place: str) -> None:
    layer, x = _built(name)
    expected = _gradients(layer, x)

    def check(results: slice) -> None:
        got = _PLACES[place](lambda x: _gradients(layer, x)[results], x)
        for one, other in zip(got, expected[results], strict=True):
            np.testing.assert_array_equal(one, other)

    for results in (slice(None), slice(0, 1), slice(1, None)):
        check(results)


@every_layer
def test_a_forward_function_that_is_called_under_a_tape(name: str) -> None:
    """TensorFlow makes a backward function then, which gives all gradients, whoever wants them."""
    layer, x = _built(name)
    expected = _gradients(layer, x)
    forward = tf.function(lambda x: layer(x))
    sources = [x, *(weight.value for weight in layer.trainable_weights)]
    for wrap in (lambda f: f, tf.function):

        def compute(forward: Any = forward) -> Any:
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.sin(forward(x)))
            return [tape.gradient(loss, source) for source in sources]

        for one, other in zip(wrap(compute)(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_recomputed_gradients_are_right() -> None:
    layer, x = _built("lstm")
    expected = _gradients(layer, x)
    weights = [weight.value for weight in layer.trainable_weights]

    @tf.function
    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(tf.recompute_grad(lambda x: layer(x))(x)))
        return tape.gradient(loss, [x, *weights])

    for one, other in zip(compute(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("frozen", ["front", "layer", "both", "nothing"])
@every_layer
def test_frozen_layers_train_as_with_stock_keras(name: str, frozen: str) -> None:
    """The usual way with pretrained vectors: `trainable = False` after a layer was built."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (10, T)), rng.standard_normal((10, 1)).astype(np.float32)
    results = []
    for native in (True, False):
        keras.utils.set_random_seed(3)
        layer = _LAYERS[name]()
        layer.use_native = native
        embedding, dense = keras.layers.Embedding(9, C), keras.layers.Dense(C)
        model = keras.Sequential([embedding, dense, layer, keras.layers.Flatten(), keras.layers.Dense(1)])
        model.build((None, T))
        embedding.trainable = dense.trainable = frozen not in ("front", "both")
        layer.trainable = frozen not in ("layer", "both")
        model.compile(keras.optimizers.SGD(0.1), "mse")
        history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
        results.append([history, *model.get_weights()])
    for fast, stock in zip(*results, strict=True):
        assert_close(fast, stock, STOCK["float32"])


def test_a_token_that_others_hold_costs_nothing_but_time() -> None:
    """As where a debugger or a checker of numbers keeps every tensor."""

    @tf.function
    def compute(x: Any) -> Any:
        tokens = ops.fastseq_tokens(x, count=2)
        kernel, bias = tf.ones((3, C, U)), tf.zeros(U)
        outputs, argmax = ops.fastseq_conv1d_forward(x, kernel, bias, **_OPTIONS)
        computed, _, dkernel, _ = ops.fastseq_conv1d_backward(
            x, kernel, bias, outputs, argmax, outputs, tokens, **_OPTIONS
        )
        with tf.control_dependencies([dkernel]):
            held = tf.identity(tokens[0])
        return computed, held

    computed, _ = compute(tf.ones((B, T, C)))
    assert [bool(flag) for flag in computed] == [True, False]


_OPTIONS = {"activation": "linear", "padding": "valid", "strides": 1, "dilation_rate": 1, "groups": 1}


def test_a_gradient_that_was_left_out_is_never_handed_on() -> None:
    token, left_out = tf.zeros(1, tf.uint8), tf.zeros(1, tf.uint8)
    with pytest.raises(tf.errors.InternalError, match="a gradient that is needed was taken for one that is not"):
        ops.fastseq_live(token, left_out, [tf.zeros((0, 0, 0))])


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_tokens_is_an_error(count: int) -> None:
    x, kernel, bias = tf.ones((B, T, C)), tf.ones((3, C, U)), tf.zeros(U)
    outputs, argmax = ops.fastseq_conv1d_forward(x, kernel, bias, **_OPTIONS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="tokens must be 0 or 2"):
        ops.fastseq_conv1d_backward(
            x, kernel, bias, outputs, argmax, outputs, [tf.zeros(1, tf.uint8)] * count, **_OPTIONS
        )

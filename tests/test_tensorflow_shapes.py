"""What the TensorFlow operations say of shapes that are not all known, and models in which that decides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tolerances import STOCK, assert_close

from fastseq.keras import (
    FastAttention,
    FastAveragePooling1D,
    FastConv1D,
    FastConv1DMaxPooling1D,
    FastDropout,
    FastEmbedding,
    FastGRU,
    FastLSTM,
    FastMaxPooling1D,
    FastRNN,
    FastSimpleRNN,
    FastSpatialDropout1D,
)
from fastseq.keras.backend.tensorflow.library import ops

B, T, C, U = 3, 7, 5, 4


def _zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


# --- each operation ---------------------------------------------------------------------------------------------------


def _recurrent(gates: int, states: int, **options: Any) -> dict[str, Any]:
    """The arguments of a recurrent operation."""
    names = ["h0", "c0"][:states]
    return {
        "x": _zeros(B, T, C),
        "kernel": _zeros(C, gates * U),
        "recurrent_kernel": _zeros(U, gates * U),
        "bias": _zeros(gates * U),
        **{name: _zeros(B, U) for name in names},
        "mask": np.ones((B, T), bool),
        "dropout_mask": _zeros(0, 0, 0),
        "recurrent_dropout_mask": _zeros(0, 0, 0),
        "activation": "tanh",
        "go_backwards": False,
        "zero_output_for_mask": False,
        **options,
    }


_CELLS: dict[str, dict[str, Any]] = {
    "lstm": _recurrent(4, 2, recurrent_activation="sigmoid"),
    "gru": _recurrent(3, 1, recurrent_activation="sigmoid", reset_after=False),
    "simple_rnn": _recurrent(1, 1),
}
_SAVED = {"lstm": 6, "gru": 4, "simple_rnn": 1}
_CONV1D = {
    "x": _zeros(B, T, C),
    "kernel": _zeros(3, C, U),
    "bias": _zeros(U),
    "activation": "linear",
    "padding": "valid",
    "strides": 2,
    "dilation_rate": 1,
    "groups": 1,
}
_POOLED = {"pool_size": 2, "pool_strides": 2, "pool_padding": "valid"}
_WINDOW = {"pool_size": 2, "strides": 2, "padding": "valid"}


def _calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A name, an operation and its arguments, of every operation and all its kinds of outputs."""
    for cell, arguments in _CELLS.items():
        for sequences, saved in itertools.product((True, False), repeat=2):
            options = {"return_sequences": sequences, "save_workspace": saved}
            yield f"{options}", f"{cell}_forward", {**arguments, **options}
        states = ["dh_n", "dc_n"][: 2 if cell == "lstm" else 1]
        gradients = {
            "workspace": _zeros(B, T, 4 * _SAVED[cell] * U, dtype=np.uint8),
            "doutputs": _zeros(B, T, U),
            "dlast_output": _zeros(B, U),
            **{state: _zeros(B, U) for state in states},
            "return_sequences": True,
        }
        for tokens, dx, weights in itertools.product((0, 2), (True, False), (True, False)):
            options = {"token": [_zeros(1, dtype=np.uint8)] * tokens, "with_dx": dx, "with_weights": weights}
            name = f"{tokens} tokens, with_dx={dx}, with_weights={weights}"
            yield name, f"{cell}_backward", {**arguments, **gradients, **options}
    for pooling, argmax in (({}, False), (_POOLED, False), (_POOLED, True)):
        steps = 1 if pooling else 3
        yield f"{pooling}, {argmax}", "conv1d_forward", {**_CONV1D, **pooling, "save_argmax": argmax}
        for dx, weights in itertools.product((True, False), repeat=2):
            more = {
                "outputs": _zeros(B, steps, U),
                "argmax": _zeros(B, steps, U, dtype=np.uint8) if pooling else _zeros(0, 0, 0, dtype=np.uint8),
                "doutputs": _zeros(B, steps, U),
                "token": [],
                "with_dx": dx,
                "with_weights": weights,
            }
            yield f"{pooling}, with_dx={dx}, with_weights={weights}", "conv1d_backward", {**_CONV1D, **pooling, **more}
    for argmax in (True, False):
        yield f"{argmax}", "max_pool_forward", {"x": _zeros(B, T, C), "save_argmax": argmax, **_WINDOW}
    doutputs, timesteps = _zeros(B, 3, C), np.array(T)
    argmax_of = _zeros(B, 3, C, dtype=np.uint8)
    yield "", "max_pool_backward", {"doutputs": doutputs, "timesteps": timesteps, "argmax": argmax_of, **_WINDOW}
    yield "", "average_pool_forward", {"x": _zeros(B, T, C), **_WINDOW}
    yield "", "average_pool_backward", {"doutputs": doutputs, "timesteps": timesteps, **_WINDOW}
    ids, table = _zeros(B, T, dtype=np.int32), _zeros(9, U)
    yield "", "embedding_forward", {"ids": ids, "embeddings": table, "dense_gradient": False}
    flat = {"ids": ids.reshape(-1), "doutputs": _zeros(B * T, U)}
    yield "", "embedding_backward", {**flat, "input_dim": 9, "squared": False}
    rate, seed = np.array(0.5), np.array([1, 2])
    for noise, mask in (([], True), ([], False), ([-1, 1, -1], False)):
        more = {"rate": rate, "seed": seed, "cast_from": "none", "noise_shape": noise, "save_mask": mask}
        yield f"{noise}, {mask}", "dropout", {"x": _zeros(B, T, C), **more}
    mask = _zeros((B * T * C + 7) // 8, dtype=np.uint8)
    yield "", "dropout_gradient", {"dy": _zeros(B, T, C), "mask": mask, "rate": rate, "cast_from": "none"}
    for states, slices in itertools.product((3, 4), (False, True)):
        more = {name: np.array(0.5) for name in ("alpha", "beta_1", "beta_2", "epsilon")}
        gradient = _zeros(2, U) if slices else _zeros(9, U)
        indices = [np.array([1, 2], np.int32)] if slices else []
        state = [_zeros(9, U) for _ in range(states)]
        yield f"{states}, {slices}", "adam", {"state": state, "gradient": gradient, "indices": indices, **more}
    yield "", "tokens", {"after": _zeros(B, T), "count": 2}
    values = [_zeros(B, T, C), _zeros(C, U)]
    ones = np.ones(1, np.uint8)
    yield "", "live", {"token": ones, "computed": ones, "values": values}


CALLS = list(_calls())
_IDS = [f"{name}-{case}" if case else name for case, name, _ in CALLS]


def _split(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays, lists of them included, and everything else."""
    arrays = {name: value for name, value in arguments.items() if _holds_arrays(value)}
    return arrays, {name: value for name, value in arguments.items() if name not in arrays}


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value))


def _outputs(name: str, arguments: dict[str, Any]) -> list[Any]:
    return [tensor for tensor in tf.nest.flatten(getattr(ops, f"fastseq_{name}")(**arguments)) if tf.is_tensor(tensor)]


def _knowing(arrays: dict[str, Any], keeps: Callable[[int], bool]) -> dict[str, Any]:
    """The signature of a function of these arrays, of which some sizes are known: `keeps` says of which index."""

    def spec(array: Any) -> tf.TensorSpec:
        return tf.TensorSpec([n if keeps(i) else None for i, n in enumerate(array.shape)], array.dtype)

    return tf.nest.map_structure(spec, arrays)


@pytest.mark.parametrize(("case", "name", "arguments"), CALLS, ids=_IDS)
def test_inferred_shapes_are_those_that_come(case: str, name: str, arguments: dict[str, Any]) -> None:
    arrays, options = _split(arguments)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
    expected = [tuple(output.shape) for output in _outputs(name, {**tensors, **options})]

    def check(keeps: Callable[[int], bool]) -> None:
        inferred: list[Any] = []

        @tf.function(input_signature=[_knowing(arrays, keeps)], autograph=False)
        def compute(inputs: Any) -> Any:
            outputs = _outputs(name, {**inputs, **options})
            inferred.extend(output.shape for output in outputs)
            return [tf.shape(output) for output in outputs]

        for shape, static, came in zip(compute(tensors), inferred, expected, strict=True):
            assert tuple(shape.numpy()) == came
            assert static.is_compatible_with(came), f"{case}: inferred {static}, came {came}"

    for keeps in (lambda _: True, lambda _: False, lambda i: i == 0, lambda i: i == 1, lambda i: i != 1):
        check(keeps)


@pytest.mark.parametrize(("case", "name", "arguments"), CALLS, ids=_IDS)
def test_sizes_that_are_said_to_be_equal_are(case: str, name: str, arguments: dict[str, Any]) -> None:
    """TensorFlow puts in one size for another where shape inference gave both the same unknown dimension.

    It learns a size where a tensor meets another whose sizes it knows, as in ReluGrad. So every output meets one of its
    own shape of which all sizes but one are known, and then TensorFlow says what the sizes of all outputs are.
    """
    arrays, options = _split(arguments)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
    expected = [tuple(output.shape) for output in _outputs(name, {**tensors, **options})]

    def meet(index: int, known: tuple[bool, ...]) -> None:
        shape = expected[index]
        dtype = _outputs(name, {**tensors, **options})[index].dtype
        spec = tf.TensorSpec([n if is_known else None for n, is_known in zip(shape, known, strict=True)], dtype)

        @tf.function(input_signature=[_knowing(arrays, lambda _: False), spec], autograph=False)
        def compute(inputs: Any, other: Any) -> Any:
            outputs = _outputs(name, {**inputs, **options})
            met = tf.raw_ops.ReluGrad(gradients=outputs[index], features=other)
            return [tf.shape(output) for output in (*outputs, met)]

        shapes = compute(tensors, tf.zeros(shape, dtype))
        for got, came in zip(shapes, [*expected, shape], strict=True):
            assert tuple(got.numpy()) == came, f"{case}: output {index}, of which {known} is known"

    for index, shape in enumerate(expected):
        for unknown in range(len(shape)):
            meet(index, tuple(i != unknown for i in range(len(shape))))
        meet(index, (True,) * len(shape))


# --- behind layers with activations -----------------------------------------------------------------------------------

_ACTIVATIONS = ("relu", "relu6", "elu", "selu", "leaky_relu", "softplus", "tanh", "gelu", "linear")
_WIDTH = 6
_IDS_OF_WORDS = "Embedding"


def _front(kind: str, activation: str, native: bool) -> list[Any]:
    """Layers that give (batch, timesteps, 6), activated; those that can be fast are, if `native`."""
    activate = keras.layers.Activation(activation)
    return {
        "Dense": lambda: [keras.layers.Dense(_WIDTH, activation=activation)],
        "Conv1D": lambda: [FastConv1D(_WIDTH, 2, padding="same", activation=activation, use_native=native)],
        "LayerNormalization": lambda: [keras.layers.Dense(_WIDTH), keras.layers.LayerNormalization(), activate],
        "BatchNormalization": lambda: [keras.layers.Dense(_WIDTH), keras.layers.BatchNormalization(), activate],
        "Dropout": lambda: [
            keras.layers.Dense(_WIDTH, activation=activation),
            FastDropout(0.25, seed=3, use_native=native),
        ],
        _IDS_OF_WORDS: lambda: [FastEmbedding(11, _WIDTH, use_native=native), activate],
    }[kind]()


_FRONTS = ("Dense", "Conv1D", "LayerNormalization", "BatchNormalization", "Dropout", _IDS_OF_WORDS)

# What comes behind, fast or stock; "use_native=True" makes sure of the former.
_BEHIND: dict[str, Callable[[Any], Any]] = {
    "LSTM": lambda n: FastLSTM(4, return_sequences=True, use_native=n),
    "GRU": lambda n: FastGRU(4, use_native=n),
    "SimpleRNN": lambda n: FastSimpleRNN(4, use_native=n),
    "RNN": lambda n: FastRNN(keras.layers.LSTMCell(4), use_native=n),
    "Conv1D": lambda n: FastConv1D(4, 3, use_native=n),
    "Conv1DMaxPooling1D": lambda n: FastConv1DMaxPooling1D(4, 2, activation="tanh", use_native=n),
    "MaxPooling1D": lambda n: FastMaxPooling1D(2, use_native=n),
    "AveragePooling1D": lambda n: FastAveragePooling1D(2, use_native=n),
    "Dropout": lambda n: FastDropout(0.5, seed=1, use_native=n),
    "SpatialDropout1D": lambda n: FastSpatialDropout1D(0.5, seed=1, use_native=n),
    "Attention": lambda n: FastAttention(4),
    "Bidirectional": lambda n: keras.layers.Bidirectional(
        FastLSTM(4, use_native=n), backward_layer=FastLSTM(4, go_backwards=True, use_native=n)
    ),
    "TimeDistributed": lambda n: keras.layers.TimeDistributed(FastLSTM(4, use_native=n)),
}
# Of 5 rows with 6 timesteps. Keras's TimeDistributed has no gradient where it does not know the timesteps.
_UNKNOWN = ((None, 6), (5, None), (None, None))
every_front = pytest.mark.parametrize("front", _FRONTS)
every_behind = pytest.mark.parametrize("behind", _BEHIND)


def _layers(front: str, activation: str, behind: str, native: bool) -> list[Any]:
    between = [keras.layers.Reshape((-1, 3, _WIDTH // 3))] if behind == "TimeDistributed" else []
    return [*_front(front, activation, native), *between, _BEHIND[behind](native)]


def _twins(front: str, activation: str, behind: str) -> tuple[Any, Any]:
    """The same models with a fast layer and with the stock one, with the same weights, which take 3-D inputs or ids."""
    models = []
    for native in (True, False):
        keras.utils.set_random_seed(5)
        model = keras.Sequential(_layers(front, activation, behind, native))
        model.build((None, None) if front == _IDS_OF_WORDS else (None, None, C))
        models.append(model)
    fast, stock = models
    stock.set_weights(fast.get_weights())
    return fast, stock


def _input(front: str, batch: int, timesteps: int) -> Any:
    rng = np.random.default_rng(1)
    if front == _IDS_OF_WORDS:
        return tf.constant(rng.integers(0, 11, (batch, timesteps)), tf.int32)
    return tf.constant(rng.standard_normal((batch, timesteps, C), dtype=np.float32))


def _loss_and_gradients(model: Any, x: Any) -> Any:
    """A loss that depends on sizes, as a mean does, its gradients, and sizes in front of the last layer."""
    with tf.GradientTape() as tape:
        between = x
        for layer in model.layers[:-1]:
            between = layer(between, training=True) if _takes_training(layer) else layer(between)
        tape.watch(between)
        last = model.layers[-1]
        outputs = last(between, training=True) if _takes_training(last) else last(between)
        rows = tf.cast(tf.shape(between)[0] * tf.shape(between)[1], outputs.dtype)
        loss = tf.nn.l2_loss(outputs) / rows + tf.reduce_sum(outputs) / tf.cast(tf.shape(outputs)[0], outputs.dtype)
    gradients = tape.gradient(loss, [between, *(weight.value for weight in model.trainable_weights)])
    return loss, [tf.convert_to_tensor(gradient) for gradient in gradients], tf.shape(between), tf.shape(gradients[0])


def _takes_training(layer: Any) -> bool:
    return "training" in layer.call_signature_parameters if hasattr(layer, "call_signature_parameters") else True


@every_behind
@every_front
def test_unknown_sizes_behind_an_activation(front: str, behind: str) -> None:
    """In a function that does not know the batch size, the timesteps or both, all is as with stock Keras."""
    x = _input(front, 5, 6)
    for activation in _ACTIVATIONS:
        fast, stock = _twins(front, activation, behind)
        loss, gradients, *shapes = _loss_and_gradients(stock, x)
        for known in _UNKNOWN[:1] if behind == "TimeDistributed" else _UNKNOWN:
            spec = tf.TensorSpec([*known, *x.shape[2:]], x.dtype)
            for layer in fast.layers:  # draws as the stock model has
                if hasattr(layer, "seed_generator"):
                    layer.seed_generator.state.assign([layer.seed_generator._initial_seed or 0, 0])
            traced = tf.function(lambda x, fast=fast: _loss_and_gradients(fast, x), input_signature=[spec])
            got_loss, got_gradients, *got_shapes = traced(x)
            what = f"{activation}, {known}"
            for got, came in zip(got_shapes, shapes, strict=True):
                np.testing.assert_array_equal(got, came, err_msg=what)
            assert_close(got_loss, loss, STOCK["float32"])
            for got, came in zip(got_gradients, gradients, strict=True):
                assert_close(got, came, STOCK["float32"])


def _branches(front: str, behind: str, native: bool) -> Any:
    """A model with every activation between the same two kinds of layers, side by side."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,) if front == _IDS_OF_WORDS else (6, C))
    outputs = []
    for activation in _ACTIVATIONS:
        x = inputs
        for layer in _layers(front, activation, behind, native):
            x = layer(x)
        outputs.append(keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    return keras.Model(inputs, keras.layers.Concatenate()(outputs))


@every_behind
@every_front
def test_fit_with_a_last_batch_that_is_smaller(front: str, behind: str) -> None:
    x = _input(front, 11, 6).numpy()
    y = np.random.default_rng(2).standard_normal((11, len(_ACTIVATIONS)))
    histories, weights = [], []
    for native in (True, False):
        model = _branches(front, behind, native)
        # Stock Keras step by step: nothing is inferred there.
        model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=not native)
        histories.append(model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"])
        weights.append(model.get_weights())
    assert_close(*histories, STOCK["float32"])
    for fast, stock in zip(*weights, strict=True):
        assert_close(fast, stock, STOCK["float32"])

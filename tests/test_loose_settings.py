"""Settings in undocumented forms that stock Keras accepts: fast layers behave like stock ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from backends import (
    assert_close,
    assert_equal,
    compiled,
    every_wrap,
    every_wrap_but_dynamo,
    jax,
    needs_kernel,
    needs_tensorflow,
    tf,
    to_numpy,
    torch,
)
from keras import layers
from layer_cases import assert_same
from tolerances import STOCK

import fastseq.keras
from fastseq.keras import FastAdam, NativeFallbackWarning, accelerate, patch
from fastseq.keras.native import NativeChoice
from fastseq.keras.replacements import FAST_LAYERS

BATCH, TIMESTEPS, FEATURES, UNITS = 4, 6, 3, 4
SHAPE = (BATCH, TIMESTEPS, FEATURES)
X = np.random.default_rng(0).standard_normal(SHAPE).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0, 0], [1] * 6, [0, 1, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1]], bool)

TRUTH_VALUES = [None, 0, 1, np.True_, np.False_, np.int64(1), 1.0, np.float32(0), np.array(True), "yes", []]

TRUE = keras.ops.convert_to_tensor(True)

Make = Callable[..., Any]


def _stock(stock: Any, *arguments: Any, **settings: Any) -> Any:
    return stock(*arguments, **settings)


def _constructed(stock: Any, *arguments: Any, **settings: Any) -> Any:
    return FAST_LAYERS[stock](*arguments, **settings)


def _patched(stock: Any, *arguments: Any, **settings: Any) -> Any:
    with patch():
        return stock(*arguments, **settings)


def _accelerated(stock: Any, *arguments: Any, **settings: Any) -> Any:
    layer = stock(*arguments, **settings)
    accelerate(keras.Sequential([layer]), verbose=False)
    return layer


every_way = pytest.mark.parametrize("make", [_constructed, _patched, _accelerated])
# Every value constructed; that the other ways hand settings on as they are takes a few to see.
truth_values_in_every_way = pytest.mark.parametrize(
    ("make", "value"),
    [
        *((_constructed, value) for value in [*TRUTH_VALUES, TRUE]),
        *((make, value) for make in (_patched, _accelerated) for value in (None, 1, np.True_)),
    ],
    ids=lambda one: getattr(one, "__name__", repr(one)).strip("_"),
)


def _pair(make: Make, stock: Any, *arguments: Any, **settings: Any) -> tuple[Any, Any]:
    """A stock and a fast layer with the same weights."""
    pair = [made(stock, *arguments, name="layer", **settings) for made in (_stock, make)]
    _build(*pair)
    assert type(pair[0]) is stock
    assert isinstance(pair[1], NativeChoice)
    assert repr(pair[1].get_config()) == repr(pair[0].get_config())
    return pair[0], pair[1]


def _build(stock: Any, fast: Any) -> None:
    for layer in (stock, fast):
        layer.build(SHAPE)
    rng = np.random.default_rng(1)
    stock.set_weights([0.5 * w + 0.1 * rng.standard_normal(w.shape) for w in stock.get_weights()])
    fast.set_weights(stock.get_weights())


RECURRENT: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "lstm": (layers.LSTM, (UNITS,)),
    "gru": (layers.GRU, (UNITS,)),
    "simple_rnn": (layers.SimpleRNN, (UNITS,)),
}


@truth_values_in_every_way
@pytest.mark.parametrize("flag", ["return_sequences", "go_backwards", "zero_output_for_mask"])
@pytest.mark.parametrize("cell", RECURRENT)
def test_flags_of_recurrent_layers(make: Make, cell: str, flag: str, value: Any) -> None:
    if (
        jax is not None
        and flag == "go_backwards"
        and (isinstance(value, list) or keras.ops.is_tensor(value) or isinstance(value, np.ndarray))
    ):
        pytest.skip("JAX's stock layers go backwards by numbers and truth values of Python only")
    stock, arguments = RECURRENT[cell]
    settings = {"return_sequences": True, flag: value}
    assert_same(*_pair(make, stock, *arguments, **settings), X, mask=MASK)


@truth_values_in_every_way
def test_reset_after(make: Make, value: Any) -> None:
    assert_same(*_pair(make, layers.GRU, UNITS, reset_after=value), X)


@pytest.mark.parametrize("value", [None, 1, np.True_], ids=repr)
@every_way
def test_flags_of_rnn(make: Make, value: Any) -> None:
    settings = {"return_sequences": value, "go_backwards": value}
    pair = [made(layers.RNN, layers.GRUCell(UNITS, reset_after=value), **settings) for made in (_stock, make)]
    _build(*pair)
    assert_same(*pair, X)


@pytest.mark.skipif(torch is not None, reason="torch.compile takes no masks of Keras, which are attributes of tensors")
@pytest.mark.parametrize("value", [None, 1, np.True_], ids=repr)
@pytest.mark.parametrize("flag", ["return_sequences", "go_backwards", "zero_output_for_mask"])
def test_flags_in_a_graph(flag: str, value: Any) -> None:
    settings = {"return_sequences": True, flag: value}
    assert_same(
        *_pair(_constructed, layers.LSTM, UNITS, **settings), X, compiled, mask=keras.ops.convert_to_tensor(MASK)
    )


@pytest.mark.parametrize("value", [None, 1, np.True_], ids=repr)
@pytest.mark.parametrize("flag", ["return_sequences", "go_backwards", "zero_output_for_mask"])
@pytest.mark.parametrize("cell", RECURRENT)
def test_flags_assigned_later(cell: str, flag: str, value: Any) -> None:
    stock, arguments = RECURRENT[cell]
    pair = _pair(_constructed, stock, *arguments, return_sequences=True)
    for layer in pair:
        setattr(layer, flag, value)
    assert_same(*pair, X, mask=MASK)


@every_way
def test_models_with_loose_settings_are_trained_alike(make: Make) -> None:
    def model(made: Make) -> Any:
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        parts = [
            keras.Input((TIMESTEPS,), dtype="int32"),
            made(layers.Embedding, 10, FEATURES, mask_zero=1),
            made(layers.SpatialDropout1D, np.float64(0.3), seed=1),
            made(layers.LSTM, UNITS, return_sequences=1, go_backwards=np.True_, zero_output_for_mask=None),
            made(layers.Dropout, 0.3, noise_shape=[None, 1, None], seed=2),
            made(layers.GRU, UNITS, return_sequences=np.int64(0), reset_after=0),
            layers.RepeatVector(TIMESTEPS),
            made(layers.Conv1D, 6, np.array([2]), strides=[1], padding="SAME", use_bias=0, groups=np.int32(2)),
            made(layers.MaxPooling1D, [np.int64(2)], padding=np.str_("same"), data_format="channels_last"),
            made(layers.AveragePooling1D, (np.int32(1),), strides=[1]),
            layers.Flatten(),
            layers.Dense(1),
        ]
        model = keras.Sequential(parts)
        model.compile("sgd", "mse")
        return model

    ids = np.random.default_rng(0).integers(0, 10, (8, TIMESTEPS))
    weights = []
    for made in (_stock, make):
        trained = model(made)
        trained.fit(ids, np.ones((8, 1)), batch_size=4, epochs=1, shuffle=False, verbose=0)
        weights.append(trained.get_weights())
    for one, other in zip(*weights, strict=True):
        assert_close(other, one, STOCK["float32"])


@pytest.mark.parametrize("training", [None, 0, 1, np.True_, np.False_, np.int64(1), TRUE], ids=repr)
@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn", "dropout", "spatial_dropout"])
def test_training(kind: str, training: Any) -> None:
    if kind in RECURRENT:
        stock, arguments = RECURRENT[kind]
        pair = _pair(_constructed, stock, *arguments, dropout=0.3, seed=1)
    else:
        pair = _pair(_constructed, {"dropout": layers.Dropout}.get(kind, layers.SpatialDropout1D), 0.3, seed=1)
    assert_same(*pair, X, training=training)


@pytest.mark.parametrize("mask", [MASK, MASK.astype(int), MASK * 0.5, MASK.astype("uint8")[..., None]], ids=str)
@pytest.mark.parametrize("cell", RECURRENT)
def test_masks(cell: str, mask: Any) -> None:
    stock, arguments = RECURRENT[cell]
    pair = _pair(_constructed, stock, *arguments, return_sequences=True)
    assert_same(*pair, X, mask=mask)
    assert_same(*pair, X, mask=keras.ops.convert_to_tensor(mask))


AS_TYPES = [np.asarray, keras.ops.convert_to_tensor, lambda h: h.astype("float64")]
if tf is not None:
    AS_TYPES.append(tf.Variable)


@pytest.mark.parametrize("as_type", AS_TYPES)
@pytest.mark.parametrize("container", [list, tuple])
@pytest.mark.parametrize("cell", RECURRENT)
def test_initial_state(cell: str, container: Any, as_type: Any) -> None:
    stock, arguments = RECURRENT[cell]
    h = np.random.default_rng(3).standard_normal((BATCH, UNITS)).astype("float32")
    states = container(as_type(h) for _ in range(2 if cell == "lstm" else 1))
    assert_same(*_pair(_constructed, stock, *arguments), X, initial_state=states)


def test_state_with_a_dimension_too_many() -> None:
    pair = _pair(_constructed, layers.SimpleRNN, UNITS)
    with pytest.warns(NativeFallbackWarning, match="initial_state must have 2 dimensions"):
        assert_same(*pair, X, initial_state=np.ones((1, BATCH, UNITS), "float32"))


RATES = [np.float32(0.3), np.float16(0.3), keras.ops.convert_to_tensor(0.3), keras.ops.convert_to_tensor(0)]


@needs_kernel("dropout")
@pytest.mark.parametrize("rate", RATES, ids=repr)
@pytest.mark.parametrize("stock", [layers.Dropout, layers.SpatialDropout1D])
def test_rates_that_tensorflow_rounds_otherwise(stock: Any, rate: Any) -> None:
    one, two = stock(rate, seed=1), FAST_LAYERS[stock](rate, seed=1)
    drops = bool(rate > 0)
    with pytest.warns(NativeFallbackWarning, match="rate must be a float") if drops else contextlib.nullcontext():
        assert_equal(two(X, training=True), one(X, training=True))
    if drops:
        assert_equal(two.seed_generator.state, one.seed_generator.state)


@needs_tensorflow
def test_rate_that_is_a_variable() -> None:
    one, two = layers.Dropout(0.5, seed=1), fastseq.keras.FastDropout(0.5, seed=1)
    for layer in (one, two):
        layer.rate = tf.Variable(0.3)
    with pytest.warns(NativeFallbackWarning, match="rate must be a float"):
        assert_equal(two(X, training=True), one(X, training=True))


@needs_kernel("dropout")
def test_accelerate_leaves_what_falls_back() -> None:
    model = keras.Sequential([keras.Input(SHAPE[1:]), layers.Dropout(np.float32(0.3))])
    _, report = accelerate(model, verbose=False, return_report=True)
    assert "rate must be a float" in report.rows[0].note
    assert type(model.layers[0]) is layers.Dropout


WINDOWS: list[tuple[Any, dict[str, Any]]] = [
    (layers.Conv1D, {"strides": [np.int64(2)]}),
    (layers.Conv1D, {"dilation_rate": np.array([2])}),
    (layers.Conv1D, {"kernel_size": (np.int32(3),), "padding": np.str_("Causal")}),
    (layers.MaxPooling1D, {"pool_size": np.array([3]), "strides": [np.int64(1)]}),
    (layers.AveragePooling1D, {"pool_size": [3], "padding": "SAME"}),
]
ODD_WINDOWS: list[tuple[Any, dict[str, Any]]] = [
    (layers.Conv1D, {"strides": [2.5]}),
    (layers.Conv1D, {"dilation_rate": [2.5]}),
    (layers.MaxPooling1D, {"pool_size": [2.5]}),
    (layers.MaxPooling1D, {"strides": [np.float32(2)]}),
    (layers.AveragePooling1D, {"pool_size": [4.0]}),
]
ASSIGNED_LATER: list[tuple[Any, dict[str, Any]]] = [
    (layers.Conv1D, {"padding": "SAME"}),
    (layers.Conv1D, {"dilation_rate": 2}),
    (layers.Conv1D, {"groups": 3}),
    (layers.Conv1D, {"data_format": "channels_first"}),
    (layers.MaxPooling1D, {"pool_size": 3}),
    (layers.MaxPooling1D, {"data_format": "CHANNELS_FIRST"}),
]
# Not every backend's stock layers take these.
if jax is None:
    ASSIGNED_LATER.append((layers.MaxPooling1D, {"strides": None}))
if tf is not None:
    ASSIGNED_LATER.append((layers.Conv1D, {"data_format": "Channels_Last"}))
    ASSIGNED_LATER.append((layers.AveragePooling1D, {"strides": np.int64(1)}))


def _window(stock: Any, settings: dict[str, Any]) -> dict[str, Any]:
    return ({"filters": 6, "kernel_size": 2} if stock is layers.Conv1D else {"pool_size": 2}) | settings


@every_wrap_but_dynamo
@pytest.mark.parametrize(("stock", "settings"), WINDOWS, ids=str)
def test_windows(stock: Any, settings: dict[str, Any], wrap: Any) -> None:
    assert_same(*_pair(_constructed, stock, **_window(stock, settings)), X, wrap)


@needs_tensorflow  # the others' stock layers take none
@every_wrap
@pytest.mark.parametrize(("stock", "settings"), ODD_WINDOWS, ids=str)
def test_windows_that_are_no_whole_numbers(stock: Any, settings: dict[str, Any], wrap: Any) -> None:
    pair = _pair(_constructed, stock, **_window(stock, settings))
    with pytest.warns(NativeFallbackWarning, match="must be one integer"):
        assert_same(*pair, X, wrap)


@every_wrap_but_dynamo
@pytest.mark.parametrize(("stock", "settings"), ASSIGNED_LATER, ids=str)
def test_windows_assigned_later(stock: Any, settings: dict[str, Any], wrap: Any) -> None:
    pair = _pair(_constructed, stock, **_window(stock, {}))
    for layer in pair:
        for name, value in settings.items():
            setattr(layer, name, value)
    with pytest.warns(NativeFallbackWarning):
        assert_same(*pair, X, wrap)


@pytest.mark.parametrize("use_bias", [False, None, 0])
def test_use_bias_assigned_later(use_bias: Any) -> None:
    """Stock layers ask for it in each call, but SimpleRNN, and LSTM and GRU elsewhere than on TensorFlow."""
    for stock, arguments in ((layers.Conv1D, (2, 3)), *RECURRENT.values()):
        pair = _pair(_constructed, stock, *arguments)
        for layer in pair:
            getattr(layer, "cell", layer).use_bias = use_bias
        runs_stock = stock in (layers.LSTM, layers.GRU) and keras.backend.backend() != "tensorflow"
        with pytest.warns(NativeFallbackWarning) if runs_stock else contextlib.nullcontext():
            outputs = pair[1](X)
        assert_close(outputs, pair[0](X), STOCK["float32"], stock.__name__)


OTHER_NAMES: dict[str, list[Any]] = {
    "tanh": [keras.ops.tanh, keras.activations.deserialize("tanh")],
    "sigmoid": [keras.ops.sigmoid, keras.ops.nn.sigmoid],
    "relu": [keras.ops.relu, keras.ops.nn.relu],
    "hard_sigmoid": [keras.ops.hard_sigmoid, keras.ops.nn.hard_sigmoid],
    "linear": [keras.activations.linear],
}
OTHER_FUNCTIONS: list[Any] = [keras.ops.silu]
# The framework's own come first.
if tf is not None:
    OTHER_NAMES["tanh"][:0] = [tf.tanh, tf.nn.tanh, tf.math.tanh]
    OTHER_NAMES["sigmoid"][:0] = [tf.sigmoid, tf.nn.sigmoid, tf.math.sigmoid]
    OTHER_NAMES["relu"].insert(0, tf.nn.relu)
    OTHER_NAMES["linear"].insert(0, tf.identity)
    OTHER_FUNCTIONS[:0] = [tf.nn.relu6, tf.nn.leaky_relu, tf.nn.softplus]
elif torch is not None:
    OTHER_NAMES["tanh"].insert(0, torch.tanh)
    OTHER_NAMES["sigmoid"].insert(0, torch.sigmoid)
    OTHER_NAMES["relu"].insert(0, torch.relu)
    OTHER_FUNCTIONS[:0] = [torch.nn.functional.relu6, torch.nn.functional.leaky_relu, torch.nn.functional.softplus]
elif jax is not None:
    OTHER_NAMES["tanh"].insert(0, jax.numpy.tanh)
    OTHER_NAMES["sigmoid"].insert(0, jax.nn.sigmoid)
    OTHER_NAMES["relu"].insert(0, jax.nn.relu)
    OTHER_FUNCTIONS[:0] = [jax.nn.relu6, jax.nn.leaky_relu, jax.nn.softplus]


@pytest.mark.parametrize("name", OTHER_NAMES)
@every_way
def test_activations_by_other_names(make: Make, name: str) -> None:
    for activation in OTHER_NAMES[name][: None if make is _constructed else 1]:
        for stock, arguments in (*RECURRENT.values(), (layers.Conv1D, (2, 3))):
            pair = _pair(make, stock, *arguments, activation=activation)
            assert pair[1].reason_against() is None
            assert_same(*pair, X)
        pair = _pair(make, layers.GRU, UNITS, recurrent_activation=activation)
        assert_same(*pair, X)


@pytest.mark.parametrize("activation", OTHER_FUNCTIONS)
def test_other_functions_are_not_taken_for_these(activation: Any) -> None:
    pair = _pair(_constructed, layers.LSTM, UNITS, activation=activation)
    with pytest.warns(NativeFallbackWarning, match="activation must be one of"):
        assert_same(*pair, X)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", OTHER_NAMES["sigmoid"][0], keras.ops.sigmoid])
@pytest.mark.parametrize("kind", ["conv1d", "simple_rnn"])
def test_crossentropy_finds_the_logits(kind: str, activation: Any, run_eagerly: bool) -> None:
    """With logits as large as these, a loss computed from probabilities has no gradient."""

    def trained(fast: bool) -> list[Any]:
        keras.utils.set_random_seed(0)
        stock = layers.Conv1D if kind == "conv1d" else layers.SimpleRNN
        settings = {"kernel_size": 1} if kind == "conv1d" else {"unroll": True}
        layer = (FAST_LAYERS[stock] if fast else stock)(1, activation=activation, **settings)
        model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
        model.set_weights([40 * weight for weight in model.get_weights()])
        model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy", run_eagerly=run_eagerly)
        y = np.random.default_rng(1).integers(0, 2, (BATCH, *model.output_shape[1:])).astype("float32")
        losses = [model.train_on_batch(X, y) for _ in range(2)]
        return [*losses, *model.get_weights()]

    falls_back = kind == "simple_rnn"
    with pytest.warns(NativeFallbackWarning, match="unroll") if falls_back else contextlib.nullcontext():
        fast = trained(True)
    for one, other in zip(trained(False), fast, strict=True):
        assert_close(other, one, STOCK["float32"])


ADAM: list[tuple[dict[str, Any], bool]] = [
    ({"learning_rate": np.float64(0.01)}, False),
    ({"amsgrad": 1, "beta_1": np.float32(0.9)}, False),
    ({"amsgrad": np.True_, "beta_2": keras.ops.convert_to_tensor(0.99), "epsilon": np.float32(1e-3)}, False),
    ({"amsgrad": None, "clipnorm": np.float32(0.1), "weight_decay": np.float64(0.01)}, False),
    ({"beta_1": np.float64(0.9)}, True),
    ({"beta_1": np.float16(0.3)}, True),
    ({"beta_2": np.array(0.99)}, True),
    ({"epsilon": [1e-3]}, True),
]


@needs_kernel("adam")
@pytest.mark.parametrize(("settings", "falls_back"), ADAM, ids=str)
@every_wrap
def test_adam(settings: dict[str, Any], falls_back: bool, wrap: Any) -> None:
    rng = np.random.default_rng(0)
    gradients = [keras.ops.convert_to_tensor(rng.standard_normal(SHAPE), "float32") for _ in range(3)]

    def updated(optimizer: Any) -> list[Any]:
        variable = keras.Variable(X)
        optimizer.build([variable])
        step = wrap(lambda gradient: optimizer.apply([gradient], [variable]))
        for gradient in gradients:
            step(gradient)
        return to_numpy([one.value for one in (variable, *optimizer.variables)])  # type: ignore[no-any-return]

    expected = updated(keras.optimizers.Adam(**settings))
    with pytest.warns(NativeFallbackWarning) if falls_back else contextlib.nullcontext():
        got = updated(FastAdam(**settings))
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(other, one)

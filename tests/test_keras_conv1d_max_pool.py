"""FastConv1DMaxPooling1D beside stock Conv1D and MaxPooling1D: same weights, same results, same files."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import (
    STOCK_FLOAT64,
    as_it_is,
    assert_close,
    assert_equal,
    every_wrap,
    for_stock,
    needs_tensorflow,
    tf,
)
from conv1d_cases import ACTIVATIONS
from layer_cases import assert_fit_as_stock, assert_same, run
from tolerances import HALF, STOCK

from fastseq.keras import FastConv1D, FastConv1DMaxPooling1D, FastMaxPooling1D, NativeFallbackWarning, export_native

BATCH, TIMESTEPS, CHANNELS, FILTERS, WIDTH = 4, 23, 6, 8, 3

MODES: list[dict[str, Any]] = [
    {},
    {"pool_size": 4},
    {"pool_size": 3, "pool_strides": 2},
    {"pool_size": 2, "pool_strides": 5, "pool_padding": "same"},
    {"pool_size": 4, "pool_strides": 1, "pool_padding": "same"},
    {"pool_size": (3,), "pool_strides": (2,), "pool_padding": "SAME"},
    {"pool_size": 1},
    {"pool_size": 300, "pool_padding": "same"},
    {"pool_size": 4, "padding": "causal", "strides": 2, "use_bias": False},
    {"pool_size": 3, "padding": "same", "dilation_rate": 2},
    {"pool_size": 3, "groups": 2, "padding": "same", "strides": 2, "activation": "relu"},
    *({"pool_size": 3, "pool_strides": 2, "activation": activation} for activation in ACTIVATIONS),
]
SOME_MODES = MODES[1:11:3]
every_mode = pytest.mark.parametrize("mode", MODES, ids=str)
some_modes = pytest.mark.parametrize("mode", SOME_MODES, ids=str)


def _x(dtype: str = "float32", timesteps: int = TIMESTEPS) -> Any:
    return np.random.default_rng(0).integers(-2, 3, (BATCH, timesteps, CHANNELS)).astype(dtype)


def _two(conv: Any, pool: Any, shape: tuple[int | None, ...], **arguments: Any) -> Any:
    """Convolution and pooling one after the other."""
    rest = {name: value for name, value in arguments.items() if not name.startswith("pool_")}
    pooling = pool(
        arguments.get("pool_size", 2),
        arguments.get("pool_strides"),
        arguments.get("pool_padding", "valid").lower(),  # upper case is for eager calls alone
        **{name: rest[name] for name in ("data_format", "dtype", "use_native") if name in rest},
    )
    inputs = keras.Input(shape[1:], dtype="float64" if rest.get("dtype") == "float64" else None)
    return keras.Sequential([inputs, conv(FILTERS, WIDTH, **rest), pooling])


def _stock(shape: tuple[int | None, ...], **arguments: Any) -> Any:
    return _two(keras.layers.Conv1D, keras.layers.MaxPooling1D, shape, **arguments)


def _set_exact_weights(*layers: Any) -> None:
    """Multiples of a quarter, with which sums are exact: so which value is the greatest does not depend on rounding."""
    rng = np.random.default_rng(1)
    weights = [rng.integers(-1, 2, w.shape) / 4 for w in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)


def _pair(
    shape: tuple[int | None, ...] = (BATCH, TIMESTEPS, CHANNELS), use_native: Any = True, **arguments: Any
) -> tuple[Any, Any]:
    """The stock layers and the fast one, with the same weights."""
    stock = _stock(shape, **arguments)
    fast = FastConv1DMaxPooling1D(FILTERS, WIDTH, use_native=use_native, **arguments)
    fast.build(shape)
    _set_exact_weights(stock, fast)
    return stock, fast


def _operations(layer: Any, *shape: int | None) -> list[str]:
    """The types of fastseq's operations in a graph of the layer."""
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec(shape)).graph
    return [operation.type for operation in graph.get_operations() if "Fastseq" in operation.type]


@every_wrap
@every_mode
def test_matches_stock_keras(mode: dict[str, Any], wrap: Any) -> None:
    stock, fast = _pair(**mode)
    for call in ({}, {"training": True}, {"training": False}) if wrap is as_it_is else ({"training": True},):
        assert_same(stock, fast, _x(), wrap, **call)


@every_wrap
@some_modes
def test_nan_and_minus_infinity_match_stock_keras(mode: dict[str, Any], wrap: Any) -> None:
    x = _x()
    x[0, 4:9, 1] = np.nan
    x[1, :, :] = -np.inf
    stock, fast = _pair(**mode)
    outputs, expected = run(fast, x, wrap, training=True)[0], run(stock, x, for_stock(wrap), training=True)[0]
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(run(fast, x, wrap, training=False)[0], expected)


@pytest.mark.usefixtures("float64")
@every_mode
def test_float64_matches_stock_keras(mode: dict[str, Any]) -> None:
    assert_same(*_pair(dtype="float64", **mode), _x("float64"), tolerance=STOCK_FLOAT64)


@every_wrap
@some_modes
def test_channels_first_matches_stock_keras(mode: dict[str, Any], wrap: Any) -> None:
    stock, fast = _pair((BATCH, CHANNELS, TIMESTEPS), data_format="channels_first", **mode)
    assert_same(stock, fast, np.ascontiguousarray(_x().swapaxes(1, 2)), wrap)


@every_mode
def test_has_the_bits_of_the_two_fast_layers(mode: dict[str, Any]) -> None:
    shape = (BATCH, TIMESTEPS, CHANNELS)
    _, fast = _pair(**mode)
    two = _two(FastConv1D, FastMaxPooling1D, shape, use_native=True, **mode)
    two.set_weights([np.random.default_rng(2).standard_normal(w.shape) for w in two.get_weights()])
    fast.set_weights(two.get_weights())
    for call in ({"training": True}, {"training": False}):
        got, expected = (run(layer, _x() / 3, **call) for layer in (fast, two))
        if mode.get("activation") != "sigmoid":  # which is Keras's own in the first of the two
            np.testing.assert_array_equal(got[0], expected[0])
        for one, other in zip(got, expected, strict=True):
            assert_close(one, other, STOCK["float32"])


@every_wrap
@some_modes
def test_training_changes_only_what_is_saved(mode: dict[str, Any], wrap: Any) -> None:
    _, fast = _pair(**mode)
    for one, two in zip(run(fast, _x(), wrap, training=True), run(fast, _x(), wrap, training=False), strict=True):
        np.testing.assert_array_equal(one, two)


@needs_tensorflow
def test_one_operation() -> None:
    shape = (None, TIMESTEPS, CHANNELS)
    assert _operations(_pair(shape, activation="relu")[1], *shape) == ["FastseqConv1dForward"]
    assert _operations(_pair(shape, activation="relu", use_native=False)[1], *shape) == []
    # The convolution alone, where the activation that comes before pooling is none of the kernels'.
    assert _operations(_pair(shape, activation="gelu")[1], *shape) == ["FastseqConv1dForward"]


@every_wrap
@pytest.mark.parametrize("use_native", [True, "auto"])
@pytest.mark.parametrize("activation", ["gelu", lambda x: x * x, keras.layers.LeakyReLU(0.3), None])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_other_activations_match_stock_keras(data_format: str, activation: Any, use_native: Any, wrap: Any) -> None:
    """They are two layers one after the other: no fall-back."""
    x = _x() if data_format == "channels_last" else np.ascontiguousarray(_x().swapaxes(1, 2))
    options = {"activation": activation, "pool_size": 3, "data_format": data_format}
    assert_same(*_pair(x.shape, use_native, **options), x, wrap)


@some_modes
def test_use_native_false_is_stock(mode: dict[str, Any]) -> None:
    for one, two in zip(*(run(layer, _x()) for layer in _pair(use_native=False, **mode)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_auto_is_native_and_says_nothing() -> None:
    stock, fast = _pair(use_native="auto", activation="relu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(stock, fast, _x())
    if tf is not None:
        assert _operations(fast, None, TIMESTEPS, CHANNELS) == ["FastseqConv1dForward"]
    assert FastConv1DMaxPooling1D(FILTERS, WIDTH).use_native == "auto"


@needs_tensorflow
def test_inputs_of_four_dimensions() -> None:
    """Which stock Conv1D takes, and stock MaxPooling1D does not."""
    _, fast = _pair()
    with pytest.raises(ValueError, match=r"use_native=True, but .*: inputs must have 3 dimensions, got 4"):
        fast(np.stack([_x()] * 2))
    _, fast = _pair(use_native="auto")
    with (
        pytest.warns(NativeFallbackWarning, match="inputs must have 3 dimensions, got 4"),
        pytest.raises(ValueError, match="expected ndim=3, found ndim=4"),
    ):
        fast(np.stack([_x()] * 2))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_half_policies(policy: str, activation: str) -> None:
    stock, fast = _pair(dtype=policy, pool_size=3, activation=activation)
    for one, two in zip(run(stock, _x()), run(fast, _x()), strict=True):
        assert two.dtype == one.dtype
        assert_close(two, one, HALF)


@every_mode
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_shapes(mode: dict[str, Any], data_format: str) -> None:
    for timesteps in (None, TIMESTEPS):
        shape = (None, timesteps, CHANNELS) if data_format == "channels_last" else (None, CHANNELS, timesteps)
        stock, fast = _pair(shape, data_format=data_format, **mode)
        assert tuple(fast.compute_output_shape(shape)) == stock.output_shape
        assert fast(keras.Input(shape[1:])).shape == stock.output_shape


@needs_tensorflow
@every_wrap
@some_modes
def test_unknown_batch_and_timesteps(mode: dict[str, Any], wrap: Any) -> None:
    shape = (None, None, CHANNELS)
    stock, fast = _pair(shape, **mode)
    graph = tf.function(fast, input_signature=[tf.TensorSpec(shape)])
    assert graph.get_concrete_function().output_shapes.as_list() == list(stock.output_shape)
    for timesteps in (TIMESTEPS, 12, 40):
        assert_close(graph(_x(timesteps=timesteps)), stock(_x(timesteps=timesteps)), STOCK["float32"])
        assert_same(stock, fast, _x(timesteps=timesteps), wrap)


@every_wrap
@pytest.mark.parametrize("shape", [(0, TIMESTEPS, CHANNELS), (BATCH, 0, CHANNELS)], ids=str)
def test_empty(shape: tuple[int, int, int], wrap: Any) -> None:
    layer = FastConv1DMaxPooling1D(FILTERS, WIDTH, 2, padding="same", use_native=True)
    layer.build((None, None, CHANNELS))
    outputs, dx, *dweights = run(layer, np.zeros(shape, "float32"), wrap)
    assert outputs.shape == (shape[0], shape[1] // 2, FILTERS)
    assert dx.shape == shape
    assert len(dweights) == 2
    assert not any(np.any(gradient) for gradient in dweights)


def test_time_distributed() -> None:
    x = np.stack([_x(), _x() + 1], axis=1)
    stock, fast = _pair(pool_size=3, activation="relu")
    assert_same(keras.layers.TimeDistributed(stock), keras.layers.TimeDistributed(fast), x)


def test_regularizers_match_stock_keras() -> None:
    """That of the activity, which the two layers would have between them, is of what was pooled."""
    stock, fast = _pair(activation="tanh", kernel_regularizer="l2", bias_regularizer="l1")
    for one, two in zip(stock.losses, fast.losses, strict=True):
        assert_close(two, one, STOCK["float32"])
    _, fast = _pair(activity_regularizer="l2")
    after = keras.layers.Activation("linear", activity_regularizer="l2")
    after(fast(_x()))
    assert_close(fast.losses[0], after.losses[0], STOCK["float32"])


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_fit_gives_the_same_history_as_stock(run_eagerly: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, (40, TIMESTEPS)), rng.random((40, 1)).astype("float32")

    def make(fused: bool) -> Any:
        convolution = (
            [FastConv1DMaxPooling1D(FILTERS, WIDTH, 4, activation="tanh")]
            if fused
            else [keras.layers.Conv1D(FILTERS, WIDTH, activation="tanh"), keras.layers.MaxPooling1D(4)]
        )
        before = [keras.Input((TIMESTEPS,), dtype="int32"), keras.layers.Embedding(20, CHANNELS)]
        return keras.Sequential([*before, *convolution, keras.layers.Flatten(), keras.layers.Dense(1)])

    makes = (partial(make, fused) for fused in (False, True))
    assert_fit_as_stock(makes, x, y, run_eagerly=run_eagerly, epochs=2, same_start=False)


def test_masks_end_as_in_stock() -> None:
    stock, fast = keras.layers.Conv1D(FILTERS, WIDTH), FastConv1DMaxPooling1D(FILTERS, WIDTH)
    assert fast.supports_masking == stock.supports_masking


@needs_tensorflow
def test_no_jit_for_models_with_native_layers() -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, CHANNELS)), FastConv1DMaxPooling1D(FILTERS, WIDTH)])
    model.compile("sgd", "mse")
    assert not model.jit_compile


def _model(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((TIMESTEPS, CHANNELS)), *layers, keras.layers.Dense(1)])


@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_files_go_both_ways(use_bias: bool, tmp_path: Path) -> None:
    stock = _model(keras.layers.Conv1D(FILTERS, WIDTH, use_bias=use_bias), keras.layers.MaxPooling1D(3))
    fast = _model(FastConv1DMaxPooling1D(FILTERS, WIDTH, 3, use_bias=use_bias))
    for number, (source, target) in enumerate([(stock, fast), (fast, stock)]):
        source.set_weights([w + 1 for w in source.get_weights()])
        source.save_weights(tmp_path / f"{number}.weights.h5")
        target.load_weights(tmp_path / f"{number}.weights.h5")
        for one, two in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
        assert_close(target(_x()), source(_x()), STOCK["float32"])


def test_names() -> None:
    layer = FastConv1DMaxPooling1D(FILTERS, WIDTH)
    layer.build((None, TIMESTEPS, CHANNELS))
    stock = keras.layers.Conv1D(FILTERS, WIDTH, name=layer.name)
    stock.build((None, TIMESTEPS, CHANNELS))
    assert layer.name.startswith("conv1d")
    assert [(w.path, w.shape) for w in layer.weights] == [(w.path, w.shape) for w in stock.weights]
    assert repr(FastConv1DMaxPooling1D(FILTERS, WIDTH, name="conv")) == "<FastConv1DMaxPooling1D name=conv>"
    name = "fastseq>FastConv1DMaxPooling1D"
    assert keras.saving.get_registered_object(name) is FastConv1DMaxPooling1D
    assert keras.saving.get_registered_name(FastConv1DMaxPooling1D) == name


@pytest.mark.parametrize(
    "mode", [{"activation": "relu"}, {"activation": "gelu", "pool_strides": 3}, {"pool_padding": "same"}], ids=str
)
def test_keras_file(mode: dict[str, Any], tmp_path: Path) -> None:
    model = _model(FastConv1DMaxPooling1D(FILTERS, WIDTH, 4, use_native=True, **mode))
    expected = model.predict(_x(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is FastConv1DMaxPooling1D
    assert loaded.layers[0].use_native is True
    np.testing.assert_array_equal(loaded.predict(_x(), verbose=0), expected)
    assert isinstance(keras.models.clone_model(model).layers[0], FastConv1DMaxPooling1D)


@needs_tensorflow
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_export(activation: str, tmp_path: Path) -> None:
    model = _model(FastConv1DMaxPooling1D(FILTERS, WIDTH, 4, activation=activation))
    with export_native():
        model.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert_close(loaded.serve(tf.constant(_x())), model(_x()), STOCK["float32"])


@every_mode
def test_config(mode: dict[str, Any]) -> None:
    arguments = {"name": "conv", "kernel_regularizer": "l2", **mode}
    layer = FastConv1DMaxPooling1D(FILTERS, WIDTH, **arguments)
    config = layer.get_config()
    assert FastConv1DMaxPooling1D.from_config(config).get_config() == config
    pooling = [config.pop(name) for name in ("pool_size", "pool_strides", "pool_padding")]
    size = mode.get("pool_size", 2)
    padding = mode.get("pool_padding", "valid").lower()
    expected = keras.layers.MaxPooling1D(size, mode.get("pool_strides"), padding).get_config()
    assert pooling == [*expected["pool_size"], *expected["strides"], expected["padding"]]
    rest = {name: value for name, value in arguments.items() if not name.startswith("pool_")}
    assert config == keras.layers.Conv1D(FILTERS, WIDTH, **rest).get_config()


@pytest.mark.parametrize("choice", [True, False])
def test_config_has_use_native_where_it_was_chosen(choice: bool) -> None:
    config = FastConv1DMaxPooling1D(FILTERS, WIDTH, use_native=choice).get_config()
    assert config["use_native"] is choice
    assert FastConv1DMaxPooling1D.from_config(config).use_native is choice


def test_arguments_by_position() -> None:
    layer = FastConv1DMaxPooling1D(FILTERS, WIDTH, 3, 2, "same", name="conv")
    named = FastConv1DMaxPooling1D(FILTERS, WIDTH, pool_size=3, pool_strides=2, pool_padding="same", name="conv")
    assert layer.get_config() == named.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": (2, 2)}, "pool_size"),
        ({"pool_strides": 0}, "^pool_strides must be at least 1, got 0$"),
        ({"pool_padding": "causal"}, "^pool_padding must be 'valid' or 'same', got 'causal'$"),
        ({"padding": "full"}, "padding"),
        ({"filters": 0}, "filters"),
        ({"strides": 2, "dilation_rate": 2}, "strides"),
        ({"use_native": "yes"}, "use_native must be 'auto', True or False, got 'yes'"),
        ({"no_such_argument": 1}, "no_such_argument"),
    ],
    ids=str,
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FastConv1DMaxPooling1D(**{"filters": FILTERS, "kernel_size": WIDTH, **arguments})


def test_bad_inputs() -> None:
    layer = FastConv1DMaxPooling1D(FILTERS, WIDTH, 8, 2)
    with pytest.raises(ValueError, match="expected min_ndim=3, found ndim=2"):
        layer(np.zeros((2, 3), "float32"))


@needs_tensorflow
def test_bad_inputs_of_unknown_length() -> None:
    layer = FastConv1DMaxPooling1D(FILTERS, WIDTH, 8, 2)
    layer.build((None, None, CHANNELS))
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, CHANNELS))])
    message = "timesteps must be at least 6 for pool_size 8 with pool_strides 2 and pool_padding 'valid', got 4"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(np.zeros((2, 6, CHANNELS), "float32"))


def test_other_inputs_are_computed_in_the_layers_dtype() -> None:
    _, fast = _pair()
    for dtype in ("int32", "float64"):
        outputs = fast(_x(dtype))
        assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
        assert_equal(outputs, fast(_x()))

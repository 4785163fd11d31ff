"""FastConv1D beside its stock twin: same arguments, same weights, same results, same files."""

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
    needs_tensorflow,
    outputs_and_gradients,
    tf,
)
from conv1d_cases import ACTIVATIONS, OPTIONS, fits, make_case, reference_forward
from layer_cases import assert_fit_as_stock, assert_same, assert_weights_go_both_ways, run
from tolerances import HALF, STOCK

from fastseq.keras import FastConv1D, NativeFallbackWarning, export_native

BATCH, TIMESTEPS, CHANNELS, FILTERS, WIDTH = 4, 11, 6, 8, 3

Stock = keras.layers.Conv1D


def _x(dtype: str = "float32", seed: int = 0, timesteps: int = TIMESTEPS) -> Any:
    return np.random.default_rng(seed).standard_normal((BATCH, timesteps, CHANNELS)).astype(dtype)


def _layer(kind: Any, kernel_size: Any = WIDTH, **arguments: Any) -> Any:
    return kind(FILTERS, kernel_size, **arguments)


def _same_weights(stock: Any, fast: Any) -> None:
    rng = np.random.default_rng(1)
    stock.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in stock.get_weights()])
    fast.set_weights(stock.get_weights())


def _pair(shape: tuple[int | None, ...] = (BATCH, TIMESTEPS, CHANNELS), **arguments: Any) -> tuple[Any, Any]:
    """A stock and a fast layer with the same weights."""
    stock, fast = _layer(Stock, **arguments), _layer(FastConv1D, use_native=True, **arguments)
    for layer in (stock, fast):
        layer.build(shape)
    _same_weights(stock, fast)
    return stock, fast


MODES: list[dict[str, Any]] = [
    {},
    {"padding": "same"},
    {"padding": "causal"},
    {"padding": "SAME", "strides": 2},
    {"padding": "causal", "strides": 2},
    {"strides": 3},
    {"strides": (5,)},
    {"padding": "same", "strides": 20},
    {"dilation_rate": 2},
    {"padding": "same", "dilation_rate": (3,)},
    {"padding": "causal", "dilation_rate": 2},
    {"use_bias": False},
    {"kernel_size": 1},
    {"kernel_size": (4,), "padding": "same"},
    {"kernel_size": TIMESTEPS},
    {"kernel_size": 14, "padding": "same"},
    {"kernel_size": 14, "padding": "causal"},
    {"groups": 2},
    {"groups": 2, "padding": "same", "strides": 2, "use_bias": False, "activation": "relu"},
    *({"activation": activation} for activation in ACTIVATIONS),
]
CHANNELS_FIRST: list[dict[str, Any]] = [
    {},
    {"padding": "causal", "strides": 2},
    {"padding": "same", "activation": "relu"},
]


@every_wrap
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_matches_stock_keras(mode: dict[str, Any], wrap: Any) -> None:
    assert_same(*_pair(**mode), _x(), wrap)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_float64_matches_stock_keras(mode: dict[str, Any]) -> None:
    assert_same(*_pair(dtype="float64", **mode), _x("float64"), tolerance=STOCK_FLOAT64)


@every_wrap
@pytest.mark.parametrize("mode", CHANNELS_FIRST, ids=str)
def test_channels_first_matches_stock_keras(mode: dict[str, Any], wrap: Any) -> None:
    stock, fast = _pair((BATCH, CHANNELS, TIMESTEPS), data_format="channels_first", **mode)
    assert_same(stock, fast, np.ascontiguousarray(_x().swapaxes(1, 2)), wrap)


@pytest.mark.usefixtures("float64")
def test_reference_matches_stock_keras() -> None:
    """All that `keras.ops.conv` can: no strides together with dilation, no padding in front only."""
    for options in OPTIONS:
        padding, strides = options.get("padding", "valid"), options.get("strides", 1)
        dilation_rate, groups = options.get("dilation_rate", 1), options.get("groups", 1)
        # Stock Keras compiles every call with groups anew, which takes time.
        if padding == "causal" or min(strides, dilation_rate) > 1 or (groups > 1 and "bias" not in options):
            continue
        if groups > 1 and options.get("activation") != "relu":
            continue
        assert fits(13, 4, options)
        case = make_case(3, 13, 2, 3, 4, "float64", **options)
        z = keras.ops.conv(
            case.inputs["x"], case.inputs["kernel"], strides=strides, padding=padding, dilation_rate=dilation_rate
        )
        bias = case.inputs["bias"]
        bias = None if bias is None else keras.ops.convert_to_tensor(bias)
        activation = keras.activations.get(options.get("activation", "linear"))
        expected = activation(z if bias is None else z + bias)
        assert_close(reference_forward(case), expected, STOCK_FLOAT64, str(options))


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: Any) -> Any:
        return keras.ops.sinh(x)


@every_wrap
@pytest.mark.parametrize(
    "activation",
    [None, "gelu", "softmax", keras.activations.relu6, lambda x: x * x, keras.layers.LeakyReLU(0.3), _Unhashable()],
    ids=["None", "gelu", "softmax", "relu6", "lambda", "layer", "unhashable"],
)
@pytest.mark.parametrize("arguments", [{}, {"padding": "same", "strides": 2}], ids=str)
def test_other_activations_match_stock_keras(activation: Any, arguments: dict[str, Any], wrap: Any) -> None:
    """They are applied to what the kernels return: no fall-back."""
    assert_same(*_pair(activation=activation, **arguments), _x(), wrap)


def test_activation_with_weights() -> None:
    layers = [_layer(kind, activation=keras.layers.PReLU("uniform")) for kind in (Stock, FastConv1D)]
    for layer in layers:
        layer(_x())
    stock, fast = layers
    assert len(fast.trainable_variables) == 3
    _same_weights(stock, fast)
    assert_same(stock, fast, _x())


def test_regularizers_match_stock_keras() -> None:
    arguments = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l2"}
    stock, fast = _pair(activation="tanh", **arguments)
    gradients = []
    for layer in (stock, fast):

        def losses(x: Any, layer: Any = layer) -> Any:
            layer(x)
            assert len(layer.losses) == 3
            return layer.losses

        gradients.append(outputs_and_gradients(losses, _x(), layer.trainable_variables, weigh=as_it_is))
    for one, two in zip(*gradients, strict=True):
        assert_close(two, one, STOCK["float32"])


@pytest.mark.parametrize("mode", [{}, {"padding": "causal", "use_bias": False, "activation": "relu"}], ids=str)
def test_lora_matches_stock_keras(mode: dict[str, Any]) -> None:
    stock, fast = _pair(**mode)
    for layer in (stock, fast):
        layer.enable_lora(2)
    _same_weights(stock, fast)
    assert len(fast.trainable_variables) == len(stock.trainable_variables)
    assert_same(stock, fast, _x())
    described = [[(w.name, tuple(w.shape), w.trainable) for w in layer.weights] for layer in (stock, fast)]
    assert described[0] == described[1]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_half_policies(policy: str, activation: str) -> None:
    stock, fast = _pair(dtype=policy, padding="same", activation=activation)
    assert fast(_x()).dtype == stock(_x()).dtype
    for one, two in zip(run(stock, _x()), run(fast, _x()), strict=True):
        assert two.dtype == one.dtype
        assert_close(two, one, HALF)


def test_time_distributed() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, TIMESTEPS, CHANNELS)).astype("float32")
    stock, fast = (keras.layers.TimeDistributed(_layer(kind, activation="relu")) for kind in (Stock, FastConv1D))
    stock.build(x.shape)
    fast.build(x.shape)
    fast.set_weights(stock.get_weights())
    assert_same(stock, fast, x)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_symbolic_shapes(mode: dict[str, Any]) -> None:
    for shape in ((None, CHANNELS), (TIMESTEPS, CHANNELS)):
        inputs = keras.Input(shape)
        stock, fast = (_layer(kind, **mode)(inputs) for kind in (Stock, FastConv1D))
        assert fast.shape == stock.shape


@needs_tensorflow
@pytest.mark.parametrize("mode", [{}, {"padding": "same", "strides": 2}, {"padding": "causal"}], ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_unknown_batch_and_timesteps(mode: dict[str, Any], data_format: str) -> None:
    shape = (None, None, CHANNELS) if data_format == "channels_last" else (None, CHANNELS, None)
    stock, fast = _pair(shape, data_format=data_format, **mode)

    @tf.function(input_signature=[tf.TensorSpec(shape)])  # type: ignore[untyped-decorator]
    def graph(x: Any) -> Any:
        outputs = fast(x)
        assert outputs.shape.as_list() == list(fast.compute_output_shape(shape))
        return outputs

    for timesteps in (TIMESTEPS, 3, 40):
        x = _x(timesteps=timesteps)
        x = x if data_format == "channels_last" else x.swapaxes(1, 2).copy()
        assert_close(graph(x), stock(x), STOCK["float32"])


@pytest.mark.parametrize(
    ("run_eagerly", "mode"),
    [
        (True, {"activation": "relu"}),
        (False, {"padding": "causal", "activation": "gelu", "kernel_constraint": "unit_norm"}),
        (False, {"padding": "same", "strides": 2, "activation": "tanh", "bias_regularizer": "l2"}),
    ],
    ids=str,
)
def test_fit_gives_the_same_history_as_stock(mode: dict[str, Any], run_eagerly: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, (40, TIMESTEPS)), rng.random((40, 1)).astype("float32")

    def make(kind: Any) -> Any:
        return keras.Sequential(
            [
                keras.Input((TIMESTEPS,), dtype="int32"),
                keras.layers.Embedding(20, CHANNELS),
                keras.layers.Dropout(0.2),
                _layer(kind, **mode),
                keras.layers.GlobalMaxPooling1D(),
                keras.layers.Dense(1),
            ]
        )

    makes = (partial(make, kind) for kind in (Stock, FastConv1D))
    assert_fit_as_stock(makes, x, y, run_eagerly=run_eagerly, epochs=2, same_start=False)


@needs_tensorflow
def test_no_jit_for_models_with_native_layers() -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, CHANNELS)), _layer(FastConv1D)])
    model.compile("sgd", "mse")
    assert not model.jit_compile
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
        model.compile("sgd", "mse", jit_compile=True)
    assert not model.jit_compile
    assert _layer(FastConv1D, use_native=False).supports_jit == _layer(Stock).supports_jit


def _model(kind: Any, **arguments: Any) -> Any:
    return keras.Sequential(
        [keras.Input((TIMESTEPS, CHANNELS)), _layer(kind, name="conv", **arguments), keras.layers.Dense(1)]
    )


@pytest.mark.parametrize("mode", [{}, {"use_bias": False}, {"groups": 2, "activation": "gelu"}], ids=str)
def test_weights_go_both_ways(mode: dict[str, Any], tmp_path: Path) -> None:
    assert_weights_go_both_ways(lambda kind: _model(kind, **mode), (Stock, FastConv1D), _x(), tmp_path)


def test_weights_file_has_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for kind in (Stock, FastConv1D):
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        model = keras.Sequential([keras.Input((TIMESTEPS, CHANNELS)), _layer(kind), _layer(kind, use_bias=False)])
        model.save_weights(tmp_path / "of.weights.h5")
        contents.append((tmp_path / "of.weights.h5").read_bytes())
    assert contents[0] == contents[1]


def test_names() -> None:
    assert _layer(FastConv1D).name.startswith("conv1d")
    assert repr(_layer(FastConv1D, name="conv")) == "<FastConv1D name=conv>"
    assert keras.saving.get_registered_object("fastseq>FastConv1D") is FastConv1D
    assert keras.saving.get_registered_name(FastConv1D) == "fastseq>FastConv1D"
    described = []
    for kind in (Stock, FastConv1D):
        keras.backend.clear_session()
        layer = _layer(kind)
        layer.build((None, TIMESTEPS, CHANNELS))
        described.append([layer.name, *((w.name, w.path, tuple(w.shape)) for w in layer.weights)])
    assert described[0] == described[1]


def test_saved_architecture_names_the_class() -> None:
    model = _model(FastConv1D, strides=2)
    assert isinstance(keras.models.clone_model(model).layers[0], FastConv1D)
    assert isinstance(keras.models.model_from_json(model.to_json()).layers[0], FastConv1D)


@pytest.mark.parametrize(
    "mode",
    [{"activation": "relu"}, {"activation": "gelu", "strides": 2}, {"groups": 2, "padding": "causal"}],
    ids=str,
)
def test_keras_file(mode: dict[str, Any], tmp_path: Path) -> None:
    model = _model(FastConv1D, use_native=True, **mode)
    expected = model.predict(_x(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[0], FastConv1D)
    assert loaded.layers[0].use_native is True
    np.testing.assert_array_equal(loaded.predict(_x(), verbose=0), expected)


@needs_tensorflow
def test_export(tmp_path: Path) -> None:
    model = _model(FastConv1D, padding="causal", activation="relu")
    with export_native():
        model.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_array_equal(loaded.serve(tf.constant(_x())), model(_x()))


@pytest.mark.parametrize("mode", [*MODES, {"activation": "gelu", "kernel_constraint": "max_norm"}], ids=str)
def test_config_is_the_stock_layers(mode: dict[str, Any]) -> None:
    arguments = {"name": "conv", "kernel_regularizer": "l2", **mode}
    config = _layer(FastConv1D, **arguments).get_config()
    assert config == _layer(Stock, **arguments).get_config()
    assert FastConv1D.from_config(config).get_config() == config
    assert Stock.from_config(config).get_config() == config
    for choice in (True, False):
        config = _layer(FastConv1D, use_native=choice).get_config()
        assert config["use_native"] is choice
        assert FastConv1D.from_config(config).use_native is choice


def test_arguments_by_position() -> None:
    arguments = (FILTERS, WIDTH, 2, "same", "channels_first")
    config = Stock(*arguments, name="conv").get_config()
    assert FastConv1D(*arguments, name="conv").get_config() == config


def test_fall_back_for_inputs_of_four_dimensions() -> None:
    _, fast = _pair(activation="relu")
    x = np.stack([_x(seed=seed) for seed in range(2)])
    reason = "inputs must have 3 dimensions, got 4"
    with pytest.raises(ValueError, match=f"use_native=True, but the kernels cannot run layer '{fast.name}': {reason}"):
        fast(x)


@needs_tensorflow
def test_inputs_of_four_dimensions_are_convolved_as_in_stock() -> None:
    """By the other backends they are not."""
    stock, _ = _pair(activation="relu")
    x = np.stack([_x(seed=seed) for seed in range(2)])
    reason = "inputs must have 3 dimensions, got 4"
    auto = _layer(FastConv1D, activation="relu")
    auto.build((BATCH, TIMESTEPS, CHANNELS))
    auto.set_weights(stock.get_weights())
    with pytest.warns(NativeFallbackWarning, match=f"Layer '{auto.name}' runs on stock Keras.*: {reason}") as told:
        auto(x)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once, not again
        assert_equal(auto(x), stock(x))
    assert_same(stock, auto, _x())


def test_use_native_false_is_stock() -> None:
    stock, _ = _pair(padding="causal", activation="relu")
    fast = _layer(FastConv1D, use_native=False, padding="causal", activation="relu")
    fast.build((BATCH, TIMESTEPS, CHANNELS))
    fast.set_weights(stock.get_weights())
    for one, two in zip(run(stock, _x()), run(fast, _x()), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("value", ["yes", None, 1])
def test_use_native_rejects(value: Any) -> None:
    with pytest.raises(ValueError, match=r"use_native must be 'auto', True or False, got"):
        _layer(FastConv1D, use_native=value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 0},
        {"kernel_size": 0},
        {"strides": 0},
        {"groups": 3},
        {"groups": 0},
        {"padding": "full"},
        {"activation": "no such thing"},
        {"strides": 2, "dilation_rate": 2},
        {"lora": 1},
    ],
    ids=str,
)
def test_bad_arguments_fail_as_in_stock(arguments: dict[str, Any]) -> None:
    errors = []
    for kind in (Stock, FastConv1D):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            kind(**{"filters": FILTERS, "kernel_size": WIDTH, **arguments})
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_bad_inputs() -> None:
    layer = _layer(FastConv1D)
    with pytest.raises(ValueError, match="expected min_ndim=3, found ndim=2"):
        layer(np.zeros((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"output size would be .*negative"):
        layer(np.zeros((2, 1, CHANNELS), "float32"))
    layer = _layer(FastConv1D)
    layer.build((None, None, CHANNELS))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 6"):
        layer(np.zeros((2, 5, 7), "float32"))
    with pytest.raises(ValueError, match=r"output size would be .*negative"):
        layer(np.zeros((2, 1, CHANNELS), "float32"))


@needs_tensorflow
def test_bad_inputs_of_unknown_length() -> None:
    layer = _layer(FastConv1D)
    layer.build((None, None, CHANNELS))
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, CHANNELS))])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x must have at least 3 timesteps .*, got 2"):
        graph(np.zeros((2, 2, CHANNELS), "float32"))


def test_masks_end_as_in_stock() -> None:
    layers = [_layer(kind) for kind in (Stock, FastConv1D)]
    assert [layer.supports_masking for layer in layers] == [layers[0].supports_masking] * 2


@pytest.mark.parametrize("mode", [{}, {"padding": "same", "strides": 2}, {"padding": "causal"}], ids=str)
def test_nan_propagates_as_in_stock(mode: dict[str, Any]) -> None:
    stock, fast = _pair(**mode)
    x = _x()
    x[1, 3, 2] = np.nan
    assert_equal(keras.ops.isnan(fast(x)), keras.ops.isnan(stock(x)))


@pytest.mark.parametrize("padding", ["same", "causal"])
@pytest.mark.parametrize("shape", [(0, TIMESTEPS, CHANNELS), (BATCH, 0, CHANNELS)], ids=str)
@every_wrap
def test_empty(wrap: Any, shape: tuple[int, int, int], padding: str) -> None:
    # Not beside stock Keras, which returns uninitialised memory for zero steps with padding "causal".
    layer = _layer(FastConv1D, padding=padding, use_native=True)
    layer.build((None, None, CHANNELS))
    outputs, dx, *dweights = run(layer, np.zeros(shape, "float32"), wrap)
    assert outputs.shape == (*shape[:2], FILTERS)
    assert dx.shape == shape
    assert len(dweights) == 2
    assert not any(np.any(gradient) for gradient in dweights)


def test_determinism() -> None:
    _, fast = _pair(activation="tanh")
    assert all(np.array_equal(a, b) for a, b in zip(run(fast, _x()), run(fast, _x()), strict=True))


@pytest.mark.parametrize("dtype", ["int32", "bool", "float64"])
def test_other_inputs_are_computed_in_the_layers_dtype(dtype: str) -> None:
    """Stock Keras fails for some of these."""
    for arguments in ({}, {"autocast": False}):
        _, fast = _pair(**arguments)
        x = (10 * _x()).astype(dtype)
        outputs = fast(x)
        assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
        assert_equal(outputs, fast(x.astype("float32")))


def test_activation_taken_away() -> None:
    stock, fast = _pair(activation="relu")
    stock.activation = fast.activation = None
    assert_same(stock, fast, _x())

"""The pooling layers beside their stock twins: same arguments, same results, same files."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import (
    REFUSALS,
    Wrap,
    as_it_is,
    assert_close,
    assert_equal,
    every_wrap,
    for_stock,
    needs_tensorflow,
    outputs_and_gradients,
    tf,
    torch,
    torch_before,
)
from layer_cases import assert_fit_as_stock
from tolerances import STOCK

from fastseq.keras import FastAveragePooling1D, FastMaxPooling1D, NativeFallbackWarning, export_native

BATCH, TIMESTEPS, CHANNELS = 3, 11, 5

STOCK_LAYERS = {"max": keras.layers.MaxPooling1D, "average": keras.layers.AveragePooling1D}
FAST_LAYERS = {"max": FastMaxPooling1D, "average": FastAveragePooling1D}
every_pooling = pytest.mark.parametrize("pooling", STOCK_LAYERS)

OPTIONS: list[dict[str, Any]] = [
    {"pool_size": pool_size, "strides": strides, "padding": padding, "data_format": data_format}
    for pool_size, strides, padding, data_format in itertools.product(
        (1, 2, 4, 11), (None, 1, 3, 12), ("valid", "same"), ("channels_last", "channels_first")
    )
]


def _x(dtype: str = "float32", ties: bool = False) -> Any:
    rng = np.random.default_rng(0)
    size = (BATCH, TIMESTEPS, CHANNELS)
    return (rng.integers(0, 3, size) if ties else rng.standard_normal(size)).astype(dtype)


def _pair(pooling: str, **arguments: Any) -> tuple[Any, Any]:
    return STOCK_LAYERS[pooling](**arguments), FAST_LAYERS[pooling](use_native=True, **arguments)


def _run(layer: Any, x: Any, wrap: Wrap = as_it_is, **call: Any) -> tuple[Any, Any]:
    """Outputs, and the gradient by x of a loss that weighs every output differently, as NumPy arrays."""

    def weigh(outputs: Any) -> Any:
        weights = np.sin(np.arange(np.prod(outputs.shape))).reshape(outputs.shape)
        return outputs * keras.ops.convert_to_tensor(weights, outputs.dtype)

    outputs, dx = outputs_and_gradients(lambda inputs: layer(inputs, **call), x, [], [], wrap, weigh)
    return outputs, dx


def _some(cases: Any, wrap: Wrap, step: int) -> list[Any]:
    """All of them where they are not compiled, which takes time."""
    return list(cases)[:: 1 if wrap is as_it_is else step if tf is not None else 5 * step]


def _assert_same(pooling: str, stock: tuple[Any, Any], fast: tuple[Any, Any]) -> None:
    dtype = stock[0].dtype.name
    if pooling == "max":
        np.testing.assert_array_equal(fast[0], stock[0])
    for got, expected in zip(fast, stock, strict=True):
        assert got.dtype == expected.dtype
        assert_close(got, expected, STOCK[dtype])


@pytest.mark.usefixtures("float64")
@every_wrap
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_pooling
def test_matches_stock_keras(pooling: str, dtype: str, wrap: Any) -> None:
    for options in _some(OPTIONS, wrap, 7):
        stock, fast = _pair(pooling, dtype=dtype, **options)
        for ties in (False, True):
            x = _x(dtype, ties)
            if options["data_format"] == "channels_first":
                x = x.swapaxes(1, 2).copy()
            expected = _run(stock, x, for_stock(wrap))
            for call in ({}, {"training": True}, {"training": False}):
                _assert_same(pooling, expected, _run(fast, x, wrap, **call))


@every_wrap
def test_ties_and_infinities_match_stock_keras(wrap: Any) -> None:
    values = np.random.default_rng(0).choice([-1.0, -0.0, 0.0, 2.0, np.inf], (BATCH, TIMESTEPS, 37))
    x = values.astype("float32")
    for pool_size, strides, padding in _some(itertools.product((2, 3, 4), (None, 1, 2), ("valid", "same")), wrap, 1):
        stock, fast = _pair("max", pool_size=pool_size, strides=strides, padding=padding)
        (outputs, dx), expected = _run(fast, x, wrap, training=True), _run(stock, x, for_stock(wrap))
        np.testing.assert_array_equal(outputs, expected[0])
        assert_close(dx, expected[1], STOCK["float32"])  # of overlapping windows, sums


@every_wrap
def test_nan_and_minus_infinity_match_stock_keras(wrap: Any) -> None:
    # Where stock Keras sends the gradient of a window with NaN, or with nothing above minus infinity, depends on
    # whether it runs in a graph on TensorFlow, and on JAX on what comes after the NaN and on the padding.
    values = np.random.default_rng(0).choice([np.nan, -np.inf, 1.0, 2.0], (BATCH, TIMESTEPS, 37))
    x = values.astype("float32")
    for pool_size, strides, padding in _some(itertools.product((2, 3, 4), (None, 1, 2), ("valid", "same")), wrap, 1):
        stock, fast = _pair("max", pool_size=pool_size, strides=strides, padding=padding)
        (outputs, dx), expected = _run(fast, x, wrap), _run(stock, x, for_stock(wrap))
        np.testing.assert_array_equal(outputs, expected[0])
        if torch is not None:
            assert_close(dx, expected[1], STOCK["float32"])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@every_pooling
def test_half_policies(pooling: str, policy: str) -> None:
    if policy != "mixed_bfloat16" and torch_before("2.7"):
        pytest.skip("stock Keras cannot pad float16 on this PyTorch")
    stock, fast = _pair(pooling, pool_size=3, padding="same", dtype=policy)
    one, two = stock(_x()), fast(_x())
    assert two.dtype == one.dtype
    # A half type keeps 8 (bfloat16) or 11 bits; ours rounds once, at the end.
    assert_close(two, one, 0.0 if pooling == "max" else 1e-2)


@every_pooling
def test_symbolic_shapes(pooling: str) -> None:
    for options in OPTIONS:
        for shape in ((None, CHANNELS), (TIMESTEPS, None), (TIMESTEPS, CHANNELS)):
            if options["data_format"] == "channels_first":
                shape = shape[::-1]
            inputs = keras.Input(shape)
            stock, fast = (layer(inputs) for layer in _pair(pooling, **options))
            assert fast.shape == stock.shape


@every_pooling
def test_any_number_of_timesteps(pooling: str) -> None:
    model = keras.Sequential([keras.Input((None, CHANNELS)), FAST_LAYERS[pooling](4)])
    for timesteps in (4, 9, 16):
        outputs = model.predict(np.ones((2, timesteps, CHANNELS), "float32"), verbose=0)
        np.testing.assert_array_equal(outputs, np.ones((2, timesteps // 4, CHANNELS)))


@pytest.mark.parametrize("run_eagerly", [False, True])
@every_pooling
def test_fit_gives_the_same_history_as_stock(pooling: str, run_eagerly: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, TIMESTEPS, CHANNELS)).astype("float32"), rng.random((40, 1)).astype("float32")

    def make(layers: dict[str, Any]) -> Any:
        convolution = keras.layers.Conv1D(7, 3, activation="relu")
        pooled = [keras.Input((TIMESTEPS, CHANNELS)), convolution, layers[pooling](3)]
        return keras.Sequential([*pooled, keras.layers.Flatten(), keras.layers.Dense(1)])

    makes = (partial(make, layers) for layers in (STOCK_LAYERS, FAST_LAYERS))
    assert_fit_as_stock(makes, x, y, run_eagerly=run_eagerly)


@every_pooling
def test_time_distributed(pooling: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, TIMESTEPS, CHANNELS)).astype("float32")
    stock, fast = (keras.layers.TimeDistributed(layer) for layer in _pair(pooling, pool_size=2))
    _assert_same(pooling, _run(stock, x), _run(fast, x))


@every_pooling
def test_masks_end_here_as_in_stock_keras(pooling: str) -> None:
    ids = np.array([[0, 0, 3, 4, 5, 0]])
    for layer in _pair(pooling, pool_size=2):
        embedded = keras.layers.Embedding(10, 4, mask_zero=True)(ids)
        with pytest.warns(UserWarning, match="does not support masking"):
            assert getattr(layer(embedded), "_keras_mask", None) is None


@needs_tensorflow
@every_pooling
def test_no_jit_for_models_with_native_layers(pooling: str) -> None:
    assert not FAST_LAYERS[pooling](2).supports_jit
    assert FAST_LAYERS[pooling](2, use_native=False).supports_jit


@every_pooling
def test_names(pooling: str) -> None:
    fast, stock = FAST_LAYERS[pooling], STOCK_LAYERS[pooling]
    own_name = {"max": "FastMaxPooling1D", "average": "FastAveragePooling1D"}[pooling]
    assert fast(2).name.rpartition("_")[0] in (stock(2).name.rpartition("_")[0], stock(2).name)
    assert repr(fast(2, name="pool")) == f"<{own_name} name=pool>"
    assert keras.saving.get_registered_object(f"fastseq>{own_name}") is fast
    assert keras.saving.get_registered_name(fast) == f"fastseq>{own_name}"


@every_pooling
def test_keras_file(pooling: str, tmp_path: Path) -> None:
    fast = FAST_LAYERS[pooling]
    model = keras.Sequential([keras.Input((None, CHANNELS)), fast(2, use_native=True), fast(2, padding="same")])
    expected = model.predict(_x(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers] == [fast, fast]
    assert loaded.layers[0].use_native is True
    np.testing.assert_array_equal(loaded.predict(_x(), verbose=0), expected)


@needs_tensorflow
@every_pooling
def test_export(pooling: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, CHANNELS)), FAST_LAYERS[pooling](3, padding="same")])
    with export_native():
        model.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_array_equal(loaded.serve(tf.constant(_x())), model(_x()))


@every_pooling
def test_config_is_the_stock_layers(pooling: str) -> None:
    for options in OPTIONS:
        stock, fast = (layers[pooling](**options, name="pool") for layers in (STOCK_LAYERS, FAST_LAYERS))
        assert fast.get_config() == stock.get_config()
    assert FAST_LAYERS["max"](name="pool").get_config() == STOCK_LAYERS["max"](name="pool").get_config()
    for choice in (True, False):
        config = FAST_LAYERS[pooling](2, use_native=choice).get_config()
        assert config.pop("use_native") is choice
        assert FAST_LAYERS[pooling].from_config({**config, "use_native": choice}).use_native is choice


@pytest.mark.parametrize("arguments", [(2, 1), (2, 1, "same"), (2, 1, "same", "channels_first")])
@every_pooling
def test_arguments_by_position(pooling: str, arguments: tuple[Any, ...]) -> None:
    stock, fast = STOCK_LAYERS[pooling](*arguments), FAST_LAYERS[pooling](*arguments)
    _assert_same(pooling, _run(stock, _x()), _run(fast, _x()))


@pytest.mark.parametrize("arguments", [{"pool_size": (2,), "strides": [3]}, {"pool_size": 3, "padding": "SAME"}])
@every_pooling
def test_arguments_as_keras_takes_them(pooling: str, arguments: dict[str, Any]) -> None:
    stock, fast = _pair(pooling, **arguments)
    _assert_same(pooling, _run(stock, _x()), _run(fast, _x()))


def test_integers_fall_back() -> None:
    x = np.arange(12).reshape(1, 6, 2)
    reason = r"inputs must have a floating dtype, got int(32|64)"  # JAX makes int32 of it
    with pytest.raises(ValueError, match=f"use_native=True, but the kernels cannot run layer 'pool': {reason}"):
        FastMaxPooling1D(2, use_native=True, name="pool")(x)
    fast = FastMaxPooling1D(2)
    stock = contextlib.nullcontext() if torch is None else pytest.raises(RuntimeError, match="not implemented")
    with pytest.warns(NativeFallbackWarning, match=f"runs on stock Keras.*: {reason}"), stock:
        assert_equal(fast(x), keras.layers.MaxPooling1D(2)(x))
    with warnings.catch_warnings(), stock:
        warnings.simplefilter("error")  # told once, not again
        fast(x)


@every_pooling
def test_use_native_false_is_stock(pooling: str) -> None:
    stock, fast = STOCK_LAYERS[pooling](3), FAST_LAYERS[pooling](3, use_native=False)
    for got, expected in zip(_run(fast, _x()), _run(stock, _x()), strict=True):
        np.testing.assert_array_equal(got, expected)
    if tf is None:
        return
    operations = tf.function(fast).get_concrete_function(tf.TensorSpec((2, 6, 3))).graph.get_operations()
    assert not any("Fastseq" in operation.type for operation in operations)


@pytest.mark.parametrize("value", ["yes", None, 1])
@every_pooling
def test_use_native_rejects(pooling: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"use_native must be 'auto', True or False, got"):
        FAST_LAYERS[pooling](2, use_native=value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool_size": 12, "strides": 0}, "strides must be at least 1, got 0"),
        ({"pool_size": 14, "strides": 2}, "timesteps must be at least 12 for pool_size 14 with strides 2"),
        ({"pool_size": 2, "padding": "causal"}, "padding"),
    ],
)
@every_pooling
def test_bad_input(pooling: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(REFUSALS, match=message):
        FAST_LAYERS[pooling](**arguments)(_x())
    with pytest.raises(ValueError, match="expected ndim=3"):
        FAST_LAYERS[pooling](2)(np.zeros((2, 3), "float32"))
    with pytest.raises(ValueError, match="pool_size"):
        FAST_LAYERS[pooling](0)


@every_wrap
@pytest.mark.parametrize("size", [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
@every_pooling
def test_empty(pooling: str, size: tuple[int, int, int], wrap: Any) -> None:
    outputs, dx = _run(FAST_LAYERS[pooling](2), np.zeros(size, "float32"), wrap)
    assert outputs.shape == (size[0], size[1] // 2, size[2])
    assert dx.shape == size

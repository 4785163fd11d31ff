"""FastLSTM beside keras.layers.LSTM: same arguments, same weights, same results, same files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tolerances import STOCK, assert_close

from fastseq.keras import FastLSTM, NativeFallbackWarning

BATCH, TIMESTEPS, INPUTS, UNITS = 4, 9, 5, 6


def _x(dtype: str = "float32", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((BATCH, TIMESTEPS, INPUTS)).astype(dtype)


def _mask(kind: str) -> Any:
    if kind == "none":
        return None
    steps = np.arange(TIMESTEPS)
    lengths = np.array([[0], [1], [5], [TIMESTEPS]])
    masks = {
        "before": steps >= TIMESTEPS - lengths,
        "after": steps < lengths,
        "inside": np.random.default_rng(3).random((BATCH, TIMESTEPS)) < 0.5,
    }
    return tf.constant(masks[kind])


def _pair(**arguments: Any) -> tuple[Any, Any]:
    """A stock and a fast layer with the same weights."""
    # Stock Keras's attempt at cuDNN fails with implementation=1 and dropout, before it finds that there is no GPU.
    stock = keras.layers.LSTM(UNITS, use_cudnn=False, **arguments)
    fast = FastLSTM(UNITS, use_native=True, **arguments)
    for layer in (stock, fast):
        layer.build((BATCH, TIMESTEPS, INPUTS))
    rng = np.random.default_rng(1)
    stock.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in stock.get_weights()])
    fast.set_weights(stock.get_weights())
    return stock, fast


def _run(layer: Any, x: Any, **call: Any) -> list[Any]:
    """Outputs, and gradients by x and the weights of a loss that weighs every output."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = layer(x, **call)
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        loss = tf.add_n([tf.reduce_sum(tf.sin(output)) for output in outputs])
    return [*outputs, *tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])]


def _assert_same(stock: Any, fast: Any, x: Any, **call: Any) -> None:
    for one, two in zip(_run(stock, x, **call), _run(fast, x, **call), strict=True):
        assert_close(two, one, STOCK[keras.backend.standardize_dtype(x.dtype)])


MODES: list[dict[str, Any]] = [
    {},
    {"return_sequences": True},
    {"return_state": True},
    {"return_sequences": True, "return_state": True},
    {"go_backwards": True},
    {"go_backwards": True, "return_sequences": True},
    {"zero_output_for_mask": True},
    {"zero_output_for_mask": True, "return_sequences": True, "go_backwards": True},
    {"use_bias": False},
    {"unit_forget_bias": False},
    {"unroll": True},
    {"dropout": 0.3, "seed": 7},
    {"recurrent_dropout": 0.4, "seed": 7},
    {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 7, "return_sequences": True},
    {"dropout": 0.3, "seed": 7, "implementation": 1},
]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("mask", ["none", "before", "after", "inside"])
@pytest.mark.parametrize("training", [True, False])
def test_matches_stock_keras(mode: dict[str, Any], mask: str, training: bool) -> None:
    if mode.get("unroll") and mode.get("zero_output_for_mask"):
        pytest.skip("stock Keras cannot unroll with zero_output_for_mask")
    stock, fast = _pair(**mode)
    _assert_same(stock, fast, _x(), mask=_mask(mask), training=training)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_float64_matches_stock_keras(mode: dict[str, Any]) -> None:
    stock, fast = _pair(dtype="float64", **mode)
    _assert_same(stock, fast, _x("float64"), mask=_mask("inside"), training=True)


def test_initial_state() -> None:
    stock, fast = _pair(return_sequences=True)
    rng = np.random.default_rng(5)
    state = [tf.constant(rng.standard_normal((BATCH, UNITS)).astype("float32")) for _ in range(2)]
    _assert_same(stock, fast, _x(), initial_state=state, mask=_mask("before"))


def test_stateful() -> None:
    stock, fast = _pair(stateful=True)
    for seed in range(3):
        assert_close(fast(_x(seed=seed)), stock(_x(seed=seed)), STOCK["float32"])
    for one, two in zip(stock.states, fast.states, strict=True):
        assert_close(two, one, STOCK["float32"])
    fast.reset_state()
    stock.reset_state()
    assert_close(fast(_x()), stock(_x()), STOCK["float32"])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_policies(policy: str) -> None:
    stock, fast = _pair(dtype=policy, return_sequences=True)
    one, two = stock(_x()), fast(_x())
    assert two.dtype == one.dtype
    # A half type keeps 8 (bfloat16) or 11 bits; ours rounds once, at the end.
    assert_close(tf.cast(two, "float32"), tf.cast(one, "float32"), 2e-2)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", None])
@pytest.mark.parametrize("masked", [False, True])
def test_bidirectional(merge_mode: str | None, masked: bool) -> None:
    layers = []
    for kind in (keras.layers.LSTM, FastLSTM):
        layer = keras.layers.Bidirectional(kind(UNITS, return_sequences=True), merge_mode=merge_mode)
        layer.build((BATCH, TIMESTEPS, INPUTS))
        layers.append(layer)
    stock, fast = layers
    assert isinstance(fast.forward_layer, FastLSTM)
    assert isinstance(fast.backward_layer, FastLSTM)
    fast.set_weights(stock.get_weights())
    _assert_same(stock, fast, _x(), mask=_mask("before") if masked else None)


def test_time_distributed() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, TIMESTEPS, INPUTS)).astype("float32")
    stock = keras.layers.TimeDistributed(keras.layers.LSTM(UNITS))
    fast = keras.layers.TimeDistributed(FastLSTM(UNITS))
    stock.build(x.shape)
    fast.build(x.shape)
    fast.set_weights(stock.get_weights())
    _assert_same(stock, fast, x)


def test_symbolic_shapes() -> None:
    for arguments in ({}, {"return_sequences": True}, {"return_state": True}):
        for shape in ((None, INPUTS), (TIMESTEPS, INPUTS)):
            inputs = keras.Input(shape)
            stock, fast = keras.layers.LSTM(UNITS, **arguments)(inputs), FastLSTM(UNITS, **arguments)(inputs)
            assert [t.shape for t in keras.tree.flatten(fast)] == [t.shape for t in keras.tree.flatten(stock)]


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_fit_gives_the_same_history_as_stock(run_eagerly: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, TIMESTEPS, INPUTS)).astype("float32"), rng.random((40, 1)).astype("float32")
    histories, weights = [], None
    for kind in (keras.layers.LSTM, FastLSTM):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), kind(UNITS), keras.layers.Dense(1)])
        if weights is None:
            weights = model.get_weights()
        model.set_weights(weights)
        model.compile("adam", "mse", run_eagerly=run_eagerly)
        histories.append(model.fit(x, y, batch_size=10, epochs=3, validation_split=0.25, verbose=0).history)
    for key, values in histories[0].items():
        np.testing.assert_allclose(histories[1][key], values, rtol=1e-4)


def test_no_jit_for_models_with_native_layers() -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), keras.layers.Bidirectional(FastLSTM(UNITS))])
    model.compile("sgd", "mse")
    assert not model.jit_compile
    assert FastLSTM(UNITS, use_native=False).supports_jit == keras.layers.LSTM(UNITS).supports_jit


def test_weights_go_both_ways(tmp_path: Path) -> None:
    def model(kind: Any) -> Any:
        return keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), kind(UNITS, name="rnn"), keras.layers.Dense(1)])

    for source, target in ((keras.layers.LSTM, FastLSTM), (FastLSTM, keras.layers.LSTM)):
        one, two = model(source), model(target)
        path = tmp_path / f"{source.__name__}.weights.h5"
        one.save_weights(path)
        two.load_weights(path)
        for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert_close(two(_x()), one(_x()), STOCK["float32"])
    fast, stock = FastLSTM(UNITS), keras.layers.LSTM(UNITS)
    for layer in (fast, stock):
        layer.build((None, TIMESTEPS, INPUTS))
    described = [[(w.name, w.path.split("/", 1)[1], tuple(w.shape)) for w in layer.weights] for layer in (fast, stock)]
    assert described[0] == described[1]


def test_saved_architecture_names_the_class() -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), FastLSTM(UNITS)])
    assert isinstance(keras.models.clone_model(model).layers[0], FastLSTM)
    assert isinstance(keras.models.model_from_json(model.to_json()).layers[0], FastLSTM)


def test_weights_file_has_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for kind in (keras.layers.LSTM, FastLSTM):
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        model = keras.Sequential(
            [keras.Input((TIMESTEPS, INPUTS)), kind(UNITS, return_sequences=True), keras.layers.Bidirectional(kind(3))]
        )
        model.save_weights(tmp_path / "of.weights.h5")
        contents.append((tmp_path / "of.weights.h5").read_bytes())
    assert contents[0] == contents[1]


def test_names() -> None:
    assert FastLSTM(UNITS).name.startswith("lstm")
    assert repr(FastLSTM(UNITS, name="rnn")) == "<FastLSTM name=rnn>"
    assert keras.saving.get_registered_object("fastseq>FastLSTM") is FastLSTM
    assert keras.saving.get_registered_name(FastLSTM) == "fastseq>FastLSTM"


def test_keras_file(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(20, INPUTS, mask_zero=True),
            keras.layers.Bidirectional(FastLSTM(UNITS, return_sequences=True, dropout=0.2)),
            FastLSTM(3, use_native=True),
        ]
    )
    ids = np.random.default_rng(0).integers(0, 20, (BATCH, TIMESTEPS))
    expected = model.predict(ids, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[-1], FastLSTM)
    assert loaded.layers[-1].use_native is True
    np.testing.assert_array_equal(loaded.predict(ids, verbose=0), expected)


def test_export(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), FastLSTM(UNITS)])
    model.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(tf.constant(_x()))
    assert_close(served, model(_x()), STOCK["float32"])


def test_config_is_the_stock_layers() -> None:
    arguments = {"return_sequences": True, "dropout": 0.1, "name": "rnn", "kernel_regularizer": "l2"}
    stock, fast = keras.layers.LSTM(UNITS, **arguments).get_config(), FastLSTM(UNITS, **arguments).get_config()
    assert fast == stock
    for choice in (True, False):
        config = FastLSTM(UNITS, use_native=choice).get_config()
        assert config.pop("use_native") is choice
        assert FastLSTM.from_config({**config, "use_native": choice}).use_native is choice


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"activation": "relu"}, "activation must be keras.activations.tanh, got .*relu"),
        (
            {"recurrent_activation": "hard_sigmoid"},
            "recurrent_activation must be keras.activations.sigmoid, got .*hard_sigmoid",
        ),
        ({"activation": None}, "activation must be keras.activations.tanh, got .*linear"),
    ],
)
def test_fall_back(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"use_native=True, but the kernels cannot run this layer: {reason}"):
        FastLSTM(UNITS, use_native=True, **arguments)
    fast = FastLSTM(UNITS, **arguments)
    with pytest.warns(NativeFallbackWarning, match=f"runs on stock Keras.*: {reason}"):
        fast(_x())
    stock = keras.layers.LSTM(UNITS, **arguments)
    stock.build((None, TIMESTEPS, INPUTS))
    fast.set_weights(stock.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once, not again
        np.testing.assert_array_equal(fast(_x()), stock(_x()))


def test_fall_back_is_told_where_the_user_is() -> None:
    with pytest.warns(NativeFallbackWarning) as told:
        FastLSTM(UNITS, activation="relu")(_x())
    assert told[0].filename == __file__


def test_another_cell_is_not_replaced() -> None:
    class Sevens(keras.layers.LSTMCell):  # type: ignore[misc]
        def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
            sevens = keras.ops.full_like(states[0], 7.0)
            return sevens, [sevens, sevens]

    layer = FastLSTM(UNITS)
    layer.cell = Sevens(UNITS)
    with pytest.warns(NativeFallbackWarning, match=r"cell must be a keras.layers.LSTMCell, got .*Sevens"):
        assert np.all(layer(_x()) == 7.0)


def test_masks_and_states_of_one_row_are_broadcast() -> None:
    stock, fast = _pair(return_sequences=True)
    rng = np.random.default_rng(5)
    state = [tf.constant(rng.standard_normal((1, UNITS)).astype("float32")) for _ in range(2)]
    mask = tf.constant(rng.random((1, TIMESTEPS)) < 0.5)
    _assert_same(stock, fast, _x(), initial_state=state)
    assert_close(fast(_x(), mask=mask), fast(_x(), mask=tf.repeat(mask, BATCH, 0)), STOCK["float32"])


def test_three_dimensional_masks() -> None:
    stock, fast = _pair(return_sequences=True)
    mask = _mask("inside")
    _assert_same(stock, fast, _x(), mask=mask[:, :, None])
    per_unit = tf.constant(np.random.default_rng(0).random((BATCH, TIMESTEPS, UNITS)) < 0.5)
    with pytest.raises(ValueError, match="mask must not differ between units"):
        fast(_x(), mask=per_unit)
    auto = FastLSTM.from_config({**fast.get_config(), "use_native": "auto"})
    auto.build((BATCH, TIMESTEPS, INPUTS))
    auto.set_weights(stock.get_weights())
    with pytest.warns(NativeFallbackWarning, match="mask must not differ between units"):
        assert_close(auto(_x(), mask=per_unit), stock(_x(), mask=per_unit), STOCK["float32"])


def test_use_native_false_is_stock() -> None:
    stock, fast = keras.layers.LSTM(UNITS), FastLSTM(UNITS, use_native=False)
    for layer in (stock, fast):
        layer.build((None, TIMESTEPS, INPUTS))
    fast.set_weights(stock.get_weights())
    np.testing.assert_array_equal(fast(_x()), stock(_x()))


def test_bidirectional_keeps_use_native() -> None:
    layer = keras.layers.Bidirectional(FastLSTM(UNITS, use_native=False))
    assert layer.forward_layer.use_native is False
    assert layer.backward_layer.use_native is False


@pytest.mark.parametrize("value", ["yes", None, 1])
def test_use_native_rejects(value: Any) -> None:
    with pytest.raises(ValueError, match=r"use_native must be 'auto', True or False, got"):
        FastLSTM(UNITS, use_native=value)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="units"):
        FastLSTM(0)
    with pytest.raises(ValueError, match="expected ndim=3"):
        FastLSTM(UNITS)(np.zeros((2, 3), "float32"))
    layer = FastLSTM(UNITS)
    layer.build((None, TIMESTEPS, INPUTS))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"kernel must have shape \(7, 24\), got \(5, 24\)"):
        layer(np.zeros((2, 3, 7), "float32"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mask must have shape \(2, 3\), got \(2, 4\)"):
        layer(np.zeros((2, 3, INPUTS), "float32"), mask=tf.ones((2, 4), tf.bool))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mask must have shape \(2, 3\), got \(0, 3\)"):
        layer(np.zeros((2, 3, INPUTS), "float32"), mask=tf.ones((0, 3), tf.bool))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"h0 must have shape \(2, 6\), got \(0, 6\)"):
        layer(np.zeros((2, 3, INPUTS), "float32"), initial_state=[tf.zeros((0, UNITS))] * 2)


def test_nan_propagates_as_in_stock() -> None:
    stock, fast = _pair(return_sequences=True)
    x = _x()
    x[1, 3, 2] = np.nan
    np.testing.assert_array_equal(np.isnan(fast(x)), np.isnan(stock(x)))


def test_empty_batch() -> None:
    # Stock Keras fails here on TensorFlow, in BiasAdd.
    layer = FastLSTM(UNITS, return_sequences=True)
    layer.build((None, TIMESTEPS, INPUTS))
    outputs, dx, *dweights = _run(layer, np.zeros((0, TIMESTEPS, INPUTS), "float32"))
    assert outputs.shape == (0, TIMESTEPS, UNITS)
    assert dx.shape == (0, TIMESTEPS, INPUTS)
    assert not any(np.any(gradient) for gradient in dweights)


def test_zero_steps_fail_as_in_stock() -> None:
    for layer in _pair():
        with pytest.raises(tf.errors.InvalidArgumentError, match="slice index 0 of dimension 1 out of bounds"):
            layer(np.zeros((BATCH, 0, INPUTS), "float32"))


def test_determinism() -> None:
    _, fast = _pair()
    assert all(np.array_equal(a, b) for a, b in zip(_run(fast, _x()), _run(fast, _x()), strict=True))

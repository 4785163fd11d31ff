"""The recurrent layers beside their stock twins: same arguments, same weights, same results, same files."""

from __future__ import annotations

import contextlib
import functools
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import REFUSALS, STOCK_FLOAT64, assert_close, assert_equal, jax, needs_tensorflow, tf, to_numpy
from layer_cases import assert_fit_as_stock, assert_same, assert_weights_go_both_ways, keras_can_drop_everything, run
from rnn_cases import CELLS, GATES, STATES, VARIANTS, activation_options, every_cell, every_variant
from tolerances import HALF, STOCK

from fastseq.keras import FastGRU, FastLSTM, FastSimpleRNN, NativeFallbackWarning, export_native

BATCH, TIMESTEPS, INPUTS, UNITS = 4, 9, 5, 6

STOCK_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}
FAST_LAYERS = {"lstm": FastLSTM, "gru": FastGRU, "simple_rnn": FastSimpleRNN}
STOCK_CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell, "simple_rnn": keras.layers.SimpleRNNCell}
WITHOUT_CUDNN: dict[str, dict[str, Any]] = {"lstm": {"use_cudnn": False}, "gru": {"use_cudnn": False}, "simple_rnn": {}}


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
    return keras.ops.convert_to_tensor(masks[kind])


def _initial_state(cell: str, batch: int = BATCH) -> list[Any]:
    rng = np.random.default_rng(5)
    states = [rng.standard_normal((batch, UNITS)).astype("float32") for _ in STATES[cell]]
    return [keras.ops.convert_to_tensor(state) for state in states]


def _stock(cell: str, **arguments: Any) -> Any:
    # Stock Keras's attempt at cuDNN fails with implementation=1 and dropout, before it finds that there is no GPU.
    return STOCK_LAYERS[cell](UNITS, **WITHOUT_CUDNN[cell], **arguments)


def _same_weights(stock: Any, fast: Any, scale: float = 1.0) -> None:
    for layer in (stock, fast):
        layer.build((BATCH, TIMESTEPS, INPUTS))
    rng = np.random.default_rng(1)
    stock.set_weights([scale * (w + 0.1 * rng.standard_normal(w.shape)) for w in stock.get_weights()])
    fast.set_weights(stock.get_weights())


def _pair(cell: str, scale: float = 1.0, **arguments: Any) -> tuple[Any, Any]:
    """A stock and a fast layer with the same weights, which are `scale` times as large as usual."""
    stock, fast = _stock(cell, **arguments), FAST_LAYERS[cell](UNITS, use_native=True, **arguments)
    _same_weights(stock, fast, scale)
    return stock, fast


@functools.cache
def _gru_has_a_mask_for_each_gate() -> bool:
    return hasattr(keras.layers.GRUCell(1, recurrent_dropout=0.5), "dropout_mask_count")


def _skip_what_stock_cannot(cell: str, mode: dict[str, Any]) -> None:
    if 1.0 in (mode.get("dropout"), mode.get("recurrent_dropout")) and not keras_can_drop_everything():
        pytest.skip("this Keras has no dropout with rate 1")
    if cell == "gru" and mode.get("recurrent_dropout") and not _gru_has_a_mask_for_each_gate():
        pytest.skip("this Keras drops h also where the update gate keeps it: see test_recurrent_dropout_of_older_keras")


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
    {"unroll": True},
    {"dropout": 0.3, "seed": 7},
    {"recurrent_dropout": 0.4, "seed": 7},
    {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 7, "return_sequences": True},
    # Drops everything in SimpleRNN, and nothing in LSTM and GRU.
    {"dropout": 1.0, "seed": 7},
    {"recurrent_dropout": 1.0, "seed": 7},
]
MODES_WITH_GATES: list[dict[str, Any]] = [
    {"dropout": 0.3, "seed": 7, "implementation": 1},
    {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 7, "implementation": 1, "use_bias": False},
]
MODES_OF: dict[str, list[dict[str, Any]]] = {
    "lstm": [*MODES, *MODES_WITH_GATES, {"unit_forget_bias": False}],
    "gru": [*MODES, *MODES_WITH_GATES],
    "simple_rnn": MODES,
}
every_mode = pytest.mark.parametrize(
    ("cell", "mode"), [(cell, {**variant, **mode}) for cell, variant in VARIANTS for mode in MODES_OF[cell]], ids=str
)


@every_mode
@pytest.mark.parametrize("mask", ["none", "before", "after", "inside"])
@pytest.mark.parametrize("training", [True, False])
def test_matches_stock_keras(cell: str, mode: dict[str, Any], mask: str, training: bool) -> None:
    _skip_what_stock_cannot(cell, mode)
    stock, fast = _pair(cell, **mode)
    assert_same(stock, fast, _x(), mask=_mask(mask), training=training)


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="stock Keras cannot do it: it reads the shape of a tuple"
)
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_unrolled_loops_that_set_other_outputs_to_zero(backwards: bool, sequences: bool) -> None:
    """With `zero_output_for_mask`, stock Keras's unrolled loop differs from its other one, backward and on JAX."""
    options = {"unroll": True, "zero_output_for_mask": True, "go_backwards": backwards, "return_sequences": sequences}
    stock, fast = _pair("lstm", **options)
    fast.use_native = "auto"
    differs = backwards or keras.backend.backend() == "jax"
    expected = pytest.warns(NativeFallbackWarning, match="unroll must be False with zero_output_for_mask=True")
    with expected if differs else contextlib.nullcontext():
        fast(_x(), mask=_mask("inside"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NativeFallbackWarning)
        assert_same(stock, fast, _x(), mask=_mask("inside"), training=False)


@pytest.mark.usefixtures("float64")
@every_mode
def test_float64_matches_stock_keras(cell: str, mode: dict[str, Any]) -> None:
    _skip_what_stock_cannot(cell, mode)
    stock, fast = _pair(cell, dtype="float64", **mode)
    assert_same(stock, fast, _x("float64"), tolerance=STOCK_FLOAT64, mask=_mask("inside"), training=True)


@pytest.mark.parametrize(
    ("cell", "arguments"),
    [(cell, {**variant, **names}) for cell, variant in VARIANTS for names in activation_options(cell)],
    ids=str,
)
def test_activations_match_stock_keras(cell: str, arguments: dict[str, Any]) -> None:
    # Where states can grow without limit, rounding errors do too: stock Keras's own would exceed the tolerance.
    scale = 1.0 if {"relu", "linear"}.isdisjoint(arguments.values()) else 0.5
    stock, fast = _pair(cell, scale, return_sequences=True, **arguments)
    assert_same(stock, fast, _x(), mask=_mask("inside"))


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (None, "linear"),
        (keras.activations.linear, "linear"),
        (keras.activations.relu, "relu"),
        (keras.activations.hard_sigmoid, "hard_sigmoid"),
    ],
    ids=["None", "linear", "relu", "hard_sigmoid"],
)
@every_cell
def test_activations_as_keras_takes_them(cell: str, activation: Any, name: str) -> None:
    for argument in ("activation",) if cell == "simple_rnn" else ("activation", "recurrent_activation"):
        stock, fast = _pair(cell, 0.5, **{argument: activation})
        assert stock.get_config()[argument] == fast.get_config()[argument] == name
        assert_same(stock, fast, _x())


@every_variant
def test_random_numbers_stay_in_step(cell: str, variant: dict[str, Any]) -> None:
    mode = {"dropout": 0.3, "seed": 7, **variant}
    if cell != "gru" or _gru_has_a_mask_for_each_gate():
        mode["recurrent_dropout"] = 0.4
    stock, fast = _pair(cell, **mode)
    for training in (True, False, True):
        assert_same(stock, fast, _x(), training=training)


@every_variant
def test_initial_state(cell: str, variant: dict[str, Any]) -> None:
    stock, fast = _pair(cell, return_sequences=True, **variant)
    state = _initial_state(cell)
    assert_same(stock, fast, _x(), initial_state=state, mask=_mask("before"))
    if len(state) == 1:
        assert_same(stock, fast, _x(), initial_state=state[0])


@every_variant
def test_stateful(cell: str, variant: dict[str, Any]) -> None:
    stock, fast = _pair(cell, stateful=True, **variant)
    for seed in range(3):
        assert_close(fast(_x(seed=seed)), stock(_x(seed=seed)), STOCK["float32"])
    for one, two in zip(stock.states, fast.states, strict=True):
        assert_close(two, one, STOCK["float32"])
    fast.reset_state()
    stock.reset_state()
    assert_close(fast(_x()), stock(_x()), STOCK["float32"])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@every_variant
def test_half_policies(cell: str, variant: dict[str, Any], policy: str) -> None:
    # PyTorch has no decomposition in float16, which orthogonal weights take.
    arguments = {"recurrent_initializer": "glorot_uniform", "return_sequences": True, **variant}
    stock, fast = _pair(cell, dtype=policy, **arguments)
    one, two = stock(_x()), fast(_x())
    assert two.dtype == one.dtype
    assert_close(two, one, HALF)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", None])
@pytest.mark.parametrize("masked", [False, True])
@every_variant
def test_bidirectional(cell: str, variant: dict[str, Any], merge_mode: str | None, masked: bool) -> None:
    layers = []
    for kind in (STOCK_LAYERS[cell], FAST_LAYERS[cell]):
        layer = keras.layers.Bidirectional(kind(UNITS, return_sequences=True, **variant), merge_mode=merge_mode)
        layer.build((BATCH, TIMESTEPS, INPUTS))
        layers.append(layer)
    stock, fast = layers
    assert isinstance(fast.forward_layer, FAST_LAYERS[cell])
    assert isinstance(fast.backward_layer, FAST_LAYERS[cell])
    fast.set_weights(stock.get_weights())
    assert_same(stock, fast, _x(), mask=_mask("before") if masked else None)


@every_variant
def test_time_distributed(cell: str, variant: dict[str, Any]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, TIMESTEPS, INPUTS)).astype("float32")
    stock = keras.layers.TimeDistributed(STOCK_LAYERS[cell](UNITS, **variant))
    fast = keras.layers.TimeDistributed(FAST_LAYERS[cell](UNITS, **variant))
    stock.build(x.shape)
    fast.build(x.shape)
    fast.set_weights(stock.get_weights())
    assert_same(stock, fast, x)


@every_cell
def test_symbolic_shapes(cell: str) -> None:
    for arguments in ({}, {"return_sequences": True}, {"return_state": True}):
        for shape in ((None, INPUTS), (TIMESTEPS, INPUTS)):
            inputs = keras.Input(shape)
            stock, fast = (kind[cell](UNITS, **arguments)(inputs) for kind in (STOCK_LAYERS, FAST_LAYERS))
            assert [t.shape for t in keras.tree.flatten(fast)] == [t.shape for t in keras.tree.flatten(stock)]


@pytest.mark.parametrize("run_eagerly", [False, True])
@every_variant
def test_fit_gives_the_same_history_as_stock(cell: str, variant: dict[str, Any], run_eagerly: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, TIMESTEPS, INPUTS)).astype("float32"), rng.random((40, 1)).astype("float32")

    def make(kind: Any) -> Any:
        return keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), kind(UNITS, **variant), keras.layers.Dense(1)])

    makes = (partial(make, layers[cell]) for layers in (STOCK_LAYERS, FAST_LAYERS))
    assert_fit_as_stock(makes, x, y, run_eagerly=run_eagerly)


@needs_tensorflow
@every_cell
def test_no_jit_for_models_with_native_layers(cell: str) -> None:
    fast = FAST_LAYERS[cell](UNITS, **WITHOUT_CUDNN[cell])
    model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), keras.layers.Bidirectional(fast)])
    model.compile("sgd", "mse")
    assert not model.jit_compile
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
        model.compile("sgd", "mse", jit_compile=True)
    assert not model.jit_compile
    for arguments in ({}, WITHOUT_CUDNN[cell]):
        stock = STOCK_LAYERS[cell](UNITS, **arguments)
        assert FAST_LAYERS[cell](UNITS, use_native=False, **arguments).supports_jit == stock.supports_jit


@every_variant
def test_weights_go_both_ways(cell: str, variant: dict[str, Any], tmp_path: Path) -> None:
    def model(kind: Any) -> Any:
        layer = kind(UNITS, name="rnn", **variant)
        return keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), layer, keras.layers.Dense(1)])

    stock, fast = STOCK_LAYERS[cell], FAST_LAYERS[cell]
    assert_weights_go_both_ways(model, (stock, fast), _x(), tmp_path)
    layers = [kind(UNITS, **variant) for kind in (fast, stock)]
    for layer in layers:
        layer.build((None, TIMESTEPS, INPUTS))
    described = [[(w.name, w.path.split("/", 1)[1], tuple(w.shape)) for w in layer.weights] for layer in layers]
    assert described[0] == described[1]


@every_cell
def test_saved_architecture_names_the_class(cell: str) -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), FAST_LAYERS[cell](UNITS)])
    assert isinstance(keras.models.clone_model(model).layers[0], FAST_LAYERS[cell])
    assert isinstance(keras.models.model_from_json(model.to_json()).layers[0], FAST_LAYERS[cell])


@every_variant
def test_weights_file_has_the_same_bytes(cell: str, variant: dict[str, Any], tmp_path: Path) -> None:
    contents = []
    for kind in (STOCK_LAYERS[cell], FAST_LAYERS[cell]):
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        model = keras.Sequential(
            [
                keras.Input((TIMESTEPS, INPUTS)),
                kind(UNITS, return_sequences=True, **variant),
                keras.layers.Bidirectional(kind(3, **variant)),
            ]
        )
        model.save_weights(tmp_path / "of.weights.h5")
        contents.append((tmp_path / "of.weights.h5").read_bytes())
    assert contents[0] == contents[1]


@every_cell
def test_names(cell: str) -> None:
    fast = FAST_LAYERS[cell]
    own_name = {"lstm": "FastLSTM", "gru": "FastGRU", "simple_rnn": "FastSimpleRNN"}[cell]
    assert fast(UNITS).name.startswith(cell)
    assert repr(fast(UNITS, name="rnn")) == f"<{own_name} name=rnn>"
    assert keras.saving.get_registered_object(f"fastseq>{own_name}") is fast
    assert keras.saving.get_registered_name(fast) == f"fastseq>{own_name}"


@every_variant
def test_keras_file(cell: str, variant: dict[str, Any], tmp_path: Path) -> None:
    fast = FAST_LAYERS[cell]
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(20, INPUTS, mask_zero=True),
            keras.layers.Bidirectional(fast(UNITS, return_sequences=True, dropout=0.2, **variant)),
            fast(3, activation="relu", use_native=True, **variant),
        ]
    )
    ids = np.random.default_rng(0).integers(0, 20, (BATCH, TIMESTEPS))
    expected = model.predict(ids, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[-1], fast)
    assert loaded.layers[-1].use_native is True
    np.testing.assert_array_equal(loaded.predict(ids, verbose=0), expected)


@needs_tensorflow
@every_variant
def test_export(cell: str, variant: dict[str, Any], tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((TIMESTEPS, INPUTS)), FAST_LAYERS[cell](UNITS, **variant)])
    with export_native():
        model.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(tf.constant(_x()))
    assert_close(served, model(_x()), STOCK["float32"])


@every_variant
def test_config_is_the_stock_layers(cell: str, variant: dict[str, Any]) -> None:
    arguments = {"return_sequences": True, "dropout": 0.1, "name": "rnn", "kernel_regularizer": "l2", **variant}
    fast = FAST_LAYERS[cell]
    assert fast(UNITS, **arguments).get_config() == STOCK_LAYERS[cell](UNITS, **arguments).get_config()
    for choice in (True, False):
        config = fast(UNITS, use_native=choice).get_config()
        assert config.pop("use_native") is choice
        assert fast.from_config({**config, "use_native": choice}).use_native is choice


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: Any) -> Any:
        return keras.ops.tanh(x)


@pytest.mark.parametrize(
    ("activation", "described"),
    [
        ("gelu", r"keras\..*\.gelu"),
        (keras.activations.softplus, r"keras\..*\.softplus"),
        (functools.partial(keras.activations.relu, max_value=6.0), r"functools\.partial\(<function relu"),
        (_Unhashable(), r"<test_keras_rnn\._Unhashable object"),
    ],
    ids=["gelu", "softplus", "partial", "unhashable"],
)
@pytest.mark.parametrize(
    ("cell", "argument"),
    [(cell, name) for cell in CELLS for name in activation_options(cell)[0]],
)
def test_fall_back(cell: str, argument: str, activation: Any, described: str) -> None:
    reason = rf"{argument} must be one of keras\.activations\.{{tanh, sigmoid, hard_sigmoid, relu, linear}}, got "
    reason += described
    arguments = {argument: activation}
    with pytest.raises(ValueError, match=f"use_native=True, but the kernels cannot run this layer: {reason}"):
        FAST_LAYERS[cell](UNITS, use_native=True, **arguments)
    fast = FAST_LAYERS[cell](UNITS, **arguments)
    with pytest.warns(NativeFallbackWarning, match=f"runs on stock Keras.*: {reason}"):
        fast(_x())
    stock = STOCK_LAYERS[cell](UNITS, **arguments)
    stock.build((None, TIMESTEPS, INPUTS))
    fast.set_weights(stock.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once, not again
        assert_equal(fast(_x()), stock(_x()))


@needs_tensorflow
@every_cell
def test_on_a_gpu_stock_keras_computes(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tf.config.list_logical_devices
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"] if kind == "GPU" else listed(kind))
    fast, stock = FAST_LAYERS[cell](UNITS), STOCK_LAYERS[cell](UNITS)
    with pytest.warns(
        NativeFallbackWarning, match="TensorFlow uses a GPU here, for which Keras has kernels of its own"
    ):
        outputs = fast(_x())
    stock.build(_x().shape)
    stock.set_weights(fast.get_weights())
    assert_equal(outputs, stock(_x()))  # to the bit: where stock Keras would call cuDNN
    with pytest.raises(ValueError, match=r"use_native=True.*TensorFlow uses a GPU here"):
        FAST_LAYERS[cell](UNITS, use_native=True)


@every_cell
def test_fall_back_is_told_where_the_user_is(cell: str) -> None:
    with pytest.warns(NativeFallbackWarning) as told:
        FAST_LAYERS[cell](UNITS, activation="gelu")(_x())
    assert told[0].filename == __file__
    assert str(told[0].message).endswith("If that is intended, give the layer use_native=False.")


@pytest.mark.parametrize("reset_after", [True, False])
def test_recurrent_dropout_of_older_keras(monkeypatch: pytest.MonkeyPatch, reset_after: bool) -> None:
    """Where GRU cells have one mask for all gates, they drop h also where the update gate keeps it."""
    init = keras.layers.GRUCell.__init__

    def older_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if hasattr(self, "dropout_mask_count"):
            del self.dropout_mask_count

    monkeypatch.setattr(keras.layers.GRUCell, "__init__", older_init)
    arguments = {"recurrent_dropout": 0.4, "dropout": 0.3, "seed": 7, "reset_after": reset_after}
    reason = r"recurrent_dropout must be 0 with Keras \d+\.\d+.*, got 0.4"
    with pytest.raises(ValueError, match=f"use_native=True, but the kernels cannot run this layer: {reason}"):
        FastGRU(UNITS, use_native=True, **arguments)
    stock, fast = _stock("gru", **arguments), FastGRU(UNITS, use_cudnn=False, **arguments)
    _same_weights(stock, fast)
    with pytest.warns(NativeFallbackWarning, match=f"runs on stock Keras.*: {reason}"):
        assert_same(stock, fast, _x(), training=True)
    stock, fast = _pair("gru", dropout=0.3, seed=7, reset_after=reset_after)
    assert_same(stock, fast, _x(), training=True)


def test_gru_runs_native_with_recurrent_dropout() -> None:
    if not _gru_has_a_mask_for_each_gate():
        pytest.skip("with this Keras it does not")
    FastGRU(UNITS, use_native=True, recurrent_dropout=0.4)(_x(), training=True)


@every_cell
def test_another_cell_is_not_replaced(cell: str) -> None:
    class Sevens(STOCK_CELLS[cell]):  # type: ignore[misc]
        def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
            sevens = keras.ops.full_like(states[0], 7.0)
            return sevens, [sevens for _ in states]

    layer = FAST_LAYERS[cell](UNITS, **WITHOUT_CUDNN[cell])  # PyTorch's LSTM and GRU, too, take no cell's word
    layer.cell = Sevens(UNITS)
    expected = r"cell must be one of keras\.layers\.{GRUCell, LSTMCell, SimpleRNNCell}, got .*Sevens"
    with pytest.warns(NativeFallbackWarning, match=expected):
        assert_equal(layer(_x()), np.full((BATCH, UNITS), 7.0))


@every_variant
def test_masks_and_states_of_one_row_are_broadcast(cell: str, variant: dict[str, Any]) -> None:
    stock, fast = _pair(cell, return_sequences=True, **variant)
    mask = np.random.default_rng(5).random((1, TIMESTEPS)) < 0.5
    state = _initial_state(cell, batch=1)
    if jax is None:
        assert_same(stock, fast, _x(), initial_state=state)
    else:  # where stock Keras's loop takes no such state
        repeated = [np.repeat(one, BATCH, 0) for one in to_numpy(state)]
        assert_close(fast(_x(), initial_state=state), stock(_x(), initial_state=repeated), STOCK["float32"])
    assert_close(fast(_x(), mask=mask), fast(_x(), mask=np.repeat(mask, BATCH, 0)), STOCK["float32"])


@every_cell
def test_three_dimensional_masks(cell: str) -> None:
    stock, fast = _pair(cell, return_sequences=True)
    mask = _mask("inside")
    assert_same(stock, fast, _x(), mask=mask[:, :, None])
    per_unit = keras.ops.convert_to_tensor(np.random.default_rng(0).random((BATCH, TIMESTEPS, UNITS)) < 0.5)
    with pytest.raises(ValueError, match="mask must not differ between units"):
        fast(_x(), mask=per_unit)
    auto = FAST_LAYERS[cell].from_config({**fast.get_config(), "use_native": "auto"})
    auto.build((BATCH, TIMESTEPS, INPUTS))
    auto.set_weights(stock.get_weights())
    with pytest.warns(NativeFallbackWarning, match="mask must not differ between units"):
        assert_close(auto(_x(), mask=per_unit), stock(_x(), mask=per_unit), STOCK["float32"])


@every_variant
def test_use_native_false_is_stock(cell: str, variant: dict[str, Any]) -> None:
    stock, fast = STOCK_LAYERS[cell](UNITS, **variant), FAST_LAYERS[cell](UNITS, use_native=False, **variant)
    for layer in (stock, fast):
        layer.build((None, TIMESTEPS, INPUTS))
    fast.set_weights(stock.get_weights())
    assert_equal(fast(_x()), stock(_x()))


@every_cell
def test_bidirectional_keeps_use_native(cell: str) -> None:
    layer = keras.layers.Bidirectional(FAST_LAYERS[cell](UNITS, use_native=False))
    assert layer.forward_layer.use_native is False
    assert layer.backward_layer.use_native is False


@pytest.mark.parametrize("value", ["yes", None, 1])
@every_cell
def test_use_native_rejects(cell: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"use_native must be 'auto', True or False, got"):
        FAST_LAYERS[cell](UNITS, use_native=value)


@every_cell
def test_bad_input(cell: str) -> None:
    fast, columns = FAST_LAYERS[cell], GATES[cell] * UNITS
    with pytest.raises(ValueError, match="units"):
        fast(0)
    with pytest.raises(ValueError, match="expected ndim=3"):
        fast(UNITS)(np.zeros((2, 3), "float32"))
    layer = fast(UNITS)
    layer.build((None, TIMESTEPS, INPUTS))
    expected = rf"kernel must have shape \(7, {columns}\), got \(5, {columns}\)"
    with pytest.raises(REFUSALS, match=expected):
        layer(np.zeros((2, 3, 7), "float32"))
    with pytest.raises(REFUSALS, match=r"mask must have shape \(2, 3\), got \(2, 4\)"):
        layer(np.zeros((2, 3, INPUTS), "float32"), mask=np.ones((2, 4), bool))
    with pytest.raises(REFUSALS, match=r"mask must have shape \(2, 3\), got \(0, 3\)"):
        layer(np.zeros((2, 3, INPUTS), "float32"), mask=np.ones((0, 3), bool))
    with pytest.raises(REFUSALS, match=r"h0 must have shape \(2, 6\), got \(0, 6\)"):
        layer(np.zeros((2, 3, INPUTS), "float32"), initial_state=_initial_state(cell, batch=0))


@every_variant
def test_nan_propagates_as_in_stock(cell: str, variant: dict[str, Any]) -> None:
    stock, fast = _pair(cell, return_sequences=True, **variant)
    x = _x()
    x[1, 3, 2] = np.nan
    assert_equal(keras.ops.isnan(fast(x)), keras.ops.isnan(stock(x)))


@every_variant
def test_empty_batch(cell: str, variant: dict[str, Any]) -> None:
    # Stock Keras fails here on TensorFlow, in BiasAdd.
    layer = FAST_LAYERS[cell](UNITS, return_sequences=True, **variant)
    layer.build((None, TIMESTEPS, INPUTS))
    outputs, dx, *dweights = run(layer, np.zeros((0, TIMESTEPS, INPUTS), "float32"))
    assert outputs.shape == (0, TIMESTEPS, UNITS)
    assert dx.shape == (0, TIMESTEPS, INPUTS)
    assert not any(np.any(gradient) for gradient in dweights)


@needs_tensorflow
@every_cell
def test_zero_steps_fail_as_in_stock(cell: str) -> None:
    for layer in _pair(cell):
        with pytest.raises(tf.errors.InvalidArgumentError, match="slice index 0 of dimension 1 out of bounds"):
            layer(np.zeros((BATCH, 0, INPUTS), "float32"))


@every_variant
def test_determinism(cell: str, variant: dict[str, Any]) -> None:
    _, fast = _pair(cell, **variant)
    assert all(np.array_equal(a, b) for a, b in zip(run(fast, _x()), run(fast, _x()), strict=True))

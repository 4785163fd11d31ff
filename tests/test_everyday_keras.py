"""Everyday uses of Keras models, with all fast layers in the model."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, tf
from everyday_model import IDS, LABELS, adam, compiled, everyday_layers, everyday_model, kind
from processes import run_python
from tolerances import HALF, STOCK, assert_close

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

from fastseq.keras import FastAdam, FastEmbedding, FastLSTM, NativeFallbackWarning, export_native


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The ids in batches of 4, 4 and 2."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        rows = slice(4 * index, 4 * index + 4)
        return IDS[rows], LABELS[rows]


def _endless() -> Iterator[Any]:
    batches = Batches()
    while True:
        yield from (batches[index] for index in range(len(batches)))


def _dataset() -> Any:
    return tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(4).prefetch(2)


# How the same batches come to `fit`: its arguments, and those of `compile`.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "eager": ({"x": IDS, "y": LABELS, "batch_size": 4}, {"run_eagerly": True}),
    "steps_per_execution": ({"x": IDS, "y": LABELS, "batch_size": 4}, {"steps_per_execution": 2}),
    "dataset": ({"x": _dataset}, {}),
    "generator": ({"x": _endless, "steps_per_epoch": 3}, {}),
    "threads": ({"x": lambda: Batches(workers=2)}, {}),
    "processes": ({"x": lambda: Batches(workers=2, use_multiprocessing=True)}, {}),
}


def _assert_same_history(got: Any, expected: Any) -> None:
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        assert_close(got[name], values, STOCK["float32"], name)


@pytest.fixture(scope="module")
def stock_history() -> Any:
    """Of two epochs of the stock twin."""
    model = compiled(everyday_model(False), False, run_eagerly=True)
    return model.fit(IDS, LABELS, batch_size=4, epochs=2, shuffle=False, verbose=0).history


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # Keras forks
@pytest.mark.parametrize("way", WAYS)
def test_fits_as_stock_does(way: str, stock_history: Any) -> None:
    fit, compile_arguments = WAYS[way]
    x = fit["x"]() if callable(fit["x"]) else fit["x"]
    model = compiled(everyday_model(True), True, **compile_arguments)
    history = model.fit(**{**fit, "x": x}, epochs=2, shuffle=False, verbose=0).history
    _assert_same_history(history, stock_history)


def test_batches_of_any_length() -> None:
    pieces = [(IDS[:4], LABELS[:4]), (IDS[4:8, :5], LABELS[4:8]), (IDS[8:, :2], LABELS[8:])]
    signature = (tf.TensorSpec((None, None), tf.int64), tf.TensorSpec((None,), tf.int64))
    dataset = tf.data.Dataset.from_generator(lambda: iter(pieces), output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(pieces))).prefetch(1)

    def history(fast: bool) -> Any:
        model = compiled(everyday_model(fast), fast, run_eagerly=not fast)
        return model.fit(dataset, shuffle=False, verbose=0).history

    _assert_same_history(history(True), history(False))


def test_weights_of_samples_and_classes() -> None:
    def results(fast: bool) -> Any:
        model = compiled(everyday_model(fast), fast, run_eagerly=True)
        history = model.fit(
            IDS,
            LABELS,
            batch_size=4,
            shuffle=False,
            verbose=0,
            class_weight={0: 1.0, 1: 3.0},
            validation_data=(IDS[:5], LABELS[:5], np.arange(5.0)),
            validation_batch_size=2,
        ).history
        history["trained"] = model.train_on_batch(IDS, LABELS, sample_weight=np.arange(10.0))
        history["tested"] = model.test_on_batch(IDS[:3], LABELS[:3], sample_weight=np.arange(3.0))
        history["predicted"] = model.predict_on_batch(IDS[:1])
        return history

    _assert_same_history(results(True), results(False))


def test_predicts_one_row_and_none() -> None:
    model = everyday_model(True)
    rows = model.predict(IDS, verbose=0)
    assert_close(model.predict(IDS[:1], verbose=0), rows[:1], STOCK["float32"])
    assert_close(model.predict(IDS, batch_size=3, verbose=0), rows, STOCK["float32"])
    assert model.predict_on_batch(IDS[:0]).shape == (0, 2)  # an error with the stock layers
    assert tuple(model(IDS[:0]).shape) == (0, 2)


def test_callbacks(tmp_path: Path) -> None:
    callbacks = keras.callbacks
    model = compiled(everyday_model(True), True, run_eagerly=True)
    watchers = [
        callbacks.LearningRateScheduler(lambda epoch, rate: 1.0 if epoch == 1 else rate),
        callbacks.ReduceLROnPlateau(patience=1, factor=0.5),
        callbacks.EarlyStopping(patience=2, restore_best_weights=True),
        callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.TerminateOnNaN(),
    ]
    history = model.fit(IDS, LABELS, epochs=4, verbose=0, validation_data=(IDS, LABELS), callbacks=watchers).history
    assert np.argmin(history["val_loss"]) == 0
    assert len(history["loss"]) == 3
    assert history["learning_rate"] == pytest.approx([0.01, 1.0, 0.5])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    best = model(IDS)
    first = everyday_model(True)
    first.load_weights(tmp_path / "1.weights.h5")
    for restored in (keras.models.load_model(tmp_path / "best.keras"), first):
        np.testing.assert_array_equal(restored(IDS), best)


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    class Interrupt(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def resumed(fast: bool) -> Any:
        def fit(*callbacks: Any) -> Any:
            model = compiled(everyday_model(fast), fast, run_eagerly=True)
            backup = keras.callbacks.BackupAndRestore(tmp_path / str(fast))
            arguments: dict[str, Any] = {"epochs": 2, "shuffle": False, "verbose": 0}
            return model.fit(IDS, LABELS, callbacks=[backup, *callbacks], **arguments).history

        with pytest.raises(KeyboardInterrupt):
            fit(Interrupt())
        return fit()

    history = resumed(True)
    assert len(history["loss"]) == 1
    _assert_same_history(history, resumed(False))


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    model = compiled(everyday_model(True), True)
    board = keras.callbacks.TensorBoard(str(tmp_path), histogram_freq=1, write_graph=True)
    model.fit(IDS, LABELS, batch_size=4, verbose=0, callbacks=[board])
    assert any("tfevents" in path.name for path in tmp_path.rglob("*"))


@pytest.fixture(params=["float64", "mixed_bfloat16", "mixed_float16"])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def _trained_for_two_steps(fast: bool) -> Any:
    model = compiled(everyday_model(fast), fast, run_eagerly=True)
    losses = [model.train_on_batch(IDS, LABELS)[0] for _ in range(2)]
    return model, [*losses, *model.predict_on_batch(IDS).astype("float64").ravel()]


def test_policies(policy: str) -> None:
    model, got = _trained_for_two_steps(True)
    _, expected = _trained_for_two_steps(False)
    assert_close(got, expected, STOCK["float64"] if policy == "float64" else HALF)
    optimizer = model.optimizer
    if policy == "mixed_float16":
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        optimizer = optimizer.inner_optimizer
    assert isinstance(optimizer, FastAdam)


def test_floatx() -> None:
    keras.utils.clear_session()
    keras.config.set_floatx("float64")
    try:
        (model, got), (_, expected) = _trained_for_two_steps(True), _trained_for_two_steps(False)
    finally:
        keras.config.set_floatx("float32")
        keras.utils.clear_session()
    assert {variable.dtype for variable in model.trainable_variables} == {"float64"}
    assert_close(got, expected, STOCK["float64"])


def test_compile_turns_xla_off() -> None:
    """As Keras does for layers that say that XLA cannot compile them."""
    model = everyday_model(True)
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
        compiled(model, True, jit_compile=True)
    assert not model.jit_compile


def test_functions_that_xla_compiles_are_left_to_stock() -> None:
    model = everyday_model(True)
    expected = model(IDS)
    with pytest.warns(NativeFallbackWarning, match=r"Layer '.*' runs on stock Keras .* XLA compiles") as told:
        got = tf.function(lambda ids: tf.function(model)(ids), jit_compile=True)(tf.constant(IDS))
    assert len(told) == 7  # all the layers but dropout, which has nothing to do
    assert_close(got, expected, STOCK["float32"])
    assert_close(tf.function(model)(tf.constant(IDS)), expected, 0.0)


def test_gradients_that_xla_compiles_are_left_to_stock() -> None:
    x = tf.random.stateless_normal((3, 4, 2), (1, 2))

    def gradients(fast: bool) -> Any:
        keras.utils.set_random_seed(1)
        dropout, conv1d = kind(keras.layers.Dropout, fast)(0.5, seed=1), kind(keras.layers.Conv1D, fast)(2, 3)
        conv1d.build(x.shape)

        @tf.function(jit_compile=True)
        def compute(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = conv1d(dropout(x, training=True))
            return tape.gradient(y, [x, *(v.value for v in conv1d.trainable_variables)])

        return compute(x)

    with pytest.warns(NativeFallbackWarning, match="XLA compiles"):
        got = gradients(True)
    for one, two in zip(got, gradients(False), strict=True):
        assert_close(one, two, 0.0)  # to the bit, though XLA draws other random numbers


def test_use_native_refuses_xla() -> None:
    layer = FastLSTM(2, use_native=True, name="mine")
    x = tf.ones((2, 3, 2))
    layer(x)
    with pytest.raises(ValueError, match="use_native=True, but the kernels cannot run layer 'mine': XLA compiles"):
        tf.function(layer, jit_compile=True)(x)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_files_go_both_ways(suffix: str, tmp_path: Path) -> None:
    weights_only = suffix == ".weights.h5"
    fast, stock = (everyday_model(kind) for kind in (True, False))
    for variable in fast.trainable_variables:
        variable.assign_add(keras.ops.ones_like(variable) / 8)
    expected = fast(IDS)
    for giver, taker in ((fast, stock), (stock, everyday_model(True))):
        path = tmp_path / f"model{suffix}"
        (giver.save_weights if weights_only else giver.save)(path)
        taker.load_weights(path)
        assert_close(taker(IDS), expected, STOCK["float32"])
    if not weights_only:
        fast.save(path)
        loaded = keras.models.load_model(path)
        assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in fast.layers]
        assert_close(loaded(IDS), expected, 0.0)


@pytest.mark.parametrize(
    "twin",
    [
        keras.models.clone_model,
        lambda model: keras.Model.from_config(model.get_config()),
        lambda model: keras.models.model_from_json(model.to_json()),
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
    ],
    ids=["clone_model", "config", "json", "deepcopy", "pickle"],
)
def test_copies(twin: Any) -> None:
    model = everyday_model(True)
    got = twin(model)
    assert [type(layer) for layer in got.layers] == [type(layer) for layer in model.layers]
    got.set_weights(model.get_weights())
    np.testing.assert_array_equal(got(IDS), model(IDS))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_of_layers_and_of_the_optimizer(duplicate: Any) -> None:
    for thing in [*everyday_model(True).layers, FastAdam(1e-4, amsgrad=True)]:
        got = duplicate(thing)
        assert type(got) is type(thing)
        assert got.name == thing.name


def test_a_compiled_copy_trains_on(tmp_path: Path) -> None:
    layers = [FastEmbedding(12, 4), FastLSTM(3), keras.layers.Dense(2, activation="softmax")]
    model = compiled(keras.Sequential(layers), True, run_eagerly=True)
    model.train_on_batch(IDS, LABELS)
    model.save(tmp_path / "model.keras")
    copies = [keras.models.load_model(tmp_path / "model.keras"), copy.deepcopy(model)]
    expected = [model.train_on_batch(IDS, LABELS)[0] for _ in range(2)]
    for got in copies:
        assert isinstance(got.optimizer, FastAdam)
        assert [got.train_on_batch(IDS, LABELS)[0] for _ in range(2)] == expected


_LOAD_WITHOUT_FASTSEQ = """
import keras, tensorflow as tf

def told(load, *arguments, **options):
    try:
        load(*arguments, **options)
    except Exception as error:
        print(" ".join(str(error).split()))

told(tf.saved_model.load, "{folder}/exported")
told(keras.layers.TFSMLayer, "{folder}/exported", call_endpoint="serve")
told(keras.models.load_model, "{folder}/model.h5")
told(keras.models.load_model, "{folder}/model.keras")
import fastseq.keras
model = tf.saved_model.load("{folder}/exported")
print(tuple(model.serve(tf.ones((2, 3), tf.int32)).shape))
"""


def test_export_and_files_in_another_process(tmp_path: Path) -> None:
    model = everyday_model(True)
    with export_native():
        model.export(str(tmp_path / "exported"))
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
    expected = model(IDS)
    ids = tf.constant(IDS, tf.int32)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    for served in (loaded.serve, keras.layers.TFSMLayer(str(tmp_path / "exported"), call_endpoint="serve")):
        assert_close(served(ids), expected, 0.0)
        assert tuple(served(ids[:1, :3]).shape) == (1, 2)
    process = run_python(_LOAD_WITHOUT_FASTSEQ.format(folder=tmp_path))
    assert process.returncode == 0, process.stderr
    exported, layer, h5, keras_file, with_fastseq = process.stdout.splitlines()
    assert "Op type not registered 'FastseqEmbeddingForward'" in exported
    assert "Op type not registered 'FastseqEmbeddingForward'" in layer
    assert "Unknown layer: 'fastseq>FastEmbedding'" in h5
    assert "make sure they are all imported" in keras_file
    assert "fastseq.keras.embedding" in keras_file
    assert with_fastseq == "(2, 2)"


def test_conversion_to_tensorflow_lite_names_the_operations(tmp_path: Path) -> None:
    with export_native():
        keras.Sequential([keras.Input((4, 3)), FastLSTM(2)]).export(str(tmp_path))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    with pytest.raises(Exception, match="Custom ops: FastseqLstmForward"):
        converter.convert()


_DISTRIBUTED = """
import contextlib
import numpy as np, keras, tensorflow as tf
from everyday_model import IDS, LABELS, adam, kind

keras.utils.set_random_seed(1)
tf.config.experimental.enable_op_determinism()
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()

def losses(fast, scope, **arguments):
    with scope:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([
            kind(keras.layers.Embedding, fast)(12, 5),
            kind(keras.layers.Conv1D, fast)(4, 3),
            kind(keras.layers.MaxPooling1D, fast)(2),
            kind(keras.layers.LSTM, fast)(3),
            keras.layers.Dense(2, activation="softmax"),
        ])
        model.compile(adam(fast), "sparse_categorical_crossentropy", **arguments)
    return model.fit(IDS, LABELS, epochs=2, shuffle=False, verbose=0).history["loss"]

expected = losses(False, contextlib.nullcontext(), run_eagerly=True)
np.testing.assert_allclose(losses(True, both), expected, atol=1e-5)

fast, stock = (kind(keras.layers.Dropout, fast)(0.5, seed=1)(np.ones(99), training=True) for fast in (True, False))
np.testing.assert_array_equal(fast, stock)
"""


def test_mirrored_strategy_and_op_determinism() -> None:
    """Two logical CPUs train to what one does; in a process of its own, since neither setting can be taken back."""
    process = run_python(_DISTRIBUTED, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    assert process.returncode == 0, process.stderr


# Layers with differing gradients, and the calculations that have to do with gradients and graphs.
LAYERS = {
    "lstm": (keras.layers.LSTM, (3,)),
    "conv1d": (keras.layers.Conv1D, (3, 2)),
    "max_pooling1d": (keras.layers.MaxPooling1D, (2,)),
    "average_pooling1d": (keras.layers.AveragePooling1D, (2,)),
    "dropout": (keras.layers.Dropout, (0.5,)),
}
Function = Callable[[Any], Any]


def _jacobian(f: Function, x: Any) -> Any:
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = f(x)
    return tape.jacobian(y, x), tape.batch_jacobian(y, x)


def _persistent(f: Function, x: Any) -> Any:
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x), tape.gradient(y, x, tf.sin(y))


def _gradient(f: Function, x: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x, tf.sin(y))


def _loop(f: Function, x: Any) -> Any:
    def body(step: Any, total: Any) -> Any:
        return step + 1, total + tf.reduce_sum(tf.sin(f(x + total)))

    return tf.while_loop(lambda step, _: step < 3, body, (0, 0.0))[1]


CALCULATIONS: dict[str, Callable[[Function, Any], Any]] = {
    "persistent": _persistent,
    "jacobian": _jacobian,
    "vectorized_map": lambda f, x: (tf.vectorized_map(lambda row: f(row[None])[0], x),),
    "map_fn": lambda f, x: (_gradient(lambda rows: tf.map_fn(lambda row: f(row[None])[0], rows), x),),
    "while_loop": lambda f, x: (tf.function(lambda x: _gradient(lambda v: _loop(f, v), x))(x),),
    "recompute_grad": lambda f, x: (_gradient(tf.recompute_grad(f), x),),
}


def _call(name: str, fast: bool) -> Function:
    stock, arguments = LAYERS[name]
    keras.utils.set_random_seed(1)
    layer = kind(stock, fast)(*arguments, **({"seed": 1} if name == "dropout" else {}))
    layer.build((2, 6, 4))
    if name == "dropout":
        return lambda x: layer(x, training=True)
    return lambda x: layer(x)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("calculation", CALCULATIONS)
def test_gradients_and_graphs(calculation: str, name: str) -> None:
    x = tf.random.stateless_normal((2, 6, 4), (1, 2))
    got, expected = (CALCULATIONS[calculation](_call(name, fast), x) for fast in (True, False))
    for one, two in zip(got, expected, strict=True):
        assert_close(one, two, STOCK["float32"])


def _second_order(f: Function, x: Any) -> Any:
    return _gradient(lambda v: _gradient(f, v), x)


def _forward_mode(f: Function, x: Any) -> Any:
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        y = f(x)
    return accumulator.jvp(y)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("calculation", [_second_order, _forward_mode])
def test_second_order_and_forward_mode(calculation: Any, name: str) -> None:
    x = tf.random.stateless_normal((2, 6, 4), (1, 2))
    assert_close(calculation(_call(name, True), x), calculation(_call(name, False), x), STOCK["float32"])


def test_forward_mode_over_a_table() -> None:
    """By way of a dense gradient: TensorFlow cannot transpose slices."""

    def tangent(layer: Any) -> Any:
        layer.build()
        table = layer.embeddings.value
        with tf.autodiff.ForwardAccumulator(table, tf.sin(tf.reshape(tf.range(36.0), (12, 3)))) as accumulator:
            outputs = layer(IDS)
        return accumulator.jvp(outputs)

    stock = keras.layers.Embedding(12, 3)
    assert_close(tangent(FastEmbedding(12, 3, dense_gradient=True)), tangent(stock), 0.0)


def test_functions_of_any_length_are_traced_twice_at_most() -> None:
    model, traced = everyday_model(True), []

    @tf.function(reduce_retracing=True)
    def call(ids: Any) -> Any:
        traced.append(ids)
        return model(ids)

    for length in (7, 5, 4, 2):
        assert_close(call(tf.constant(IDS[:, :length])), model(IDS[:, :length]), STOCK["float32"])
    assert len(traced) <= 2


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_quantized_as_stock() -> None:
    fast, stock = everyday_model(True), everyday_model(False)
    for model in (fast, stock):
        model.quantize("int8")
    with pytest.warns(NativeFallbackWarning, match="quantization mode int8"):
        got = fast(IDS)
    assert_close(got, stock(IDS), STOCK["float32"])


def test_lora_trains_as_stock() -> None:
    def trained(fast: bool) -> Any:
        keras.utils.set_random_seed(1)
        layers = [kind(keras.layers.Embedding, fast)(12, 4), kind(keras.layers.Conv1D, fast)(3, 2)]
        model = keras.Sequential([keras.Input((7,)), *layers])
        for layer in layers:
            layer.enable_lora(2)
        model.compile(adam(fast), "mse", run_eagerly=True)
        for _ in range(2):
            model.train_on_batch(IDS, np.ones((10, 6, 3)))
        return model.get_weights()

    with pytest.warns(NativeFallbackWarning, match="lora_rank"):
        got = trained(True)
    for one, two in zip(got, trained(False), strict=True):
        assert_close(one, two, STOCK["float32"])


class AddsLoss(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        self.add_loss(keras.ops.mean(keras.ops.square(x)))
        return x


def test_regularizers_constraints_and_frozen_layers() -> None:
    def trained(fast: bool) -> Any:
        keras.utils.set_random_seed(1)
        sees = {"activity_regularizer": "l2"}
        model = keras.Sequential(
            [
                keras.Input((7,)),
                kind(keras.layers.Embedding, fast)(
                    12, 5, embeddings_regularizer="l2", embeddings_constraint="unit_norm", **sees
                ),
                kind(keras.layers.Conv1D, fast)(4, 3, kernel_initializer="he_normal", trainable=False, **sees),
                AddsLoss(),
                kind(keras.layers.LSTM, fast)(
                    3, kernel_regularizer="l1", recurrent_constraint="unit_norm", return_sequences=True, **sees
                ),
                kind(keras.layers.GRU, fast)(
                    3, bias_regularizer="l2", kernel_constraint="max_norm", return_sequences=True, **sees
                ),
                kind(keras.layers.SimpleRNN, fast)(3, bias_initializer="ones", recurrent_regularizer="l2", **sees),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        compiled(model, fast, run_eagerly=True)
        before = model.layers[1].get_weights()
        losses = [model.train_on_batch(IDS, LABELS)[0] for _ in range(2)]
        for one, two in zip(model.layers[1].get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, two)
        return [*losses, *model.get_weights()]

    for one, two in zip(trained(True), trained(False), strict=True):
        assert_close(one, two, STOCK["float32"])


def test_subclassed_model_with_a_train_step_of_its_own() -> None:
    class Model(keras.Model):  # type: ignore[misc]
        def __init__(self, fast: bool) -> None:
            super().__init__()
            self.stack = everyday_layers(fast)

        def build(self, input_shape: Any) -> None:
            for layer in self.stack:
                layer.build(input_shape)
                input_shape = layer.compute_output_shape(input_shape)

        def call(self, x: Any, training: bool = False) -> Any:
            for layer in self.stack:
                takes = {"training": training} if isinstance(layer, keras.layers.Dropout) else {}
                x = layer(x, **takes)
            return x

        def train_step(self, data: Any) -> Any:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, [v.value for v in self.trainable_variables])
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    def loss(fast: bool) -> Any:
        keras.utils.set_random_seed(1)
        model = compiled(Model(fast), fast, run_eagerly=not fast)
        return [model.train_on_batch(IDS, LABELS) for _ in range(2)]

    assert_close(loss(True), loss(False), STOCK["float32"])


def test_symbolic_calls() -> None:
    for layer in everyday_layers(True):
        shape = (None, None) if isinstance(layer, FastEmbedding) else (None, None, 4)
        outputs = layer(keras.KerasTensor(shape))
        assert tuple(layer.compute_output_shape(shape)) == outputs.shape
        assert keras.ops.mean(keras.ops.relu(outputs) * 2, axis=-1).shape == outputs.shape[:-1]


def test_stateless_call() -> None:
    model = everyday_model(True)
    before = [variable.numpy() for variable in model.variables]
    state = [[v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)]
    outputs, state_after = model.stateless_call(*state, IDS, training=True)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert any(np.any(new != old.numpy()) for new, old in zip(state_after, model.non_trainable_variables, strict=True))
    assert_close(outputs, model(IDS, training=True), 0.0)


def test_summary_is_that_of_stock() -> None:
    def summary(fast: bool) -> list[str]:
        keras.utils.clear_session()
        lines: list[str] = []
        everyday_model(fast).summary(print_fn=lambda line, **_: lines.append(line))
        return lines

    assert summary(True) == summary(False)


def test_plot_model(tmp_path: Path) -> None:
    pytest.importorskip("pydot", reason="pydot is not installed")
    assert "GRU" in keras.utils.model_to_dot(everyday_model(True)).to_string()


@pytest.mark.parametrize("name", LAYERS)
def test_ragged_inputs_are_an_error_that_says_so(name: str) -> None:
    ragged = tf.RaggedTensor.from_row_lengths(tf.ones((4, 4)), [3, 1])
    for fast in (True, False):
        with pytest.raises(ValueError, match=r"(?is)ragged"):
            _call(name, fast)(ragged)


def test_integer_inputs() -> None:
    steps = np.arange(24).reshape(2, 3, 4)
    for name in ("lstm", "conv1d"):
        layer = _call(name, True)
        assert_close(layer(steps), layer(steps.astype("float32")), 0.0)

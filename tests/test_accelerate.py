"""`accelerate` and `to_stock`: models of all kinds compute and train as before, and can be converted back."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from accelerate_cases import CASES
from backends import (
    BACKEND,
    TWINS,
    assert_close,
    assert_equal,
    every_wrap,
    needs_kernel,
    needs_tensorflow,
    tf,
    to_numpy,
    torch,
)
from keras import layers
from processes import run_python
from tolerances import HALF

import fastseq.keras as fast
from fastseq.keras import accelerate, to_stock
from fastseq.training.models import MODELS

PREDICTIONS, WEIGHTS = 1e-5, 1e-4
Build = Callable[[], Any]


def _seeded(build: Callable[[], Any]) -> Any:
    """What `build` builds, with weights, seeds and names that are the same every time."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    return build()


def _flat(outputs: Any) -> list[Any]:
    return to_numpy(keras.tree.flatten(outputs))  # type: ignore[no-any-return]


def _assert_all_close(got: Any, expected: Any, tolerance: float) -> None:
    for number, (mine, theirs) in enumerate(zip(_flat(got), _flat(expected), strict=True)):
        assert_close(mine, theirs, tolerance, f"number {number}")


def _assert_same_bits(got: Any, expected: Any) -> None:
    for mine, theirs in zip(_flat(got), _flat(expected), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def _reset(model: Any) -> None:
    """The states of stateful layers."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            layer.reset_state()


def _predict(model: Any, x: Any) -> Any:
    _reset(model)
    return model.predict_on_batch(x)


def _train(model: Any, x: Any, y: Any, steps: int = 3) -> Any:
    _reset(model)
    keras.utils.set_random_seed(1)  # by which PyTorch drops where a layer has no seed
    for _ in range(steps):
        model.train_on_batch(x, y)
    return model


def _variables(model: Any) -> list[Any]:
    return to_numpy([one.value for one in model.variables])  # type: ignore[no-any-return]


def _config(model: Any) -> Any:
    return None if type(model).get_config is keras.Model.get_config else model.get_config()


def _goes_there_and_back(build: Build, x: Any, y: Any, tmp_path: Path) -> None:
    stock, model = _seeded(build), _seeded(build)
    _assert_same_bits(_predict(model, x), _predict(stock, x))
    _assert_same_bits(_variables(model), _variables(stock))
    config = _config(model)
    assert accelerate(model, verbose=False) is model
    _assert_all_close(_predict(model, x), _predict(stock, x), PREDICTIONS)

    for one in (stock, model):
        _train(one, x, y)
    _assert_all_close(_variables(model), _variables(stock), WEIGHTS)
    trained = _predict(model, x)
    _assert_all_close(trained, _predict(stock, x), WEIGHTS)

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _assert_all_close(_predict(again, x), trained, PREDICTIONS)
    if config is None:  # its layers are made by its own __init__
        accelerate(again, verbose=False)
    assert [type(layer) for layer in again._flatten_layers()] == [type(layer) for layer in model._flatten_layers()]

    weights = _variables(model)
    assert to_stock(model) is model
    _assert_same_bits(_variables(model), weights)
    assert _config(model) == config
    assert [layer.path for layer in model._flatten_layers()] == [layer.path for layer in stock._flatten_layers()]
    assert [type(layer) for layer in model._flatten_layers()] == [type(layer) for layer in stock._flatten_layers()]
    assert type(model.optimizer) is type(stock.optimizer)


# Keras 3.10 says so of its own layers' models, too, once they are loaded from a file.
@pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match the expected structure:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_every_architecture(case: str, tmp_path: Path) -> None:
    if case == "stateful" and torch is not None:
        pytest.skip("stock Keras cannot train stateful layers on PyTorch")
    x = CASES[case]()[1]

    def build() -> Any:
        model = CASES[case]()[0]
        # Eager, for the sake of time: with so few steps, tracing takes longer than all else.
        model.compile(keras.optimizers.Adam(1e-3), "mse", run_eagerly=True)
        return model

    y = [np.full_like(output, 0.1) for output in _flat(_seeded(build).predict_on_batch(x))]
    _goes_there_and_back(build, x, y if len(y) > 1 else y[0], tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_fastseq_train(name: str, tmp_path: Path) -> None:
    spec = MODELS[name]
    if spec.encode and tf is None:
        pytest.skip("TensorFlow encodes its inputs")

    def build() -> Any:
        return spec.build("stock")

    model = _seeded(build)
    ids = np.random.default_rng(0).integers(1, 300, (2, model.input_shape[1])).astype(np.int32)
    x = np.asarray(spec.encode(ids)) if spec.encode else ids
    y = np.eye(2, model.output_shape[-1], dtype="float32")
    _goes_there_and_back(build, x, y, tmp_path)


# --- training that goes on --------------------------------------------------------------------------------------------


def _words(optimizer: Any = "adam", last: Any = layers.Flatten, **compile_arguments: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input((9,), dtype="int32"),
            layers.Embedding(20, 6),
            layers.Dropout(0.3, seed=1),
            layers.Conv1D(5, 3, activation="relu", name="convolution"),
            layers.MaxPooling1D(2, name="pool"),
            last(),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **compile_arguments)
    return model


IDS = np.random.default_rng(0).integers(0, 20, (8, 9)).astype("int32")
TARGETS = np.random.default_rng(1).standard_normal((8, 1)).astype("float32")

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "plain": lambda: keras.optimizers.Adam(0.01),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5)),
    "amsgrad, clipnorm": lambda: keras.optimizers.Adam(0.01, amsgrad=True, clipnorm=0.1),
    "weight decay, ema": lambda: keras.optimizers.Adam(0.01, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=3),
    "accumulation": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "loss scaling": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=8.0),
}


def _trained_as_stock(build: Build) -> None:
    """That four steps are four steps, whatever happens after the second."""
    expected = _variables(_train(_seeded(build), IDS, TARGETS, 4))
    for before, change in ((lambda model: model, accelerate), (accelerate, to_stock)):
        model = _train(before(_seeded(build)), IDS, TARGETS, 2)
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # Keras 3.5 counts in that one only
        iterations = int(to_numpy(optimizer.iterations))
        _train(change(model), IDS, TARGETS, 2)
        assert int(to_numpy(optimizer.iterations)) > iterations
        _assert_all_close(_variables(model), expected, WEIGHTS)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_with_the_optimizers_state(optimizer: str) -> None:
    _trained_as_stock(lambda: _words(OPTIMIZERS[optimizer](), run_eagerly=True))


def test_training_goes_on_in_graphs() -> None:
    _trained_as_stock(lambda: _words(last=lambda: layers.SimpleRNN(4)))


def test_what_is_traced_anew() -> None:
    model = _words()
    for name in ("train_on_batch", "test_on_batch", "predict_on_batch"):
        getattr(model, name)(*([IDS] if name == "predict_on_batch" else [IDS, TARGETS]))
    functions = ("train_function", "test_function", "predict_function")
    traced = {name: getattr(model, name) for name in functions}
    assert None not in traced.values()
    accelerate(model, verbose=False)
    assert all(getattr(model, name) is not traced[name] for name in functions)
    model.predict_on_batch(IDS)
    traced = model.predict_function
    accelerate(model, verbose=False)
    assert model.predict_function is traced  # nothing was replaced


@needs_tensorflow
def test_adam_in_other_attributes() -> None:
    """As models with a train_step of their own have them."""

    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = layers.GRU(3)
            self.own_optimizer = keras.optimizers.Adam(0.01)

        def call(self, inputs: Any) -> Any:
            return self.recurrent(inputs)

        def train_step(self, data: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(data[0], training=True) - data[1]) ** 2)
            self.own_optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

    results = []
    for change in (lambda model: model, accelerate):
        model = _seeded(Own)
        model.compile(loss="mse")
        x = np.random.default_rng(0).standard_normal((4, 5, 2)).astype("float32")
        results.append(_variables(_train(change(model), x, np.ones((4, 3), "float32"))))
    assert type(model.own_optimizer) is fast.FastAdam
    _assert_all_close(results[1], results[0], WEIGHTS)


# --- convolution and pooling in one pass ------------------------------------------------------------------------------


def _operations(model: Any, x: Any) -> list[str]:
    """The types of fastseq's operations that the model's results need, as TensorFlow traces it for training."""
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.constant(x)).graph
    needed, todo = [], [output.op for output in graph.outputs]
    while todo:
        operation = todo.pop()
        if operation not in needed:
            needed.append(operation)
            todo += [tensor.op for tensor in operation.inputs]
    return sorted(operation.type for operation in needed if operation.type.startswith("Fastseq"))


SIGNAL = np.random.default_rng(0).standard_normal((4, 12, 3)).astype("float32")


def _pooled(*between: Any, convolution: dict[str, Any] | None = None, **pooling: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input(SIGNAL.shape[1:]),
            layers.Conv1D(5, 3, name="convolution", **(convolution or {"activation": "relu"})),
            *between,
            layers.MaxPooling1D(2, name="pool", **pooling),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


TWO_PASSES = ["FastseqConv1dForward", "FastseqMaxPoolForward"]


@needs_tensorflow
@pytest.mark.parametrize(
    ("build", "fused"),
    [
        (_pooled, True),
        (lambda: _pooled(convolution={"strides": 2, "padding": "causal"}, strides=1, padding="same"), True),
        (lambda: _pooled(layers.ReLU(), convolution={"activation": None}), True),
        (lambda: _pooled(layers.Activation("tanh"), convolution={"use_bias": False}), True),
        (lambda: _pooled(layers.Activation("gelu"), convolution={"activation": None}), False),
        (lambda: _pooled(layers.ReLU(6.0), convolution={"activation": None}), False),
        (lambda: _pooled(layers.ReLU()), False),
        (lambda: _pooled(layers.BatchNormalization()), False),
        (lambda: _pooled(convolution={"activation": "gelu"}), False),
        (lambda: _pooled(convolution={"activity_regularizer": "l2"}), False),
        (lambda: _pooled(dtype="bfloat16"), False),
    ],
)
def test_convolution_and_pooling_in_one_pass(build: Build, fused: bool) -> None:
    stock = _seeded(build)
    expected = stock.train_on_batch(SIGNAL, np.ones((4, 1), "float32"))
    model, report = accelerate(_seeded(build), return_report=True, verbose=False)
    notes = {row.path: row.note for row in report.rows}
    assert notes == {"convolution": "", "pool": "in one pass with convolution" if fused else ""}
    assert _operations(model, SIGNAL) == (["FastseqConv1dForward"] if fused else TWO_PASSES)
    assert_close(model.train_on_batch(SIGNAL, np.ones((4, 1), "float32")), expected, WEIGHTS)
    _assert_all_close(_variables(model), _variables(stock), WEIGHTS)


@needs_tensorflow
def test_branches_and_subclassed_models_take_two_passes() -> None:
    for case in ("branches", "subclassed"):
        model, x = CASES[case]()
        model(x)
        assert [name for name in _operations(accelerate(model), x) if "Conv" in name or "Pool" in name] == TWO_PASSES


@needs_tensorflow
def test_only_what_is_traced_asks_for_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = accelerate(_seeded(_pooled))
    asked: list[Any] = []
    monkeypatch.setattr("fastseq.keras.pooling.in_one_pass", asked.append)
    model(SIGNAL)
    model.layers[1](SIGNAL)
    assert asked == []
    assert _operations(model, SIGNAL) == TWO_PASSES
    assert asked == [model.layers[1]]


@needs_tensorflow
@every_wrap
def test_the_convolution_is_there_for_who_asks(wrap: Any) -> None:
    """Its values, and gradients by them: of a model that has them for an output, and of layers called one by one."""
    results = []
    for change in (lambda model: model, accelerate):
        model = change(_seeded(_pooled))
        both = keras.Model(model.inputs, [model.get_layer("convolution").output, *model.outputs])

        def of_outputs(x: Any, both: Any = both) -> Any:
            with tf.GradientTape() as tape:
                convolved, outputs = both(x)
            return tape.gradient(outputs, convolved)

        def of_features(x: Any, model: Any = model) -> Any:
            """A training step's gradients, with the features moved by a gradient of their own."""
            convolution, *rest = model.layers

            def loss(features: Any) -> Any:
                for layer in rest:
                    features = layer(features)
                return tf.reduce_mean(features**2)

            with tf.GradientTape() as outer:
                features = convolution(x)
                with tf.GradientTape() as tape:
                    tape.watch(features)
                    inner = loss(features)
                moved = features + tf.stop_gradient(tape.gradient(inner, features))
                outer_loss = loss(moved)
            return outer.gradient(outer_loss, [weight.value for weight in model.trainable_weights])

        def in_a_loop(x: Any, model: Any = model) -> Any:
            features, pool = model.layers[0](x), model.layers[1]
            return tf.while_loop(
                lambda i, _: i < 3, lambda i, total: (i + 1, total + pool(features)), (0, 0.0 * pool(features))
            )[1]

        x = tf.constant(SIGNAL)
        results.append([*both.predict_on_batch(SIGNAL), wrap(of_outputs)(x), *wrap(of_features)(x), wrap(in_a_loop)(x)])
    _assert_all_close(results[1], results[0], WEIGHTS)


@needs_tensorflow
def test_a_model_in_a_model_takes_one_pass() -> None:
    inner = _seeded(_pooled)
    outer = keras.Sequential([keras.Input(SIGNAL.shape[1:]), inner, layers.Dense(2)])
    expected = outer.predict_on_batch(SIGNAL)
    accelerate(outer)
    assert _operations(outer, SIGNAL) == ["FastseqConv1dForward"]
    assert_close(outer.predict_on_batch(SIGNAL), expected, PREDICTIONS)


def test_accelerated_by_a_callback() -> None:
    histories = []
    for change in (lambda model: model, accelerate):
        model = _seeded(_pooled)
        callback = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, _, m=model, c=change: epoch == 1 and c(m)
        )
        fitted = model.fit(SIGNAL, np.ones((4, 1), "float32"), epochs=3, verbose=0, callbacks=[callback])
        histories.append(fitted.history["loss"])
    assert type(model.layers[0]) is fast.FastConv1D
    assert_close(np.array(histories[1]), np.array(histories[0]), WEIGHTS)


@needs_kernel("adam")
def test_optimizers_in_lists_and_under_two_names() -> None:
    class TwoOptimizers(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.generator = keras.optimizers.Adam()
            self.both = [self.generator, keras.optimizers.Adam()]

    model, report = accelerate(TwoOptimizers(), return_report=True)
    assert [type(optimizer) for optimizer in model.both] == [fast.FastAdam] * 2
    assert len(report.rows) == 2
    to_stock(model)
    assert [type(optimizer) for optimizer in model.both] == [keras.optimizers.Adam] * 2


def test_what_was_born_fast_is_quantized_as_stock() -> None:
    model = keras.Sequential([keras.Input((5,), dtype="int32"), fast.FastEmbedding(10, 4), layers.Dense(2)])
    to_stock(model).layers[0].quantize("int8")
    assert model.layers[0].quantization_mode == "int8"


# --- what is replaced and what is left --------------------------------------------------------------------------------


class _Mine(layers.LSTM):  # type: ignore[misc]
    def call(self, *arguments: Any, **named: Any) -> Any:
        return 2.0 * super().call(*arguments, **named)


class _MyAdam(keras.optimizers.Adam):  # type: ignore[misc]
    pass


def _row_of(part: Any) -> fast.ReportRow:
    optimizer = part if isinstance(part, keras.optimizers.Optimizer) else "sgd"
    model = keras.Sequential([layers.Dense(2) if part is optimizer else part])
    model.compile(optimizer)
    _, report = accelerate(model, return_report=True, verbose=False)
    (row,) = report.rows
    return row


def _with_lora() -> Any:
    embedding = layers.Embedding(5, 4)
    embedding.build((None,))
    embedding.enable_lora(2)
    return embedding


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (lambda: _Mine(3), "is a subclass of keras's LSTM, and may compute something else"),
        (lambda: _MyAdam(), "is a subclass of keras's Adam, and may compute something else"),
        (lambda: layers.LSTM(3, activation="gelu"), "activation must be one of keras.activations.{tanh, .* got .*gelu"),
        (lambda: layers.GRU(3, recurrent_activation="softsign"), "recurrent_activation must be .* got .*softsign"),
        (lambda: layers.RNN([layers.GRUCell(3), layers.GRUCell(2)]), "cell must be one of .*, got .*StackedRNNCells"),
        (lambda: layers.RNN(layers.LSTMCell(3, activation="gelu")), "activation must be one of .*gelu"),
        (_with_lora, "lora_rank must be None, got 2"),
        (lambda: fast.FastLSTM(3), "is fast already"),
        (lambda: fast.FastGRU(3, use_native=False), "has use_native=False"),
    ],
)
def test_reasons(part: Build, reason: str) -> None:
    made = part()
    row = _row_of(made)
    assert not row.replaced
    assert row.was == type(made).__qualname__ == row.now
    assert re.fullmatch(f"{reason}.*", row.note), row.note


def test_reason_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast.backend, "unavailable_because", lambda _: "there is no such thing here")
    _, report = accelerate(_words(), return_report=True, verbose=False)
    assert not report.replaced
    assert {row.note for row in report.left} == {"there is no such thing here"}


@needs_tensorflow
def test_compiled_by_xla() -> None:
    """What the user has asked for is left alone, and trains as before; asked for later, Keras says no."""
    model = _words(jit_compile=True)
    assert model.jit_compile
    _, report = accelerate(model, return_report=True, verbose=False)
    assert not report.replaced
    assert {row.note for row in report.left} == {"jit_compile=True, and XLA compiles no custom operations"}
    model.train_on_batch(IDS, TARGETS)
    model.compile("adam", "mse")
    accelerate(model, verbose=False)
    with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
        model.compile("adam", "mse", jit_compile=True)
    model.train_on_batch(IDS, TARGETS)


# What of `_words` has no kernels on this backend.
LACKING = {
    path
    for path, operation in {"embedding": "embedding", "dropout": "dropout", "optimizer": "adam"}.items()
    if fast.backend.lacks(operation)
}


def _report() -> str:
    rows = ["layer        was           is"]
    for path, was in {
        "embedding": "Embedding",
        "dropout": "Dropout",
        "convolution": "Conv1D",
        "pool": "MaxPooling1D",
        "optimizer": "Adam",
    }.items():
        note = "in one pass with convolution" if path == "pool" and tf is not None else ""
        if path in LACKING:
            note = f"the kernels have no {'adam' if path == 'optimizer' else path} on the {BACKEND} backend"
        now = was if path in LACKING else f"Fast{was}"
        rows.append(f"{path:13}{was:14}{now:18}{note}".rstrip())
    others = ["Dense", "Flatten"]
    if keras.optimizers.Adam not in TWINS:
        others.insert(0, "Adam")
        rows.pop()
    replaced = sum("Fast" in row for row in rows)
    rows.append(f"{replaced} replaced, {len(rows) - 1 - replaced} left; fastseq has nothing for {', '.join(others)}")
    return "\n".join(rows) + "\n"


REPORT = _report()


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    model = _seeded(_words)
    assert accelerate(model) is model
    assert capsys.readouterr().out == REPORT
    same, report = accelerate(model, verbose=False, return_report=True)
    assert same is model
    assert not report.replaced
    assert {row.note for row in report.left if row.path not in LACKING} == {"is fast already"}
    assert to_stock(model) is model
    assert capsys.readouterr().out == ""
    _, report = to_stock(accelerate(model), return_report=True)
    last = ("FastMaxPooling1D", "MaxPooling1D") if "optimizer" in LACKING else ("FastAdam", "Adam")
    assert [(row.was, row.now) for row in report.replaced][-1] == last
    assert capsys.readouterr().out == REPORT


def test_nothing_to_report() -> None:
    _, report = accelerate(keras.Sequential([layers.Dense(2)]), return_report=True, verbose=False)
    assert str(report) == "0 replaced, 0 left; fastseq has nothing for Dense"


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        ({"only": ["Conv1D", keras.optimizers.Adam]}, ["embedding", "dropout", "pool"]),
        ({"exclude": [layers.Conv1D, "Adam"]}, ["convolution", "optimizer"]),
        ({"only": ["LSTM"], "exclude": ["Adam"]}, ["embedding", "dropout", "convolution", "pool", "optimizer"]),
    ],
)
def test_selection(selection: dict[str, Any], left: list[str]) -> None:
    model = _seeded(_words)
    expected = _seeded(_words).predict_on_batch(IDS)
    _, report = accelerate(model, **selection, return_report=True, verbose=False)
    left = [path for path in left if path != "optimizer" or keras.optimizers.Adam in TWINS]
    assert [row.path for row in report.left if row.note == "excluded"] == left
    assert len(report.replaced) == 5 - len(LACKING.union(left))
    assert_close(model.predict_on_batch(IDS), expected, PREDICTIONS)
    accelerate(model, verbose=False)
    _, report = accelerate(model, **selection, return_report=True, verbose=False)
    assert {row.note for row in report.left if row.path not in LACKING} == {"is fast already"}


def test_wrong_selection() -> None:
    model = _words()
    with pytest.raises(ValueError, match=r"only must be among Adam, .*, got 'Dense'"):
        accelerate(model, only=["Conv1D", "Dense"])
    with pytest.raises(TypeError, match="exclude must be a list of classes or names"):
        accelerate(model, exclude="Adam")
    with pytest.raises(ValueError, match="only and exclude must not both have Conv1D"):
        accelerate(model, only=["Conv1D"], exclude=[layers.Conv1D])
    assert type(model.get_layer("convolution")) is layers.Conv1D


def test_the_fall_back_says_how_to_accelerate_without() -> None:
    model = accelerate(keras.Sequential([keras.Input((6, 2)), layers.MaxPooling1D(2)]), verbose=False)
    (layer,) = model.layers
    with (
        pytest.warns(fast.NativeFallbackWarning, match="must have a floating dtype") as told,
        contextlib.suppress(NotImplementedError),  # PyTorch's own
    ):
        layer.call(keras.ops.ones((1, 6, 2), "int32"))
    assert str(told[0].message).endswith(
        "If that is intended, leave such layers out: fastseq.keras.accelerate(model, exclude=['MaxPooling1D'])."
    )


def test_paths() -> None:
    model, _ = CASES["nested"]()
    _, report = accelerate(model, return_report=True, verbose=False)
    assert [row.path.split("/")[:-1] for row in report.rows] == [["middle", "inner"]] * 2 + [["middle"]]


@needs_kernel("adam")
def test_optimizer_is_left_if_asked() -> None:
    model = accelerate(_words(), optimizer=False, verbose=False)
    assert type(model.optimizer) is keras.optimizers.Adam
    model = to_stock(accelerate(model, verbose=False), optimizer=False)
    assert type(model.optimizer) is fast.FastAdam


@pytest.mark.parametrize("function", [accelerate, to_stock])
def test_not_a_model(function: Any) -> None:
    for thing in (layers.LSTM(3), None, [layers.LSTM(3)]):
        with pytest.raises(TypeError, match=r"model must be a keras\.Model, got .*(LSTM|NoneType|list)"):
            function(thing)


def test_settings_of_fast_layers_are_gone() -> None:
    model = keras.Sequential([fast.FastEmbedding(5, 4, dense_gradient=True), fast.FastLSTM(3, use_native=False)])
    attributes = [set(vars(one)) for one in (layers.Embedding(5, 4), layers.LSTM(3))]
    assert [set(vars(layer)) for layer in to_stock(model).layers] == attributes
    accelerate(model, verbose=False)
    assert [layer.get_config() for layer in model.layers] == [
        {**fast.FastEmbedding(5, 4).get_config(), "name": model.layers[0].name},
        {**fast.FastLSTM(3).get_config(), "name": model.layers[1].name},
    ]


def test_what_has_no_stock_layer_is_left() -> None:
    model = keras.Sequential([fast.FastConv1DMaxPooling1D(3, 2), fast.FastAttention(4)])
    _, report = to_stock(model, return_report=True)
    assert [(row.was, row.note) for row in report.left] == [
        ("FastConv1DMaxPooling1D", "Keras has no layer for it"),
        ("FastAttention", "Keras has no layer for it"),
    ]


def test_a_layer_of_two_models() -> None:
    inputs, lstm = keras.Input((5, 3)), layers.LSTM(4)
    one, two = (keras.Model(inputs, layers.Dense(1)(lstm(inputs))) for _ in range(2))
    x = np.random.default_rng(0).standard_normal((3, 5, 3)).astype("float32")
    expected = [model.predict_on_batch(x) for model in (one, two)]
    accelerate(one, verbose=False)
    _, report = accelerate(two, return_report=True, verbose=False)
    assert [row.note for row in report.rows] == ["is fast already"]
    _assert_all_close([model.predict_on_batch(x) for model in (one, two)], expected, PREDICTIONS)
    to_stock(one)
    assert type(lstm) is layers.LSTM
    _assert_all_close([model.predict_on_batch(x) for model in (one, two)], expected, PREDICTIONS)


def test_bound_methods_are_of_the_layer_as_it_was() -> None:
    model, expected = _pooled(), layers.Conv1D.call
    convolution = model.layers[0]
    as_stock = convolution.call
    accelerate(model, verbose=False)
    as_fast = convolution.call
    assert as_stock.__func__ is expected
    assert_close(as_stock(SIGNAL), as_fast(SIGNAL), PREDICTIONS)
    to_stock(model)
    with pytest.raises(AttributeError, match="'Conv1D' object has no attribute"):
        as_fast(SIGNAL)
    assert_close(convolution.call(SIGNAL), as_stock(SIGNAL), PREDICTIONS)


def test_flags_stay() -> None:
    model = _words()
    model.layers[0].trainable = False
    model.get_layer("pool").trainable = False
    before = [(layer.name, layer.trainable, layer.dtype_policy.name, layer.built) for layer in model.layers]
    metrics, tracker = model.metrics, model.metrics[0]
    for change in (accelerate, to_stock):
        change(model)
        assert [(layer.name, layer.trainable, layer.dtype_policy.name, layer.built) for layer in model.layers] == before
        assert model.metrics == metrics
        assert model.metrics[0] is tracker


@pytest.mark.skipif(not hasattr(layers.Layer, "_register_call_context_args"), reason="this Keras has none")
def test_call_context_arguments_stay() -> None:
    layer = layers.MaxPooling1D(2)
    layer._register_call_context_args("mode")
    model = keras.Sequential([keras.Input((4, 3)), layer])
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    expected = layer(x, mode=True)
    for change in (accelerate, to_stock):
        change(model)
        assert_equal(layer(x, mode=True), expected)
        assert set(layer._call_has_context_arg) == layer._call_context_args == {"mode", "training"}
        assert not layer._call_has_context_arg["training"]


def test_half_types() -> None:
    """Kernels compute in float32 there, and stock Keras in half: the same but for that."""
    results = []
    for change in (lambda model: model, accelerate):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = change(_seeded(lambda: _words(run_eagerly=True)))
        finally:
            keras.config.set_dtype_policy("float32")
        results.append(_train(model, IDS, TARGETS).predict_on_batch(IDS))
    assert_close(results[1], results[0], HALF)


@needs_tensorflow
def test_distributed() -> None:
    results = []
    for change in (lambda model: model, accelerate):
        keras.utils.set_random_seed(0)
        with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
            model = _words()
        change(model).fit(IDS, TARGETS, batch_size=8, epochs=2, verbose=0)
        results.append(_variables(model))
    _assert_all_close(results[1], results[0], WEIGHTS)


# --- files and time ---------------------------------------------------------------------------------------------------

WITHOUT_FASTSEQ = """
import sys
sys.modules["fastseq"] = None
import keras, numpy as np
model = keras.models.load_model("{folder}/model.keras")
assert type(model.optimizer) is type(keras.optimizers.Adam())
np.save("{folder}/again.npy", model.predict_on_batch(np.load("{folder}/x.npy")))
"""


def test_files_open_without_fastseq(tmp_path: Path) -> None:
    model = _words()
    _train(accelerate(model, verbose=False), IDS, TARGETS)
    to_stock(model).save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", IDS)
    done = run_python(WITHOUT_FASTSEQ.format(folder=tmp_path))
    assert done.returncode == 0, done.stderr
    assert_close(np.load(tmp_path / "again.npy"), model.predict_on_batch(IDS), PREDICTIONS)


def test_weights_files_fit_either_way(tmp_path: Path) -> None:
    model, stock = _words(run_eagerly=True), _words(run_eagerly=True)
    _train(accelerate(model, verbose=False), IDS, TARGETS)
    model.save_weights(tmp_path / "fast.weights.h5")
    stock.optimizer.build(stock.trainable_variables)
    stock.load_weights(tmp_path / "fast.weights.h5")
    _assert_same_bits(stock.get_weights(), model.get_weights())
    _assert_same_bits(
        [one.value for one in stock.optimizer.variables], [one.value for one in model.optimizer.variables]
    )


def test_takes_no_time() -> None:
    """Ten layers take 2 to 3 ms on an idle machine."""
    times = []
    for _ in range(7):
        model = keras.Sequential([keras.Input((9, 3)), *(layers.GRU(3, return_sequences=True) for _ in range(10))])
        start = time.perf_counter()
        accelerate(model, verbose=False)
        times.append(time.perf_counter() - start)
    assert sorted(times)[3] < 0.05

"""Everything that works with a stock class works with its fast class, in whatever way the fast layer is made."""

from __future__ import annotations

import functools
import inspect
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from accelerate_cases import CASES as MODELS
from backends import (
    TWINS,
    Wrap,
    as_it_is,
    assert_close,
    call,
    compiled,
    every_wrap,
    every_wrap_but_dynamo,
    for_stock,
    needs_kernel,
    needs_tensorflow,
    tf,
    torch,
)
from keras import layers
from tolerances import STOCK

import fastseq.keras
from fastseq.keras import FastConv1DMaxPooling1D, backend
from fastseq.keras.replacements import FAST_LAYERS, FAST_OPTIMIZERS

WAYS = ("constructed", "patched", "accelerated")

every_twin = pytest.mark.parametrize("stock", TWINS)
every_layer = pytest.mark.parametrize("stock", FAST_LAYERS)
every_way = pytest.mark.parametrize("way", WAYS)


def arguments_of(stock: type) -> dict[str, Any]:
    """What a class's `__init__` must be given."""
    return {
        layers.AveragePooling1D: {"pool_size": 2},
        layers.Conv1D: {"filters": 4, "kernel_size": 3},
        layers.Dropout: {"rate": 0.5},
        layers.Embedding: {"input_dim": 10, "output_dim": 4},
        layers.GRU: {"units": 4},
        layers.LSTM: {"units": 4},
        layers.RNN: {"cell": layers.GRUCell(4, name="cell")},
        layers.SimpleRNN: {"units": 4},
        layers.SpatialDropout1D: {"rate": 0.5},
    }.get(stock, {})


@pytest.fixture(autouse=True)
def _unpatched() -> Iterator[None]:
    yield
    fastseq.keras.unpatch()


def made(way: str, build: Callable[[], Any]) -> Any:
    """What `build` builds of stock layers, with their fast twins instead: a model if they are accelerated."""
    if way == "stock":
        return build()
    if way == "patched":
        with fastseq.keras.patch():
            return build()
    assert way == "accelerated"
    return fastseq.keras.accelerate(build(), verbose=False)


def twin(way: str, stock: type, **arguments: Any) -> Any:
    """A fast layer or optimizer."""
    arguments = {**arguments_of(stock), **arguments}
    if way == "constructed":
        return TWINS[stock](**arguments)
    if way == "patched":
        return made(way, lambda: stock(**arguments))
    if backend.lacks(TWINS[stock].native_op):
        pytest.skip("accelerate leaves what has no kernels here")
    one = stock(**arguments)
    model = keras.Sequential([] if stock in FAST_OPTIMIZERS else [one])
    model.compile(one if stock in FAST_OPTIMIZERS else "sgd")
    fastseq.keras.accelerate(model, verbose=False)
    return one


# --- signatures -------------------------------------------------------------------------------------------------------


def _arguments(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@every_way
@every_twin
def test_arguments_are_those_of_stock_and_our_own(stock: type, way: str) -> None:
    fast: Any = type(twin(way, stock))
    ours = [name for name in fast.own_settings if not name.startswith("_")]
    assert "use_native" in ours
    for mine, theirs in ((fast, stock), (fast.__init__, stock.__init__)):
        arguments = _arguments(mine)
        assert [one for one in arguments if one[0] not in ours] == _arguments(theirs)
        added = {name: (kind, default) for name, kind, default in arguments if name in ours}
        assert added == {name: (inspect.Parameter.KEYWORD_ONLY, getattr(fast, name)) for name in ours}
    assert inspect.getfullargspec(fast.__init__).args == inspect.getfullargspec(stock.__init__).args


@every_way
@every_layer
def test_arguments_of_a_call_are_those_of_stock(stock: Any, way: str) -> None:
    assert _arguments(type(twin(way, stock)).call) == _arguments(stock.call)


@every_twin
def test_a_patched_class_has_the_stock_signature(stock: type) -> None:
    before = inspect.signature(stock)
    with fastseq.keras.patch():
        assert inspect.signature(stock) == before


@every_way
@every_twin
def test_can_be_made_by_its_signature(stock: type, way: str) -> None:
    one = twin(way, stock)
    parameters = inspect.signature(type(one)).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    again = type(one)(**{**defaults, **arguments_of(stock), "name": "again"})
    assert again.get_config() == {**one.get_config(), "name": "again"}


def test_arguments_of_a_layer_that_stock_keras_does_not_have() -> None:
    own = [("pool_size", 2), ("pool_strides", None), ("pool_padding", "valid")]
    first, *rest = _arguments(FastConv1DMaxPooling1D)
    assert [first[0], rest[0][0]] == ["filters", "kernel_size"]
    assert [(name, default) for name, _, default in rest[1:4]] == own
    of_convolution = {(name, default) for name, _, default in _arguments(layers.Conv1D)[2:]}
    assert {(name, default) for name, _, default in rest[4:]} == of_convolution | {("use_native", "auto")}
    assert {kind for _, kind, _ in rest[4:-1]} == {inspect.Parameter.KEYWORD_ONLY}
    assert _arguments(FastConv1DMaxPooling1D.call) == _arguments(layers.Conv1D.call)


def test_subclasses_have_signatures_of_their_own() -> None:
    class Mine(fastseq.keras.FastLSTM):
        def __init__(self, size: int) -> None:
            super().__init__(size)

    assert list(inspect.signature(Mine).parameters) == ["size"]


POOLINGS = {
    "max pooling": lambda: fastseq.keras.FastMaxPooling1D(2),
    "with a convolution": lambda: FastConv1DMaxPooling1D(4, 3),
}


@needs_tensorflow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("inside", [False, True])
def test_only_training_saves_what_the_gradient_of_a_pooling_needs(pooling: str, inside: bool) -> None:
    """Though `call` has no such argument, as in stock."""
    layer = POOLINGS[pooling]()
    called = keras.Sequential([layer]) if inside else layer
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 8, 3)).astype("float32"))
    called(x)
    for arguments, saved in (({}, False), ({"training": False}, False), ({"training": True}, True)):
        function = tf.function(lambda x, arguments=arguments: called(x, **arguments))
        operations = function.get_concrete_function(x).graph.get_operations()
        assert [one.get_attr("save_argmax") for one in operations if one.type.startswith("Fastseq")] == [saved]


# --- rematerialization ------------------------------------------------------------------------------------------------

IDS = np.random.default_rng(0).integers(0, 10, (6, 8)).astype("int32")
SIGNAL = np.random.default_rng(0).standard_normal((6, 8, 3)).astype("float32")
SEEDED = {layers.Dropout: {"seed": 1}, layers.SpatialDropout1D: {"seed": 1}}
SCOPES: dict[str, dict[str, Any]] = {
    "full": {},
    "larger_than": {"output_size_threshold": 1},
    "list_of_layers": {"layer_names": ["mine"]},
    "activations": {},
}
needs_remat = pytest.mark.skipif(not hasattr(keras, "RematScope"), reason="this Keras has no rematerialization")


def _inputs(stock: type) -> Any:
    return IDS if stock is layers.Embedding else SIGNAL


def _of_scope(stock: type, way: str, scope: str) -> Any:
    """A layer that was made in a scope of rematerialization."""
    keras.utils.set_random_seed(0)
    arguments = {
        "name": "mine",
        **SEEDED.get(stock, {}),
    }
    if stock is layers.Conv1D:
        arguments["activation"] = "relu"
    with keras.RematScope(scope, **SCOPES[scope]):
        if way == "stock":
            return stock(**{**arguments_of(stock), **arguments})
        return twin(way, stock, **arguments)


def _trained_in_scope(stock: type, way: str, scope: str, run_eagerly: bool) -> list[Any]:
    layer = _of_scope(stock, way, scope)
    x = _inputs(stock)
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype.name), layer, layers.Flatten(), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=run_eagerly)
    losses = [model.train_on_batch(x, np.ones((6, 1), "float32")) for _ in range(2)]
    return [*losses, *model.get_weights(), model.predict_on_batch(x)]


@functools.cache
def _stock_in_scope(stock: type, scope: str, run_eagerly: bool) -> list[Any] | Exception:
    try:
        return _trained_in_scope(stock, "stock", scope, run_eagerly)
    except (ValueError, AttributeError) as error:
        return error


@needs_tensorflow
@needs_remat
@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize("scope", SCOPES)
@every_way
@every_layer
def test_trains_in_a_scope_of_rematerialization_as_stock(stock: type, way: str, scope: str, run_eagerly: bool) -> None:
    """To the same weights, dropout included, or to the same error."""
    expected = _stock_in_scope(stock, scope, run_eagerly)
    if isinstance(expected, Exception):
        with pytest.raises(type(expected), match=r"custom_gradient|has no setter"):
            _trained_in_scope(stock, way, scope, run_eagerly)
        return
    for got, one in zip(_trained_in_scope(stock, way, scope, run_eagerly), expected, strict=True):
        assert_close(got, one, STOCK["float32"])


@needs_tensorflow
@needs_remat
@every_wrap
@every_way
@every_layer
def test_is_rematerialized_as_stock(stock: type, way: str, wrap: Any) -> None:
    x = tf.constant(_inputs(stock))

    def gradients(layer: Any) -> list[Any]:
        layer(x)
        layer.set_weights([np.sin(np.arange(w.size)).reshape(w.shape) for w in layer.get_weights()])
        call = keras.remat(layer)

        @wrap
        def compute() -> list[Any]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = call(x)
                loss = tf.reduce_sum(tf.sin(outputs))
            sources = [variable.value for variable in layer.trainable_variables]
            return [outputs, *tape.gradient(loss, sources if x.dtype == tf.int32 else [x, *sources])]

        return list(compute())

    for got, expected in zip(gradients(twin(way, stock)), gradients(stock(**arguments_of(stock))), strict=True):
        assert_close(tf.convert_to_tensor(got), tf.convert_to_tensor(expected), STOCK["float32"])


@needs_tensorflow
@needs_remat
@pytest.mark.parametrize("names", [["convolution"], ["pool"], ["convolution", "pool"]], ids=str)
@pytest.mark.parametrize("way", ["patched", "accelerated"])
def test_convolution_and_pooling_rematerialized(way: str, names: list[str]) -> None:
    """Which otherwise are computed in one pass."""

    def trained(way: str) -> list[Any]:
        def build() -> Any:
            keras.utils.set_random_seed(0)
            with keras.RematScope("list_of_layers", layer_names=names):
                parts = [
                    layers.Conv1D(4, 3, activation="relu", name="convolution"),
                    layers.MaxPooling1D(2, name="pool"),
                ]
            return keras.Sequential([keras.Input(SIGNAL.shape[1:]), *parts, layers.Flatten(), layers.Dense(1)])

        model = made(way, build)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return [*(model.train_on_batch(SIGNAL, np.ones((6, 1), "float32")) for _ in range(2)), *model.get_weights()]

    for got, expected in zip(trained(way), trained("stock"), strict=True):
        assert_close(got, expected, STOCK["float32"])


# --- initial states ---------------------------------------------------------------------------------------------------

RECURRENT: dict[str, tuple[type, dict[str, Any]]] = {
    "lstm": (layers.LSTM, {}),
    "gru": (layers.GRU, {}),
    "gru, reset before": (layers.GRU, {"reset_after": False}),
    "simple_rnn": (layers.SimpleRNN, {}),
}
CELLS = {"rnn of lstm": layers.LSTMCell, "rnn of gru": layers.GRUCell, "rnn of simple_rnn": layers.SimpleRNNCell}
S, T = (np.random.default_rng(seed).standard_normal((6, 4)).astype("float32") for seed in (1, 2))
# Of one state and of two, as they should be and not.
STATES: dict[str, Any] = {
    "one": [S],
    "alone": S,
    "two": [S, T],
    "tuple": (S, T),
    "four": [S, T, S, T],
    "nested": [[S]],
    "nested two": [[S, T]],
    "nested each": [[S], [T]],
    "nested twice": [[[S]]],
    "mixed": [S, [T]],
    "of another size": [S, T[:, :3]],
    "of one row": [S[:1]],
    "of one dimension": [S[0]],
    "of three dimensions": [S[None]],
}


def _recurrent(way: str, kind: str, dropout: float) -> Any:
    options = {"recurrent_dropout": dropout, "seed": 1}
    if kind in CELLS:
        stock, arguments = layers.RNN, {"cell": CELLS[kind](4, **options)}
    else:
        stock, arguments = RECURRENT[kind][0], {**RECURRENT[kind][1], **options}
    arguments["return_state"] = True
    layer = stock(**{**arguments_of(stock), **arguments}) if way == "stock" else twin(way, stock, **arguments)
    layer.build(SIGNAL.shape)
    layer.set_weights([np.sin(np.arange(w.size)).reshape(w.shape) for w in layer.get_weights()])
    return layer


def _outputs_from(way: str, kind: str, given: str, dropout: float = 0.0, wrap: Wrap = as_it_is) -> Any:
    layer = _recurrent(way, kind, dropout)
    states = keras.tree.map_structure(keras.ops.convert_to_tensor, STATES[given])
    wrap = for_stock(wrap) if way == "stock" else wrap
    return call(lambda x: layer(x, initial_state=states, training=True), SIGNAL, layer.variables, wrap)


# Which of them stock Keras takes.
TAKEN = [
    *(
        (kind, given)
        for kind in [*RECURRENT, *CELLS]
        for given in (("two", "tuple") if "lstm" in kind else ("one", "alone"))
    ),
    *(
        (kind, given)
        for kind in RECURRENT
        if "gru" in kind
        for given in ("two", "tuple", "four", "mixed", "of another size")
    ),
    *((kind, "of one row") for kind in [*RECURRENT, *CELLS] if "lstm" not in kind),
    *((kind, "of one dimension") for kind in ("simple_rnn", "rnn of simple_rnn")),
]


@pytest.mark.filterwarnings("ignore:.*initial_state must have 2 dimensions:fastseq.keras.NativeFallbackWarning")
@pytest.mark.parametrize("dropout", [0.0, 0.4], ids=["", "dropout"])
@pytest.mark.parametrize(("kind", "given"), TAKEN)
def test_initial_states_that_stock_takes(kind: str, given: str, dropout: float) -> None:
    expected = _outputs_from("stock", kind, given, dropout)
    for way in WAYS:
        for got, one in zip(_outputs_from(way, kind, given, dropout), expected, strict=True):
            assert_close(got, one, STOCK["float32"])


@pytest.mark.skipif(torch is not None, reason="on PyTorch, stock Keras takes none")
@every_wrap
@pytest.mark.parametrize("kind", [kind for kind in RECURRENT if "gru" in kind])
def test_nested_initial_states(kind: str, wrap: Any) -> None:
    for given in ("nested", "nested each"):
        expected = _outputs_from("stock", kind, given, wrap=wrap)
        # Recurrent dropout fails in stock Keras, or not, by the batch's size.
        dropped = _outputs_from("stock", kind, "one", 0.4)
        for way in WAYS:
            for got, one in zip(_outputs_from(way, kind, given, wrap=wrap), expected, strict=True):
                assert_close(got, one, STOCK["float32"])
            for got, one in zip(_outputs_from(way, kind, given, 0.4, wrap), dropped, strict=True):
                assert_close(got, one, STOCK["float32"])


@every_wrap_but_dynamo
@pytest.mark.parametrize("given", ["one", "alone", "two", "four", "nested", "nested two", "nested twice", "mixed"])
@pytest.mark.parametrize("kind", [*RECURRENT, *CELLS])
def test_a_wrong_number_of_states_is_an_error_that_says_so(kind: str, given: str, wrap: Any) -> None:
    gru = kind in RECURRENT and "gru" in kind  # which takes the first
    takes = ("one", "alone", *(("two", "four", "nested", "mixed") if gru else ()))
    if given in (("two",) if "lstm" in kind else takes):
        return
    count = "2 tensors" if "lstm" in kind else "1 tensor"
    nested = "nested" in given or given == "mixed"
    came = (
        "2" if gru and given == "nested two" else "nested lists" if nested else len(keras.tree.flatten(STATES[given]))
    )
    message = (
        rf"initial_state must have {count}, one for each state of layer '(lstm|gru|simple_rnn|rnn)\S*', got {came}"
    )
    for way in WAYS:
        with pytest.raises(ValueError, match=message):
            _outputs_from(way, kind, given, wrap=wrap)


@pytest.mark.parametrize("way", ["patched", "accelerated"])
def test_a_decoder_takes_the_first_state_of_a_bidirectional_encoder(way: str) -> None:
    def outputs(way: str) -> Any:
        def build() -> Any:
            keras.utils.set_random_seed(0)
            inputs = keras.Input(SIGNAL.shape[1:])
            _, *states = layers.Bidirectional(layers.GRU(4, return_state=True))(inputs)
            return keras.Model(inputs, layers.GRU(4)(inputs, initial_state=states))

        return made(way, build).predict(SIGNAL, verbose=0)

    assert_close(outputs(way), outputs("stock"), STOCK["float32"])


# --- configs and files ------------------------------------------------------------------------------------------------


def _named(build: Callable[[], Any]) -> Any:
    """With names that are counted from one."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    return build()


def _with_ids_from_zero(config: str) -> str:
    """Keras tells objects that are in a config twice by their addresses."""
    ids: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )(\d+)', lambda found: f"{found[1]}{ids.setdefault(found[2], len(ids))}", config
    )


def _config(one: Any) -> str:
    return json.dumps(keras.saving.serialize_keras_object(one))


@every_twin
def test_configs_under_a_patch_are_those_of_stock(stock: Any) -> None:
    def build() -> Any:
        one = stock(**arguments_of(stock))
        if stock in FAST_LAYERS:
            one(_inputs(stock))
        return one

    expected = _config(_named(build))
    assert f'"class_name": "{stock.__name__}"' in expected
    with fastseq.keras.patch():
        made = _named(build)
        assert _config(made) == expected
    assert _config(made) == expected
    assert _config(pickle.loads(pickle.dumps(made))) == expected


@pytest.mark.filterwarnings("ignore:.*cell must be one of:fastseq.keras.NativeFallbackWarning")
@pytest.mark.parametrize(("case", "optimizer"), [*((case, "adam") for case in MODELS), ("mixed", "loss scaling")])
def test_files_under_a_patch_are_those_of_stock(case: str, optimizer: str, tmp_path: Path) -> None:
    def written(name: str) -> list[Any]:
        model, x = _named(MODELS[case])
        adam = keras.optimizers.Adam(0.01)
        adam = adam if optimizer == "adam" else keras.optimizers.LossScaleOptimizer(adam, initial_scale=4.0)
        model.compile(adam, "mse")
        model(x)
        model.save(tmp_path / f"{name}.keras")
        with zipfile.ZipFile(tmp_path / f"{name}.keras") as file:
            return [_config(model), _config(model.optimizer), _with_ids_from_zero(file.read("config.json").decode())]

    expected = written("stock")
    with fastseq.keras.patch():
        got = written("patched")
    assert got == expected


def test_custom_objects_are_no_part_of_files_under_a_patch(tmp_path: Path) -> None:
    """As of stock: an entry by the name of Keras's own class is for files of another class of that name."""

    class Shim(keras.layers.Layer):  # type: ignore[misc]
        pass

    def build() -> Any:
        model = keras.Sequential([keras.Input(SIGNAL.shape[1:]), layers.LSTM(4)])
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    # PyTorch's Adam has no name of Keras's own.
    shims = {"LSTM": Shim, **({"Adam": Shim} if keras.optimizers.Adam in TWINS else {})}
    for way in ("stock", "patched"):
        made(way, build).save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects=shims)
        assert type(loaded.layers[0]) is layers.LSTM
        assert type(loaded.optimizer) is type(keras.optimizers.Adam())


# --- quantization -----------------------------------------------------------------------------------------------------


def _model_to_quantize(way: str, stock: type) -> Any:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    layer = stock(**arguments_of(stock)) if way == "stock" else twin(way, stock)
    x = _inputs(stock)
    parts = [keras.Input(x.shape[1:], dtype=x.dtype.name), layer, layers.Flatten(), layers.Dense(4)]
    return keras.Sequential(parts, name="model")


def _quantized(way: str, stock: type, mode: str, of_model: bool) -> tuple[Any, list[str]]:
    """The model, and what Keras says."""
    model = _model_to_quantize(way, stock)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            (model if of_model else model.layers[0]).quantize(mode)
    except (NotImplementedError, ValueError) as error:
        return None, [f"{type(error).__name__}: {error}"]
    return model, [str(one.message) for one in told]


@pytest.mark.filterwarnings("ignore:.*weights must not be quantized:fastseq.keras.NativeFallbackWarning")
@pytest.mark.parametrize("of_model", [True, False], ids=["model", "layer"])
@pytest.mark.parametrize(
    ("stock", "mode"),
    [*((stock, "int8") for stock in FAST_LAYERS), (layers.Embedding, "int4"), (layers.Embedding, "float8")],
)
@every_way
def test_is_quantized_as_stock(stock: type, way: str, mode: str, of_model: bool) -> None:
    expected, expected_words = _quantized("stock", stock, mode, of_model)
    model, words = _quantized(way, stock, mode, of_model)
    assert words == expected_words
    if expected is None:
        return
    assert [(w.path, w.dtype) for w in model.weights] == [(w.path, w.dtype) for w in expected.weights]
    assert model.layers[0].quantization_mode == expected.layers[0].quantization_mode
    for got, one in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(got, one)
    if stock is layers.Embedding:
        assert_close(model(IDS), expected(IDS), STOCK["float32"])


@pytest.mark.filterwarnings("ignore:.*weights must not be quantized:fastseq.keras.NativeFallbackWarning")
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
@every_way
def test_quantized_after_the_class_has_changed(way: str, tmp_path: Path) -> None:
    """To stock and back, and as a copy; and quantized ones are in files."""
    expected, _ = _quantized("stock", layers.Embedding, "int8", True)
    for change in (
        fastseq.keras.to_stock,
        lambda model: fastseq.keras.accelerate(fastseq.keras.to_stock(model), verbose=False),
        lambda model: keras.Sequential(
            [keras.Input((8,), dtype="int32"), pickle.loads(pickle.dumps(model.layers[0])), *model.layers[1:]]
        ),
    ):
        model = change(_model_to_quantize(way, layers.Embedding))
        model.quantize("int8")
        assert model.layers[0].quantization_mode == "int8"
        assert_close(model(IDS), expected(IDS), STOCK["float32"])
        model.save(tmp_path / "model.keras")
        assert_close(keras.models.load_model(tmp_path / "model.keras")(IDS), expected(IDS), STOCK["float32"])


def test_subclasses_decide_how_they_are_quantized() -> None:
    class Mine(fastseq.keras.FastEmbedding):
        def quantize(self, mode: str | None = None, **kwargs: Any) -> None:
            super().quantize(mode, **{**kwargs, "type_check": False})

    class Other(fastseq.keras.FastEmbedding):
        pass

    mine, other = (kind(10, 4) for kind in (Mine, Other))
    mine.build()
    mine.quantize("int8")
    assert mine.quantization_mode == "int8"
    other.build()
    with pytest.raises(NotImplementedError, match="does not have a `quantize` method"):
        other.quantize("int8")


# --- gradients that broadcast -----------------------------------------------------------------------------------------


def _random(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype("float32")


def _slices(values: Any, indices: list[int], shape: list[int]) -> Any:
    return tf.IndexedSlices(tf.constant(values), tf.constant(indices), tf.constant(shape))


GRADIENTS: dict[str, Any] = {str(shape): _random(*shape) for shape in ((3, 4), (), (1,), (4,), (1, 4), (3, 1), (1, 1))}
if tf is not None:
    GRADIENTS["slices"] = _slices(_random(2, 4), [0, 2], [3, 4])
    GRADIENTS["slices of one row"] = _slices(_random(1, 4), [0], [1, 4])
    GRADIENTS["slices of one column"] = _slices(_random(2, 1), [0, 2], [3, 1])
NO_GRADIENTS = {str(shape): _random(*shape) for shape in ((1, 3, 4), (2, 4), (3,), (12,), (0,))}


def _updated(way: str, gradient: Any, wrap: Any, **arguments: Any) -> list[Any]:
    adam = keras.optimizers.Adam(**arguments) if way == "stock" else twin(way, keras.optimizers.Adam, **arguments)
    variable = keras.Variable(_random(3, 4) + 1)
    adam.build([variable])
    slices = isinstance(gradient, tf.IndexedSlices)
    step = wrap(lambda *given: adam.apply([gradient if slices else given[0]], [variable]))
    for _ in range(2):
        step(*([] if slices else [tf.constant(gradient)]))
    return [variable.numpy(), *(one.numpy() for one in adam.variables[2:])]


def _of_any_shape(step: Any) -> Any:
    """In a graph that does not know the gradient's shape."""
    any_tensor = tf.function(step, input_signature=[tf.TensorSpec(None)])
    no_tensor = tf.function(step)
    return lambda *given: (any_tensor if given else no_tensor)(*given)


every_way_to_update = pytest.mark.parametrize(
    "wrap", [as_it_is, compiled, _of_any_shape], ids=["eager", "graph", "of any shape"]
)


@needs_kernel("adam")
@every_way_to_update
@pytest.mark.parametrize("arguments", [{}, {"amsgrad": True}, {"clipnorm": 0.5}, {"use_ema": True}], ids=str)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradients_broadcast_as_in_stock(gradient: str, arguments: dict[str, Any], wrap: Any) -> None:
    expected = _updated("stock", GRADIENTS[gradient], wrap, **arguments)
    for way in WAYS:
        for got, one in zip(_updated(way, GRADIENTS[gradient], wrap, **arguments), expected, strict=True):
            np.testing.assert_array_equal(got, one)


@needs_kernel("adam")
@every_way_to_update
@pytest.mark.parametrize("gradient", NO_GRADIENTS)
def test_gradients_that_do_not_broadcast_are_errors_as_in_stock(gradient: str, wrap: Any) -> None:
    for way in ("stock", *WAYS):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="shape"):
            _updated(way, NO_GRADIENTS[gradient], wrap)


@needs_tensorflow
def test_slices_of_another_shape_that_is_not_known_before() -> None:
    adam, variable = fastseq.keras.FastAdam(), keras.Variable(_random(3, 4))
    adam.build([variable])
    step = tf.function(lambda gradient: adam.apply([gradient], [variable]))
    step(GRADIENTS["slices"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="gradient must be slices of a tensor of the var"):
        step(GRADIENTS["slices of one row"])


# --- negative ids -----------------------------------------------------------------------------------------------------


@needs_kernel("embedding")
@pytest.mark.filterwarnings("ignore:Layer .* was given negative ids:UserWarning")
@pytest.mark.parametrize("run_eagerly", [True, False])
def test_trains_with_negative_ids_as_stock(run_eagerly: bool) -> None:
    def trained(way: str) -> list[Any]:
        embedding = layers.Embedding(10, 4) if way == "stock" else twin(way, layers.Embedding)
        keras.utils.set_random_seed(0)
        embedding.build()
        embedding.set_weights([_random(10, 4)])
        model = keras.Sequential([keras.Input((8,), dtype="int32"), embedding, layers.Flatten(), layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=run_eagerly)
        losses = [model.train_on_batch(IDS - 5, np.ones((6, 1), "float32")) for _ in range(2)]
        return [*losses, *model.get_weights(), model.predict_on_batch(-1 - IDS)]

    expected = trained("stock")
    for way in WAYS:
        for got, one in zip(trained(way), expected, strict=True):
            assert_close(got, one, STOCK["float32"])

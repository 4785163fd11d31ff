"""`patch`: fast classes under Keras's own names."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import TWINS, assert_close, assert_equal, tf
from keras.layers import LSTM
from processes import run_python
from tolerances import STOCK

import fastseq.keras
from fastseq.keras import FastLSTM, FastRNN, NativeFallbackWarning, backend
from fastseq.keras.native import NativeChoice
from fastseq.keras.replacements import FAST_LAYERS, PATCH_CLASSES

# What these construct, patched and not.
STOCK_ADAM, STOCK_ADAMW = type(keras.optimizers.Adam()), type(keras.optimizers.AdamW())
FAST_ADAM = TWINS.get(keras.optimizers.Adam, STOCK_ADAM)
NAMESPACES = (
    "keras.layers",
    "keras.src.layers",
    "keras._tf_keras.keras.layers",
    *(
        ["keras.optimizers", "keras.src.optimizers", "keras._tf_keras.keras.optimizers"]
        if keras.optimizers.Adam in TWINS
        else []
    ),
)
# The first positional arguments of any of the layers.
ARGUMENTS = {
    "Conv1D": (4, 3),
    "Embedding": (10, 3),
    "Dropout": (0.5,),
    "RNN": (keras.layers.GRUCell(2),),
    "SpatialDropout1D": (0.5,),
    "Adam": (),
}


def construct(stock: Callable[..., Any]) -> Any:
    return stock(*ARGUMENTS.get(stock.__name__, (2,)))


def sequential() -> keras.Sequential:
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Embedding(20, 8),
            keras.layers.SpatialDropout1D(0.2, seed=1),
            keras.layers.Conv1D(8, 3, activation="relu"),
            keras.layers.MaxPool1D(2),
            keras.layers.Bidirectional(keras.layers.LSTM(6, return_sequences=True)),
            keras.layers.GRU(5),
            keras.layers.Dropout(0.3, seed=2),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 20, (16, 12))


def recurrent_layers(model: Any) -> list[Any]:
    """All three of `sequential`, those inside `Bidirectional` too."""
    both, gru = model.layers[4:6]
    return [both.forward_layer, both.backward_layer, gru]


@pytest.fixture(autouse=True)
def _unpatched() -> Iterator[None]:
    yield
    fastseq.keras.unpatch()


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_name_constructs_a_twin(namespace: str) -> None:
    names = {name: value for name, value in vars(importlib.import_module(namespace)).items() if inspect.isclass(value)}
    names = {name: stock for name, stock in names.items() if stock in TWINS}
    assert set(names.values()) == {stock for stock in TWINS if (stock in FAST_LAYERS) == namespace.endswith("layers")}
    for stock in names.values():
        assert type(construct(stock)) is stock
        with fastseq.keras.patch():
            made = construct(stock)
            assert isinstance(made, TWINS[stock])
            assert isinstance(made, stock)
            assert repr(made).startswith(f"<{TWINS[stock].__qualname__} ")
        assert type(construct(stock)) is stock


def test_other_ways_to_construct() -> None:
    stock = sequential()
    layer = keras.layers.LSTM(3, name="mine")
    config = keras.layers.serialize(layer)
    fastseq.keras.patch()
    for made in (
        LSTM(3),  # imported before
        *([] if tf is None else [tf.keras.layers.LSTM(3)]),
        keras.layers.LSTM.from_config(layer.get_config()),
        keras.layers.deserialize(config),
        keras.models.clone_model(stock).layers[4].forward_layer,
        keras.Sequential.from_config(stock.get_config()).layers[4].backward_layer,
    ):
        assert isinstance(made, FastLSTM)
    assert isinstance(sequential().optimizer, FAST_ADAM)
    assert isinstance(keras.optimizers.get("Adam"), FAST_ADAM)
    assert isinstance(keras.optimizers.deserialize(keras.optimizers.serialize(stock.optimizer)), FAST_ADAM)


def test_what_exists_already_stays() -> None:
    layer = keras.layers.LSTM(3)
    with fastseq.keras.patch():
        assert type(layer) is keras.layers.LSTM
        assert isinstance(layer, keras.layers.LSTM)
        fast = keras.layers.LSTM(3)
    assert isinstance(fast, FastLSTM)
    assert isinstance(FastLSTM.from_config(fast.get_config()), FastLSTM)


def test_subclasses_keep_their_own_base() -> None:
    """Their methods may override what only the stock layer calls."""
    with fastseq.keras.patch():

        class Doubled(keras.layers.Conv1D):
            def call(self, inputs: Any) -> Any:
                return 2 * super().call(inputs)

        layer = Doubled(4, 3)
        assert type(keras.optimizers.AdamW()) is STOCK_ADAMW
    assert Doubled.__mro__[1] is keras.layers.Conv1D
    assert type(layer) is Doubled
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    doubled = layer(x)
    stock = keras.layers.Conv1D(4, 3)
    stock.build(x.shape)
    stock.set_weights(layer.get_weights())
    assert_equal(doubled, 2 * stock(x))


def test_cells_stay_stock() -> None:
    with fastseq.keras.patch():
        layer = keras.layers.RNN(keras.layers.LSTMCell(4))
    assert isinstance(layer, FastRNN)
    assert type(layer.cell) is keras.layers.LSTMCell


def test_what_a_patch_constructed_becomes_stock() -> None:
    with fastseq.keras.patch():
        model = sequential()
        x, y = ids(), np.ones((16, 1))
        model.fit(x, y, verbose=0)
        before = model.get_weights()
        assert fastseq.keras.to_stock(model) is model
        for layer in [*model.layers, *recurrent_layers(model)]:
            assert type(layer).__module__.startswith("keras."), layer
            assert not isinstance(layer, NativeChoice)
        assert type(model.optimizer) is STOCK_ADAM
        for got, expected in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(got, expected)
        model.fit(x, y, verbose=0)


def test_trains_to_the_same_weights() -> None:
    x, y = ids(), np.ones((16, 1))
    stock = sequential()
    with fastseq.keras.patch():
        fast = sequential()
    fast.set_weights(stock.get_weights())
    losses = [model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"] for model in (stock, fast)]
    assert_close(losses[0], losses[1], STOCK["float32"])
    for one, other in zip(stock.get_weights(), fast.get_weights(), strict=True):
        assert_close(one, other, STOCK["float32"])


def test_files_are_stock(tmp_path: Path) -> None:
    with fastseq.keras.patch():
        fast = sequential()
        fast.save(tmp_path / "model.keras")
    stock = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in recurrent_layers(stock)] == [keras.layers.LSTM] * 2 + [keras.layers.GRU]
    assert type(stock.optimizer) is STOCK_ADAM
    stock.save(tmp_path / "stock.keras")
    with fastseq.keras.patch():
        again = keras.models.load_model(tmp_path / "stock.keras")
    assert [repr(layer).split()[0] for layer in recurrent_layers(again)] == ["<FastLSTM", "<FastLSTM", "<FastGRU"]
    assert isinstance(again.optimizer, FAST_ADAM)
    expected = stock(ids())
    for model in (fast, again):
        assert_close(model(ids()), expected, STOCK["float32"])


@pytest.mark.parametrize("stock", TWINS)
def test_copies_are_fast_as_well(stock: type) -> None:
    """Patched or not; and those of stock layers are what Keras is."""
    ordinary = construct(stock)
    with fastseq.keras.patch():
        made = construct(stock)
        made.use_native = False
        pickled = pickle.dumps(made)
        assert type(pickle.loads(pickled)) is type(made)
        assert isinstance(pickle.loads(pickle.dumps(ordinary)), TWINS[stock])
    for again in (pickle.loads(pickled), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert type(again) is type(made)
        assert again.get_config() == made.get_config()
        assert again.use_native is False
    assert type(copy.deepcopy(ordinary)) is stock


def test_copies_have_the_weights() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    with fastseq.keras.patch():
        layer = keras.layers.Conv1D(4, 3)
    expected = layer(x)
    assert_equal(copy.deepcopy(layer)(x), expected)
    assert_equal(pickle.loads(pickle.dumps(layer))(x), expected)


def test_copies_of_models_are_what_their_files_are() -> None:
    with fastseq.keras.patch():
        model = sequential()
        assert isinstance(copy.deepcopy(model).layers[5], TWINS[keras.layers.GRU])
    assert type(copy.deepcopy(model).layers[5]) is keras.layers.GRU


class _MyConvolution(PATCH_CLASSES[keras.layers.Conv1D]):  # type: ignore[misc]
    """A subclass of what a patch constructs."""


@pytest.mark.parametrize("stock", TWINS)
def test_classes_pickle(stock: type) -> None:
    with fastseq.keras.patch():
        cls = type(construct(stock))
    assert pickle.loads(pickle.dumps(cls)) is cls
    assert pickle.loads(pickle.dumps(_MyConvolution)) is _MyConvolution


def test_files_need_no_fastseq(tmp_path: Path) -> None:
    with fastseq.keras.patch():
        sequential().save(tmp_path / "model.keras")
        explicit = keras.Sequential([keras.Input((None, 2)), FastLSTM(3)])
    assert explicit.get_config()["layers"][1]["registered_name"] == "fastseq>FastLSTM"
    code = f"""
import sys, keras
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
print(model.optimizer.__class__.__module__, *(layer.__class__.__module__.partition(".")[0] for layer in model.layers))
assert "fastseq" not in sys.modules
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [STOCK_ADAM.__module__, *["keras"] * 8]


def test_restores_exactly() -> None:
    before = {stock: dict(vars(stock)) for stock in TWINS}
    signatures = {stock: inspect.signature(stock) for stock in TWINS}
    fastseq.keras.patch()
    fastseq.keras.patch()
    assert {stock: inspect.signature(stock) for stock in TWINS} == signatures
    assert all(dict(vars(stock)) != before[stock] for stock in TWINS)
    for stock in TWINS:
        construct(stock)
    fastseq.keras.unpatch()
    for _ in range(2):
        assert {stock: dict(vars(stock)) for stock in TWINS} == before
        assert all(type(construct(stock)) is stock for stock in TWINS)
        assert type(keras.optimizers.AdamW(0.1)) is STOCK_ADAMW
        fastseq.keras.unpatch()


def patched() -> bool:
    kinds = {isinstance(construct(stock), fast) for stock, fast in TWINS.items()}
    assert len(kinds) == 1, "half a patch"
    return kinds.pop()


def test_nests() -> None:
    with fastseq.keras.patch():
        with fastseq.keras.patch():
            assert patched()
        assert patched()
    assert not patched()
    fastseq.keras.patch()
    with fastseq.keras.patch():
        pass
    assert patched()


def test_ends_in_any_order() -> None:
    first, second = fastseq.keras.patch(), fastseq.keras.patch()
    first.__exit__(None, None, None)
    assert patched()
    second.__exit__(None, None, None)
    assert not patched()
    with fastseq.keras.patch():
        fastseq.keras.unpatch()
        assert not patched()
        with first:
            assert patched()
        assert not patched()
    assert not patched()


def test_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError), fastseq.keras.patch():
        _ = 1 / 0
    assert not patched()
    with fastseq.keras.patch(), pytest.raises(ValueError, match="Unrecognized keyword arguments passed to LSTM"):
        keras.layers.LSTM(3, unit=3)


def test_takes_the_twins_arguments(tmp_path: Path) -> None:
    """Which are in no file of a stock layer: that opens anywhere."""
    with fastseq.keras.patch():
        lstm, embedding = keras.layers.LSTM(3, use_native=False), keras.layers.Embedding(10, 3, dense_gradient=True)
        assert lstm.use_native is False
        assert embedding.dense_gradient is True
        model = keras.Sequential([keras.Input((5,), dtype="int32"), embedding, lstm])
        if not backend.lacks("adam"):
            model.compile(keras.optimizers.Adam(0.01, use_native=True), "mse")
            assert model.optimizer.use_native is True
            model.optimizer.build(model.trainable_variables)
        model.save(tmp_path / "model.keras")
    stock = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in stock.layers] == [keras.layers.Embedding, keras.layers.LSTM]
    if not backend.lacks("adam"):
        assert type(stock.optimizer) is STOCK_ADAM
    for fast, ordinary in zip(model.layers, stock.layers, strict=True):
        assert fast.get_config() == ordinary.get_config()
    assert FastLSTM.from_config(FastLSTM(3, use_native=False).get_config()).use_native is False


def test_what_others_change_meanwhile_stays() -> None:
    """Called once for a construction, patched or not, and taken away by who put it there."""
    calls = []

    def also_told(cls: Any, name: str) -> None:
        before = vars(cls)[name]

        def told(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return before(self, *args, **kwargs)

        setattr(cls, name, told)

    twins = {keras.layers.GRU: "__new__", keras.optimizers.Adam: "__init__"}
    twins = {stock: name for stock, name in twins.items() if stock in TWINS}
    before = {stock: vars(stock).get(name) for stock, name in twins.items()}
    with fastseq.keras.patch():
        ours = {stock: vars(stock)[name] for stock, name in twins.items()}
        for stock, name in twins.items():
            also_told(stock, name)
        theirs = {stock: vars(stock)[name] for stock, name in twins.items()}
        assert patched()
        assert sorted(calls) == sorted(twins.values())
    try:
        calls.clear()
        assert {stock: vars(stock)[name] for stock, name in twins.items()} == theirs
        assert not patched()
        assert sorted(calls) == sorted(twins.values())
        with fastseq.keras.patch():
            calls.clear()
            assert patched()
            assert sorted(calls) == sorted(twins.values())
        for stock, name in twins.items():  # they end what they began, and put back what they found
            setattr(stock, name, ours[stock])
        assert not patched()
        with fastseq.keras.patch():
            assert patched()
        assert not patched()
    finally:
        for stock, name in twins.items():
            delattr(stock, name) if before[stock] is None else setattr(stock, name, before[stock])


@pytest.mark.skipif(keras.optimizers.Adam not in TWINS, reason="is about Adam, which has no twin here")
def test_what_others_put_back_meanwhile_stays() -> None:
    """Who changes something before the patch, and undoes it during the patch."""
    original = keras.optimizers.Adam.__init__
    with pytest.MonkeyPatch.context() as change:
        change.setattr(keras.optimizers.Adam, "__init__", lambda self, *_, **__: original(self, 0.5))
        fastseq.keras.patch()
        assert isinstance(keras.optimizers.Adam(), FAST_ADAM)
        assert float(keras.optimizers.Adam().learning_rate) == 0.5
    fastseq.keras.unpatch()
    assert keras.optimizers.Adam.__init__ is original


def test_quantizes_as_stock() -> None:
    with fastseq.keras.patch():
        layer = keras.layers.Embedding(10, 4)
    layer.build((None, 3))
    layer.quantize("int8")
    assert layer.embeddings.dtype == "int8"


def patched_classes() -> set[str]:
    return {stock.__name__ for stock, fast in TWINS.items() if isinstance(construct(stock), fast)}


ALL = {stock.__name__ for stock in TWINS}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, ALL),
        ({"only": ["LSTM", keras.optimizers.Adam]}, {"LSTM", "Adam"}),
        ({"only": {keras.layers.MaxPool1D}}, {"MaxPooling1D"}),
        ({"only": []}, set()),
        ({"exclude": ("GRU", keras.layers.Conv1D)}, ALL - {"GRU", "Conv1D"}),
        ({"exclude": iter(["Adam"])}, ALL - {"Adam"}),
        ({"only": ["LSTM"], "exclude": ["Conv1D"]}, {"LSTM"}),
    ],
)
def test_selection(selection: dict[str, Any], expected: set[str]) -> None:
    before = {stock: dict(vars(stock)) for stock in TWINS}
    with fastseq.keras.patch(**selection):
        assert patched_classes() == expected & ALL
        untouched = {stock: names for stock, names in before.items() if stock.__name__ not in expected}
        assert {stock: dict(vars(stock)) for stock in untouched} == untouched
    assert {stock: dict(vars(stock)) for stock in TWINS} == before


@pytest.mark.parametrize(
    ("selection", "kind", "message"),
    [
        (
            {"only": ["lstm"]},
            ValueError,
            f"only must be among {', '.join(sorted(stock.__name__ for stock in PATCH_CLASSES))}, got 'lstm'",
        ),
        ({"exclude": [keras.layers.Dense]}, ValueError, r"exclude must be among Adam, .*, got keras\..*\.Dense"),
        ({"exclude": [FastLSTM]}, ValueError, r"exclude must be among Adam, .*, got fastseq\..*\.FastLSTM"),
        ({"only": [["LSTM"]]}, ValueError, r"only must be among .*, got \['LSTM'\]"),
        ({"only": "LSTM"}, TypeError, r"only must be a list of classes or names, such as \['LSTM'\], got 'LSTM'"),
        ({"exclude": keras.layers.GRU}, TypeError, r"exclude must be a list .* such as \['GRU'\], got keras\..*\.GRU"),
        ({"only": ["GRU", "LSTM"], "exclude": ["LSTM"]}, ValueError, "only and exclude must not both have LSTM"),
    ],
)
def test_wrong_selection(selection: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fastseq.keras.patch(**selection)
    assert not patched()


def test_selections_nest() -> None:
    """Patched is what any patch in force asks for."""
    with fastseq.keras.patch(only=["LSTM"]):
        with fastseq.keras.patch(only=["GRU", "Adam"]):
            assert patched_classes() == {"LSTM", "GRU", "Adam"} & ALL
            with fastseq.keras.patch(exclude=["GRU", "RNN"]):
                assert patched_classes() == ALL - {"RNN"}
            assert patched_classes() == {"LSTM", "GRU", "Adam"} & ALL
        assert patched_classes() == {"LSTM"}
    assert not patched()
    first, second = fastseq.keras.patch(only=["LSTM"]), fastseq.keras.patch(exclude=["LSTM"])
    assert patched()
    first.__exit__(None, None, None)
    assert patched_classes() == ALL - {"LSTM"}
    with first:
        assert patched()
    second.__exit__(None, None, None)
    assert not patched()


def test_the_fall_back_says_how_to_patch_without() -> None:
    with fastseq.keras.patch():
        layer, optimizer = keras.layers.GRU(3, activation="gelu"), keras.optimizers.Adam()
    with pytest.warns(NativeFallbackWarning, match=r"If that is intended, leave such layers out: .*") as told:
        layer(np.zeros((1, 2, 3), "float32"))
    words = str(told[0].message)
    assert words.endswith("fastseq.keras.patch(exclude=['GRU']), or fastseq --except GRU SCRIPT.py.")
    assert "use_native" not in words
    if backend.lacks("adam"):
        return
    variable = keras.Variable(np.zeros(3), dtype="float16")
    optimizer.build([variable])
    with pytest.warns(NativeFallbackWarning, match=r"leave such optimizers out: .*patch\(exclude=\['Adam'\]\)"):
        optimizer.apply([keras.ops.ones(3, "float16")])


def test_other_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_SUPPORTED", ())
    with pytest.warns(NativeFallbackWarning, match=r"patch\(\) makes nothing fast: Keras runs on the") as told:
        fastseq.keras.patch()
    assert told[0].filename == __file__
    assert not patched()


def test_import_time() -> None:
    """What importing fastseq.keras adds to importing Keras: at most 150 ms of one core."""
    code = """
import time, keras
start = time.process_time()
import fastseq.keras
print(time.process_time() - start)
"""
    assert statistics.median(float(run_python(code).stdout) for _ in range(3)) < 0.150

"""Methods of Keras that a user has replaced: stock layers call them, and so do fast layers, with a warning."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from backends import (
    Wrap,
    as_it_is,
    assert_close,
    assert_equal,
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
from tolerances import STOCK

import fastseq.keras
from fastseq.keras import FastAdam, FastConv1D, FastConv1DMaxPooling1D, FastLSTM, NativeFallbackWarning, backend

_LAYERS = keras.layers
_X = np.random.default_rng(0).standard_normal((3, 8, 4)).astype(np.float32)
_IDS = np.random.default_rng(1).integers(0, 9, (3, 8))

# A name, how to make the stock layer, and the methods on classes that it goes by.
_ALL_CASES: dict[str, tuple[Callable[[], Any], list[tuple[type, str]]]] = {
    "LSTM": (
        lambda: _LAYERS.LSTM(5),
        [(_LAYERS.LSTM, "inner_loop"), (_LAYERS.RNN, "inner_loop"), (_LAYERS.LSTMCell, "call")],
    ),
    "GRU": (lambda: _LAYERS.GRU(5), [(_LAYERS.GRU, "inner_loop"), (_LAYERS.GRUCell, "call")]),
    "SimpleRNN": (lambda: _LAYERS.SimpleRNN(5), [(_LAYERS.RNN, "inner_loop"), (_LAYERS.SimpleRNNCell, "call")]),
    "RNN": (
        lambda: _LAYERS.RNN(_LAYERS.LSTMCell(5, dropout=0.5, seed=1)),
        [(_LAYERS.RNN, "inner_loop"), (_LAYERS.LSTMCell, "get_dropout_mask")],
    ),
    "Conv1D": (
        lambda: _LAYERS.Conv1D(5, 3, padding="causal"),
        [(_LAYERS.Conv1D, "call"), (_LAYERS.Conv1D, "_compute_causal_padding")],
    ),
    "MaxPooling1D": (lambda: _LAYERS.MaxPooling1D(2), [(_LAYERS.MaxPooling1D, "call")]),
    "AveragePooling1D": (lambda: _LAYERS.AveragePooling1D(2), [(_LAYERS.AveragePooling1D, "call")]),
    "Dropout": (lambda: _LAYERS.Dropout(0.5, seed=1), [(_LAYERS.Dropout, "call")]),
    "SpatialDropout1D": (
        lambda: _LAYERS.SpatialDropout1D(0.5, seed=1),
        [(_LAYERS.SpatialDropout1D, "call"), (_LAYERS.SpatialDropout1D, "_get_noise_shape")],
    ),
    "Embedding": (lambda: _LAYERS.Embedding(9, 5), [(_LAYERS.Embedding, "call")]),
}
_OPERATIONS = {"Dropout": "dropout", "SpatialDropout1D": "dropout", "Embedding": "embedding"}
# Those with kernels on this backend.
_CASES = {name: case for name, case in _ALL_CASES.items() if not backend.lacks(_OPERATIONS.get(name, "rnn"))}
_METHODS = [(name, cls, method) for name, (_, methods) in _CASES.items() for cls, method in methods]
every_method = pytest.mark.parametrize(
    ("name", "cls", "method"), _METHODS, ids=[f"{name}-{cls.__name__}.{method}" for name, cls, method in _METHODS]
)
# How a user gets fast layers.
_WAYS = ("by hand", "patched", "accelerated")
every_way = pytest.mark.parametrize("way", _WAYS)


def _made(name: str, way: str | None) -> Any:
    """A model of one layer, stock or fast, with the same weights every time."""
    make = _CASES[name][0]
    if way == "patched":
        with fastseq.keras.patch():
            layer = make()
    else:
        layer = make()
    if way == "by hand":
        layer = getattr(fastseq.keras, f"Fast{name}").from_config(layer.get_config())
    if hasattr(layer, "use_cudnn"):
        layer.use_cudnn = False  # PyTorch's own LSTM and GRU ask no cell
    model = keras.Sequential([layer])
    model(_IDS if name == "Embedding" else _X)
    rng = np.random.default_rng(3)
    model.set_weights([0.5 * rng.standard_normal(weight.shape) for weight in model.get_weights()])
    if way == "accelerated":
        fastseq.keras.accelerate(model, verbose=False)
    if way is not None:
        assert type(model.layers[0]).__qualname__.startswith("Fast")
    return model


def _doubled(method: Any) -> Any:
    """Another method, whose floats are twice those of the first."""

    def double(tensor: Any) -> Any:
        return 2 * tensor if hasattr(tensor, "dtype") and "float" in str(tensor.dtype) else tensor

    def replaced(*arguments: Any, **more: Any) -> Any:
        return keras.tree.map_structure(double, method(*arguments, **more))

    return replaced


def _outputs(model: Any, name: str, wrap: Wrap = as_it_is) -> Any:
    for layer in model.layers:
        for one in (layer, getattr(layer, "cell", None)):
            if hasattr(one, "seed_generator"):
                one.seed_generator.state.assign(np.array([7, 0]))
    x = _IDS if name == "Embedding" else _X
    return call(lambda x: model(x, training=True), x, model.variables, wrap)


@pytest.fixture
def _mended() -> Iterator[None]:
    """Keras's classes as they were."""
    before = [(cls, method, vars(cls).get(method)) for _, cls, method in _METHODS]
    adam = vars(keras.optimizers.Adam)["update_step"]
    yield
    keras.optimizers.Adam.update_step = adam
    for cls, method, function in before:
        if function is not None:
            setattr(cls, method, function)
        elif method in vars(cls):
            delattr(cls, method)


@pytest.mark.usefixtures("_mended")
@every_wrap_but_dynamo
@every_way
@every_method
def test_replaced_on_a_class(name: str, cls: type, method: str, way: str, wrap: Wrap) -> None:
    fast, stock = _made(name, way), _made(name, None)
    before = _outputs(stock, name, wrap)
    assert_close(_outputs(fast, name, wrap), before, STOCK["float32"])
    setattr(cls, method, _doubled(getattr(cls, method)))
    expected = _outputs(stock, name, wrap)
    # An LSTM's own inner_loop does not call that of an RNN where cuDNN computes it, and integers are not doubled.
    if method not in ("_get_noise_shape", "_compute_causal_padding"):
        assert not np.allclose(expected, before)
    with pytest.warns(NativeFallbackWarning, match=rf"{cls.__name__}\.{method} has been replaced"):
        got = _outputs(fast, name, wrap)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.usefixtures("_mended")
@every_way
@every_method
def test_taken_back(name: str, cls: type, method: str, way: str) -> None:
    """The kernels compute again."""
    fast = _made(name, way)
    expected = _outputs(fast, name)
    own = vars(cls).get(method)
    setattr(cls, method, _doubled(getattr(cls, method)))
    with pytest.warns(NativeFallbackWarning):
        _outputs(fast, name)
    if own is None:
        delattr(cls, method)
    else:
        setattr(cls, method, own)
    np.testing.assert_array_equal(_outputs(fast, name), expected)
    assert fast.layers[0].reason_against() is None


_ON_OBJECTS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("LSTM", lambda layer: layer.cell, "call"),
    ("GRU", lambda layer: layer.cell, "call"),
    ("SimpleRNN", lambda layer: layer.cell, "call"),
    ("RNN", lambda layer: layer.cell, "get_dropout_mask"),
    ("Conv1D", lambda layer: layer, "_compute_causal_padding"),
    ("SpatialDropout1D", lambda layer: layer, "_get_noise_shape"),
]


_ON_OBJECTS = [case for case in _ON_OBJECTS if case[0] in _CASES]


@every_wrap_but_dynamo
@every_way
@pytest.mark.parametrize(("name", "find", "method"), _ON_OBJECTS, ids=[f"{n}-{m}" for n, _, m in _ON_OBJECTS])
def test_replaced_on_an_object(name: str, find: Any, method: str, way: str, wrap: Wrap) -> None:
    results = []
    for model in (_made(name, way), _made(name, None)):
        owner = find(model.layers[0])
        setattr(owner, method, _doubled(getattr(owner, method)))
        if model.layers[0].__class__.__qualname__.startswith("Fast"):
            with pytest.warns(NativeFallbackWarning, match=rf"{owner.name}\.{method} has been replaced"):
                results.append(_outputs(model, name, wrap))
        else:
            results.append(_outputs(model, name, wrap))
    np.testing.assert_array_equal(*results)


@every_wrap
@every_way
@pytest.mark.parametrize("name", _CASES)
def test_call_replaced_on_an_object(name: str, way: str, wrap: Wrap) -> None:
    """Python calls the user's function, and what that calls is the fast layer."""
    if torch is not None and name == "RNN" and wrap is compiled:
        pytest.skip("torch.compile does not look into Keras's dropout")
    results = []
    for model in (_made(name, way), _made(name, None)):
        layer = model.layers[0]
        layer.call = _doubled(layer.call)
        results.append(_outputs(model, name, wrap if not results else for_stock(wrap)))
    assert_close(*results, STOCK["float32"])


def test_subclass_that_overrides_a_helper() -> None:
    def subclass(of: Any) -> Any:
        class Mine(of):  # type: ignore[misc]
            """Sees the steps to come in place of those that were."""

            def _compute_causal_padding(self) -> Any:
                before, (left, right), channels = super()._compute_causal_padding()
                return [before, [right, left], channels]

        return Mine

    fast, stock = (subclass(of)(5, 3, padding="causal") for of in (FastConv1D, _LAYERS.Conv1D))
    fast.build(_X.shape)
    stock.build(_X.shape)
    stock.set_weights(fast.get_weights())
    with pytest.warns(NativeFallbackWarning, match=r"Mine\._compute_causal_padding takes the place of the stock"):
        outputs = fast(_X)
    assert_equal(outputs, stock(_X))


@pytest.mark.usefixtures("_mended")
def test_pooling_inside_the_convolution() -> None:
    layer = FastConv1DMaxPooling1D(5, 3, activation="relu")
    expected = 2 * layer(_X)
    _LAYERS.MaxPooling1D.call = _doubled(_LAYERS.MaxPooling1D.call)
    with pytest.warns(NativeFallbackWarning, match=r"MaxPooling1D\.call has been replaced"):
        assert_close(layer(_X), expected, STOCK["float32"])


@needs_kernel("adam")
@pytest.mark.usefixtures("_mended")
@pytest.mark.parametrize("traced", [False, True])
def test_optimizer(traced: bool) -> None:
    keras.optimizers.Adam.update_step = lambda self, gradient, variable, rate: self.assign_sub(variable, 2 * gradient)

    def updated(optimizer: Any) -> Any:
        variable = keras.Variable(np.ones(3, np.float32))
        optimizer.build([variable])

        def step() -> None:
            optimizer.apply([keras.ops.convert_to_tensor([1.0, 2.0, 3.0])], [variable])

        (tf.function(step) if traced else step)()
        return np.asarray(variable.value)

    expected = updated(keras.optimizers.Adam())
    assert expected[0] == -1
    with pytest.warns(NativeFallbackWarning, match=r"Adam\.update_step has been replaced"):
        np.testing.assert_array_equal(updated(FastAdam()), expected)


@pytest.mark.usefixtures("_mended")
def test_use_native_true_is_an_error() -> None:
    layer = FastLSTM(3, use_native=True)
    _LAYERS.LSTMCell.call = _doubled(_LAYERS.LSTMCell.call)
    with pytest.raises(ValueError, match=r"LSTMCell\.call has been replaced"):
        layer(_X)


def test_the_check_takes_next_to_nothing() -> None:
    """Under 2 microseconds a call, with some room for a busy machine."""
    layer = FastLSTM(3)
    layer.build(_X.shape)
    from fastseq.keras.cells import native_cell

    native = native_cell(layer.cell)
    assert native is not None

    def check() -> None:
        layer.stock_methods.replaced(layer)
        native.stock_methods.replaced(layer.cell)

    assert min(timeit.repeat(check, number=1000, repeat=20)) / 1000 < 4e-6


# --- a convolution and its pooling in one pass ------------------------------------------------------------------------


def _pair(way: str | None, activation: bool) -> Any:
    keras.utils.set_random_seed(4)

    def make() -> Any:
        between = [_LAYERS.Activation("relu", name="between")] if activation else []
        convolution = _LAYERS.Conv1D(5, 3, activation=None if activation else "relu", name="convolution")
        return keras.Sequential([keras.Input((8, 4)), convolution, *between, _LAYERS.MaxPooling1D(2, name="pool")])

    if way == "patched":
        with fastseq.keras.patch():
            return make()
    model = make()
    return model if way is None else fastseq.keras.accelerate(model, verbose=False)


def _fused(model: Any) -> bool:
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.constant(_X)).graph
    return any(op.type == "FastseqConv1dForward" and op.get_attr("pool_size") for op in graph.get_operations())


@needs_tensorflow
@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("way", ["patched", "accelerated"])
def test_in_one_pass_however_the_layers_were_made(way: str, activation: bool) -> None:
    assert _fused(_pair(way, activation))


@needs_tensorflow
@pytest.mark.parametrize("on", ["convolution", "between"])
@pytest.mark.parametrize("way", ["patched", "accelerated"])
def test_outputs_that_are_watched_keep_their_gradient(way: str, on: str) -> None:
    """As integrated gradients and Grad-CAM do it: a `call` that watches what it returns."""

    def gradients(model: Any) -> Any:
        layer, seen = model.get_layer(on), []
        call = layer.call

        def watching(*arguments: Any, **more: Any) -> Any:
            seen.append(call(*arguments, **more))
            return seen[-1]

        layer.call = watching

        @tf.function
        def compute(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.sin(model(x)))
            return tape.gradient(loss, [x, seen[-1]])

        return compute(tf.constant(_X))

    fast = _pair(way, on == "between")
    for got, expected in zip(gradients(fast), gradients(_pair(None, on == "between")), strict=True):
        assert got is not None
        assert_close(got, expected, STOCK["float32"])
    assert not _fused(fast)


@needs_tensorflow
@pytest.mark.parametrize("way", ["patched", "accelerated"])
def test_overridden_gradients(way: str) -> None:
    """Guided backpropagation: the gradient of Relu is another one in some graph."""

    @tf.RegisterGradient(f"GuidedRelu_{way}")
    def guided(op: Any, dy: Any) -> Any:
        return tf.cast(dy > 0, dy.dtype) * tf.cast(op.outputs[0] > 0, dy.dtype) * dy * 3

    def gradient(model: Any) -> Any:
        @tf.function
        def compute(x: Any) -> Any:
            graph = tf.compat.v1.get_default_graph()
            with graph.gradient_override_map({"Relu": f"GuidedRelu_{way}"}), tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.sin(model(x)))
            return tape.gradient(loss, x)

        return compute(tf.constant(_X))

    with pytest.warns(NativeFallbackWarning, match="gradient_override_map"):
        got = gradient(_pair(way, False))
    assert_close(got, gradient(_pair(None, False)), STOCK["float32"])

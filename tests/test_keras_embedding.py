"""FastEmbedding beside its stock twin: same arguments, same weights, same results, same training, same files."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, tf
from layer_cases import assert_same_histories
from processes import run_python
from tolerances import STOCK, assert_close

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

from fastseq import reference
from fastseq.keras import FastEmbedding, NativeFallbackWarning, export_native
from fastseq.keras.backend import tensorflow as backend
from fastseq.keras.backend.tensorflow.library import ops

INPUT_DIM, OUTPUT_DIM = 11, 5
STOCK_LAYER = keras.layers.Embedding

every_wrap = pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
Wrap = Callable[[Any], Any]


def _ids(*shape: int, dtype: str = "int32") -> Any:
    """Most of them several times; 10 never."""
    return np.random.default_rng(0).integers(0, INPUT_DIM - 1, shape or (4, 9)).astype(dtype)


def _table() -> Any:
    return np.random.default_rng(1).standard_normal((INPUT_DIM, OUTPUT_DIM)).astype("float32")


def _stock(**arguments: Any) -> Any:
    return STOCK_LAYER(INPUT_DIM, OUTPUT_DIM, weights=_table(), **arguments)


def _fast(**arguments: Any) -> Any:
    return FastEmbedding(INPUT_DIM, OUTPUT_DIM, **{"weights": _table(), "use_native": True, **arguments})


def _pair(**arguments: Any) -> tuple[Any, Any]:
    return _stock(**arguments), _fast(**arguments)


def _run(layer: Any, ids: Any, wrap: Wrap) -> tuple[Any, Any]:
    """Outputs, and slices of the gradient of a sum of them with random factors."""

    @wrap
    def compute(ids: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = layer(ids)
            factors = tf.random.stateless_normal(tf.shape(outputs), (1, 2))
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * factors)
        return outputs, tape.gradient(loss, layer.embeddings.value)

    outputs, gradient = compute(tf.constant(ids))
    return outputs, gradient


def _assert_same(stock: Any, fast: Any, ids: Any, wrap: Wrap = lambda f: f) -> None:
    (expected, expected_gradient), (outputs, gradient) = (_run(layer, ids, wrap) for layer in (stock, fast))
    assert outputs.dtype == expected.dtype
    np.testing.assert_array_equal(tf.cast(outputs, tf.float64), tf.cast(expected, tf.float64))
    assert isinstance(gradient, tf.IndexedSlices)
    for name in ("values", "indices", "dense_shape"):
        mine, theirs = getattr(gradient, name), getattr(expected_gradient, name)
        assert mine.dtype == theirs.dtype, name
        np.testing.assert_array_equal(tf.cast(mine, tf.float64), tf.cast(theirs, tf.float64), err_msg=name)
    dense = [tf.cast(tf.convert_to_tensor(slices), tf.float64) for slices in (gradient, expected_gradient)]
    assert_close(*dense, STOCK["float32"])


# --- a call -----------------------------------------------------------------------------------------------------------


@every_wrap
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int8", "int16", "uint32", "float32", "float64", "bool"])
def test_ids_of_any_dtype(dtype: str, wrap: Wrap) -> None:
    _assert_same(*_pair(), _ids(dtype=dtype), wrap)


def test_fractions_are_cut_off_as_in_stock() -> None:
    ids = np.array([[0.9, 1.2, 9.999]], "float32")
    _assert_same(*_pair(), ids)


@every_wrap
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 4), (2, 3, 1, 4), (2, 1, 2, 1, 2), (0,), (0, 9), (4, 0)])
def test_ids_of_any_shape(shape: tuple[int, ...], wrap: Wrap) -> None:
    _assert_same(*_pair(), _ids(*shape), wrap)


@every_wrap
@pytest.mark.parametrize("policy", ["float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_dtype_policies(policy: str, wrap: Wrap) -> None:
    _assert_same(*_pair(dtype=policy), _ids(), wrap)


@pytest.mark.parametrize("shape", [None, (None, None), (None, 9), (None, None, 2, 3), (None, 2, 2, 2)])
def test_static_shapes(shape: tuple[int | None, ...] | None) -> None:
    stock, fast = _pair()
    specs = [tf.function(layer).get_concrete_function(tf.TensorSpec(shape, "int32")) for layer in (stock, fast)]
    assert str(specs[1].output_shapes) == str(specs[0].output_shapes)
    ids = _ids(*(2 if size is None else size for size in shape or (3,)))
    np.testing.assert_array_equal(specs[1](tf.constant(ids)), specs[0](tf.constant(ids)))


def test_symbolic_shapes() -> None:
    for shape in ((), (9,), (None,), (3, 4, 5)):
        inputs = keras.Input(shape, dtype="int32")
        stock, fast = (kind(INPUT_DIM, OUTPUT_DIM)(inputs) for kind in (STOCK_LAYER, FastEmbedding))
        assert (fast.shape, fast.dtype) == (stock.shape, stock.dtype)


@every_wrap
def test_ids_out_of_range(wrap: Wrap) -> None:
    call = wrap(_fast())
    for value in (-INPUT_DIM - 1, INPUT_DIM, -(2**31), 2**31 - 1):
        ids = _ids()
        ids[2, 7] = value
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"ids must be in \[0, 11\), got {value} at \(2, 7\)"):
            call(tf.constant(ids))


negative_ids = pytest.mark.filterwarnings("ignore:Layer .* was given negative ids:UserWarning")


@negative_ids
@every_wrap
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "float32", "uint32"])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 1, 2, 1, 2, 1, 2, 2)])
def test_negative_ids_count_from_the_end_as_in_stock(shape: tuple[int, ...], dtype: str, wrap: Wrap) -> None:
    ids = np.random.default_rng(0).integers(-INPUT_DIM, INPUT_DIM, shape).astype(dtype)
    ids.flat[:3] = np.array([-1, -INPUT_DIM, INPUT_DIM - 1]).astype(dtype)
    _assert_same(*_pair(), ids, wrap)


@negative_ids
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_ids_out_of_range_at_both_ends(dtype: str) -> None:
    """In a graph that knows neither shape nor rank, too."""
    fast = _fast()
    call = tf.function(fast, input_signature=[tf.TensorSpec(None, dtype)])
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max, -INPUT_DIM - 1):
        for one in (fast, call):
            with pytest.raises(tf.errors.InvalidArgumentError, match=rf"got {value} at \(1"):
                one(tf.constant([-1, value], dtype))


def test_negative_ids_are_told_of_once() -> None:
    fast = _fast(name="words")
    with pytest.warns(UserWarning, match=r"Layer 'words' was given negative ids.* -1 stands for 10\.") as told:
        fast(np.array([[3, -1]]))
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast(np.array([-1]))  # told once, not again
        tf.function(_fast())(np.array([-1]))
        _fast()(np.array([1, 0]))
        _fast(use_native=False)(np.array([-1]))  # stock Keras does not tell


@negative_ids
@every_wrap
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dense_gradient", [False, True])
def test_trains_with_negative_ids_as_stock(dense_gradient: bool, optimizer: str, wrap: Wrap) -> None:
    def negative(layer: Any) -> Any:
        """A layer that is given ids from the end of its table."""

        class Negative:
            embeddings, trainable_weights = layer.embeddings, layer.trainable_weights

            def __call__(self, ids: Any) -> Any:
                return layer(ids - INPUT_DIM)

        return Negative()

    expected = _trained(_Dense(_stock()) if dense_gradient else _stock(), OPTIMIZERS[optimizer](), wrap)
    got = _trained(negative(_fast(dense_gradient=dense_gradient)), OPTIMIZERS[optimizer](), wrap)
    assert_close(got, expected, STOCK["float32"])


def test_mask_zero() -> None:
    ids = _ids()
    for mask_zero in (False, True):
        stock, fast = _pair(mask_zero=mask_zero)
        assert fast.supports_masking == stock.supports_masking
        masks = [layer.compute_mask(tf.constant(ids)) for layer in (stock, fast)]
        outputs = [keras.layers.GlobalAveragePooling1D()(layer(ids)) for layer in (stock, fast)]
        np.testing.assert_array_equal(outputs[1], outputs[0])
        assert (masks[1] is None) == (not mask_zero)
        if mask_zero:
            np.testing.assert_array_equal(masks[1], ids != 0)


def test_the_gradient_by_ids_is_none() -> None:
    ids = tf.constant(_ids(dtype="float32"))
    with tf.GradientTape() as tape:
        tape.watch(ids)
        loss = tf.reduce_sum(_fast()(ids))
    assert tape.gradient(loss, ids) is None


@every_wrap
@pytest.mark.parametrize("dense_gradient", [False, True])
def test_second_order_gradients(dense_gradient: bool, wrap: Wrap) -> None:
    def second_order(layer: Any) -> Any:
        table = layer.embeddings.value

        @wrap
        def compute(ids: Any) -> Any:
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    loss = tf.reduce_sum(layer(ids) ** 3)
                gradient = inner.gradient(loss, table)
                squares = keras.ops.square(gradient)
                penalty = tf.reduce_sum(tf.convert_to_tensor(gradient) ** 2) + tf.reduce_sum(
                    tf.convert_to_tensor(squares) ** 2
                )
            return tf.convert_to_tensor(outer.gradient(penalty, table))

        return compute(tf.constant(_ids()))

    expected = second_order(_Dense(_stock()) if dense_gradient else _stock())
    assert np.abs(expected).max() > 1
    assert_close(second_order(_fast(dense_gradient=dense_gradient)), expected, STOCK["float32"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reference_matches_stock(dtype: str) -> None:
    outputs, gradient = _run(_stock(dtype=dtype), _ids(), lambda f: f)
    np.testing.assert_array_equal(reference.embedding_forward(_ids(), _table()), outputs)
    doutputs = tf.reshape(gradient.values, outputs.shape)
    for squared, slices in ((False, gradient), (True, keras.ops.square(gradient))):
        sums = reference.embedding_backward(_ids(), doutputs, INPUT_DIM, squared=squared)
        assert_close(sums, tf.convert_to_tensor(slices), STOCK[dtype])


# --- training ---------------------------------------------------------------------------------------------------------


class _Dense:
    """A stock layer whose gradient is dense, as it is where the table is computed."""

    def __init__(self, layer: Any) -> None:
        self.embeddings = layer.embeddings
        self.trainable_weights = layer.trainable_weights

    def __call__(self, ids: Any) -> Any:
        return keras.ops.take(keras.ops.convert_to_tensor(self.embeddings) * 1.0, ids, axis=0)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "clip by value": lambda: keras.optimizers.SGD(0.1, clipvalue=0.1),
    "clip by norm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.5),
    "clip by global norm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.5),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adam, clipped": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.5),
    "adam, accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "adam, scaled loss": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=4.0),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "rmsprop, centered": lambda: keras.optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "lion": lambda: keras.optimizers.Lion(0.001),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
}
# Those to which a dense gradient and slices are the same: linear in it, or with a sum over steps before all else.
SAME_EITHER_WAY = ("sgd", "momentum", "nesterov", "lion", "adam, accumulated")


def _trained(layer: Any, optimizer: Any, wrap: Wrap) -> Any:
    """The weights after 5 steps."""
    optimizer.build(layer.trainable_weights)

    @wrap
    def step(ids: Any, factors: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids) ** 2 * factors)
            loss = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)

    rng = np.random.default_rng(3)
    for _ in range(5):
        ids = np.where(rng.random((4, 9)) < 0.5, 0, rng.integers(0, INPUT_DIM - 1, (4, 9))).astype("int32")
        step(tf.constant(ids), tf.constant(rng.standard_normal((4, 9, OUTPUT_DIM)).astype("float32")))
    return layer.embeddings.numpy()


@every_wrap
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trains_to_the_weights_of_stock(optimizer: str, wrap: Wrap) -> None:
    expected = _trained(_stock(), OPTIMIZERS[optimizer](), wrap)
    assert np.abs(expected - _table()).max() > 1e-3
    assert_close(_trained(_fast(), OPTIMIZERS[optimizer](), wrap), expected, STOCK["float32"])


@every_wrap
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_dense_gradient_trains_as_a_dense_gradient_does(optimizer: str, wrap: Wrap) -> None:
    expected = _trained(_Dense(_stock()), OPTIMIZERS[optimizer](), wrap)
    got = _trained(_fast(dense_gradient=True), OPTIMIZERS[optimizer](), wrap)
    assert_close(got, expected, STOCK["float32"])
    of_slices = _trained(_fast(), OPTIMIZERS[optimizer](), wrap)
    assert np.allclose(got, of_slices, atol=1e-5) == (optimizer in SAME_EITHER_WAY)


@every_wrap
@pytest.mark.parametrize(
    "arguments",
    [
        {"embeddings_regularizer": "l2"},
        {"embeddings_constraint": "unit_norm"},
        {"embeddings_regularizer": "l1", "embeddings_constraint": "non_neg"},
    ],
)
def test_regularizer_and_constraint(arguments: dict[str, Any], wrap: Wrap) -> None:
    results = []
    for layer in _pair(**arguments):
        optimizer = keras.optimizers.Adam(0.01)
        optimizer.build(layer.trainable_weights)

        @wrap
        def step(layer: Any = layer, optimizer: Any = optimizer) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(tf.constant(_ids())) ** 2) + tf.add_n([0.0, *layer.losses])
            optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)

        for _ in range(3):
            step()
        results.append(layer.embeddings.numpy())
    assert_close(results[1], results[0], STOCK["float32"])


@every_wrap
def test_a_table_of_two_calls(wrap: Wrap) -> None:
    class Twice:
        def __init__(self, layer: Any) -> None:
            self.layer, self.embeddings, self.trainable_weights = layer, layer.embeddings, layer.trainable_weights

        def __call__(self, ids: Any) -> Any:
            return self.layer(ids) + self.layer(ids[::-1])

    expected = _trained(Twice(_stock()), keras.optimizers.Adam(0.01), wrap)
    assert_close(_trained(Twice(_fast()), keras.optimizers.Adam(0.01), wrap), expected, STOCK["float32"])


def _graph_of_a_step(layer: Any, optimizer: Any) -> list[str]:
    """The types of the operations of a training step."""
    optimizer.build(layer.trainable_weights)

    @tf.function
    def step(ids: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids))
        optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)

    graph = step.get_concrete_function(tf.TensorSpec((4, 9), "int32")).graph
    return [operation.type for operation in graph.get_operations()]


def test_slices_become_dense_in_the_kernels() -> None:
    for layer, ours, of_tensorflow in ((_stock(), 0, 2), (_fast(), 2, 0), (_fast(dense_gradient=True), 1, 0)):
        types = _graph_of_a_step(layer, keras.optimizers.Adam())
        assert types.count("FastseqEmbeddingBackward") == ours
        assert types.count("UnsortedSegmentSum") == of_tensorflow


def test_slices_of_others_are_left_to_tensorflow() -> None:
    @tf.function
    def dense() -> Any:
        table = tf.constant(_table())
        with tf.GradientTape() as tape:
            tape.watch(table)
            rows = tf.gather(table, [1, 1, 2])
        return tf.convert_to_tensor(tape.gradient(rows, table))

    types = [operation.type for operation in dense.get_concrete_function().graph.get_operations()]
    assert "UnsortedSegmentSum" in types
    assert "FastseqEmbeddingBackward" not in types


def test_a_dtype_that_slices_do_not_have_is_an_error_as_in_stock() -> None:
    for layer in _pair():
        _, gradient = _run(layer, _ids(), lambda f: f)
        with pytest.raises(ValueError, match="Incompatible tensor conversion requested"):
            tf.convert_to_tensor(gradient, tf.float64)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_fit_gives_the_same_history_as_stock(run_eagerly: bool) -> None:
    y = np.random.default_rng(0).random((40, 1)).astype("float32")
    histories = []
    for kind in (STOCK_LAYER, FastEmbedding):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((9,), dtype="int32"),
                kind(INPUT_DIM, OUTPUT_DIM, mask_zero=True),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse", run_eagerly=run_eagerly)
        assert kind is STOCK_LAYER or not model.jit_compile
        ids = _ids(40, 9)
        histories.append(model.fit(ids, y, batch_size=10, epochs=3, validation_split=0.25, verbose=0).history)
    assert_same_histories(histories, rtol=1e-5)


def test_determinism() -> None:
    weights = [_trained(_fast(), keras.optimizers.Adam(0.01), tf.function) for _ in range(2)]
    np.testing.assert_array_equal(weights[0], weights[1])


# --- arguments, files -------------------------------------------------------------------------------------------------


def test_initial_weights() -> None:
    for arguments in ({"embeddings_initializer": "ones"}, {"weights": _table()}, {"weights": [_table()]}):
        stock, fast = (kind(INPUT_DIM, OUTPUT_DIM, **arguments) for kind in (STOCK_LAYER, FastEmbedding))
        np.testing.assert_array_equal(fast(_ids()), stock(_ids()))


def test_names() -> None:
    assert FastEmbedding(3, 2).name.startswith("embedding")
    assert repr(FastEmbedding(3, 2, name="words")) == "<FastEmbedding name=words>"
    assert keras.saving.get_registered_object("fastseq>FastEmbedding") is FastEmbedding
    stock, fast = _pair(name="words")
    assert [w.path for w in fast.weights] == [w.path for w in stock.weights] == ["words/embeddings"]


def test_config_is_the_stock_layers() -> None:
    arguments = {"mask_zero": True, "embeddings_regularizer": "l2", "name": "words"}
    config = FastEmbedding(3, 2, **arguments).get_config()
    assert config == STOCK_LAYER(3, 2, **arguments).get_config()
    for added in ({"dense_gradient": True}, {"use_native": False}, {"use_native": True}):
        fast = FastEmbedding(3, 2, **arguments, **added)
        assert fast.get_config() == {**config, **added}
        assert FastEmbedding.from_config(fast.get_config()).get_config() == fast.get_config()


def test_weights_file_has_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for kind in (STOCK_LAYER, FastEmbedding):
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        model = keras.Sequential([keras.Input((9,), dtype="int32"), kind(INPUT_DIM, OUTPUT_DIM)])
        model.save_weights(tmp_path / "of.weights.h5")
        contents.append((tmp_path / "of.weights.h5").read_bytes())
    assert contents[0] == contents[1]


def test_keras_file(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((9,), dtype="int32"), FastEmbedding(INPUT_DIM, OUTPUT_DIM, dense_gradient=True, use_native=True)]
    )
    model.compile("adam", "mse")
    model.fit(_ids(), np.zeros((4, 9, OUTPUT_DIM)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[0], FastEmbedding)
    assert loaded.layers[0].use_native is True
    assert loaded.layers[0].dense_gradient is True
    np.testing.assert_array_equal(loaded.predict(_ids(), verbose=0), model.predict(_ids(), verbose=0))
    loaded.fit(_ids(), np.zeros((4, 9, OUTPUT_DIM)), verbose=0)


def test_export_in_a_fresh_process(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((9,), dtype="int32"), _fast(use_native="auto")])
    model.export(str(tmp_path / "exported"))
    code = f"""
import numpy as np, tensorflow as tf
ids = np.array({_ids().tolist()}, np.int32)
loaded = tf.saved_model.load({str(tmp_path / "exported")!r})
np.save({str(tmp_path / "got.npy")!r}, loaded.serve(ids))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_array_equal(np.load(tmp_path / "got.npy"), _table()[_ids()])


def test_a_saved_graph_can_be_trained(tmp_path: Path) -> None:
    """The gradient's kind is in the graph."""

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self, dense_gradient: bool) -> None:
            super().__init__()
            self.table = tf.Variable(_table())
            self.dense_gradient = dense_gradient

        @tf.function(input_signature=[tf.TensorSpec((None,), "int32")])  # type: ignore[untyped-decorator]
        def rows(self, ids: Any) -> Any:
            return backend.embedding(ids, tf.convert_to_tensor(self.table), dense_gradient=self.dense_gradient)

    for dense_gradient in (False, True):
        with export_native():
            tf.saved_model.save(Module(dense_gradient), str(tmp_path / str(dense_gradient)))
        loaded = tf.saved_model.load(str(tmp_path / str(dense_gradient)))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(loaded.rows(tf.constant([1, 2, 1])))
        gradient = tf.convert_to_tensor(tape.gradient(loss, loaded.table))
        np.testing.assert_array_equal(gradient[:4, 0], [0, 2, 1, 0])


# --- where stock Keras computes ---------------------------------------------------------------------------------------


def _assert_falls_back(fast: Any, expected: Any, ids: Any, reason: str) -> None:
    with pytest.warns(NativeFallbackWarning, match=f"runs on stock Keras.*: {reason}") as told:
        got = fast(ids)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", NativeFallbackWarning)  # told once, not again
        fast(ids)
    assert type(got) is type(expected)
    flat = (lambda x: x.values) if isinstance(got, tf.RaggedTensor) else tf.convert_to_tensor
    np.testing.assert_array_equal(flat(got), flat(expected))


@pytest.mark.parametrize("when", ["at once", "later"])
def test_lora_falls_back(when: str) -> None:
    keras.utils.set_random_seed(0)
    fast = FastEmbedding(INPUT_DIM, OUTPUT_DIM, lora_rank=2 if when == "at once" else None)
    fast.build()
    if when == "later":
        fast.enable_lora(2)
    assert len(fast.trainable_weights) == 2
    fast.lora_embeddings_b.assign(np.ones((2, OUTPUT_DIM)))
    expected = keras.ops.take(fast.embeddings, _ids(), axis=0)
    _assert_falls_back(fast, expected, _ids(), "lora_rank must be None, got 2")
    with pytest.raises(ValueError, match="the kernels cannot run this layer: lora_rank must be None, got 2"):
        FastEmbedding(INPUT_DIM, OUTPUT_DIM, lora_rank=2, use_native=True)


def test_quantized_falls_back() -> None:
    stock, fast = _stock(), _fast(use_native="auto")
    for layer in (stock, fast):
        layer.quantize("int8")
    reason = "weights must not be quantized, got quantization mode int8"
    _assert_falls_back(fast, stock(_ids()), _ids(), reason)
    native = _fast()
    native.quantize("int8")
    with pytest.raises(ValueError, match=rf"use_native=True, but the kernels cannot run layer 'embedding.*': {reason}"):
        native(_ids())


def test_subclasses_are_not_quantized_as_in_stock() -> None:
    class Other(FastEmbedding):
        pass

    layer = Other(INPUT_DIM, OUTPUT_DIM)
    layer.build()
    with pytest.raises(NotImplementedError):
        layer.quantize("int8")


def test_sparse_inputs_fall_back() -> None:
    ids = tf.sparse.from_dense(_ids())
    _assert_falls_back(_fast(use_native="auto"), _stock()(ids), ids, "inputs must be dense, got SparseTensor")


def test_ragged_inputs_fall_back() -> None:
    if not getattr(importlib.import_module("keras.src.backend"), "SUPPORTS_RAGGED_TENSORS", False):
        pytest.skip("this Keras takes no ragged tensors")
    ids = tf.ragged.constant([[1, 2, 3], [4], []])
    _assert_falls_back(_fast(use_native="auto"), _stock()(ids), ids, "inputs must be dense, got RaggedTensor")


def test_use_native_false_is_stock() -> None:
    stock, fast = _stock(), _fast(use_native=False)
    assert fast.supports_jit == stock.supports_jit
    np.testing.assert_array_equal(fast(np.array([-1, 3])), stock(np.array([-1, 3])))


# --- the operation below the layer ------------------------------------------------------------------------------------


@every_wrap
def test_the_operations_check_what_they_get(wrap: Wrap) -> None:
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"must be rank 2|must have shape"):
        wrap(lambda: ops.fastseq_embedding_forward([1], tf.zeros(3), dense_gradient=False))()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"must be rank 2|must have shape"):
        wrap(lambda: ops.fastseq_embedding_backward([1], tf.zeros(3), input_dim=3, squared=False))()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"doutputs must have shape \(2, 4\), got \(3, 4\)"):
        wrap(lambda: ops.fastseq_embedding_backward([1, 2], tf.zeros((3, 4)), input_dim=3, squared=False))()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"ids must be in \[0, 3\), got 3 at \(1,\)"):
        wrap(lambda: ops.fastseq_embedding_backward([1, 3], tf.zeros((2, 4)), input_dim=3, squared=False))()

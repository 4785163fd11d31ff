"""FastDropout and FastSpatialDropout1D beside their stock twins: the same bits for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, tf
from layer_cases import assert_same_histories, keras_can_drop_everything
from processes import run_python

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

from fastseq import reference, runtime
from fastseq.functional import dropout
from fastseq.keras import FastDropout, FastSpatialDropout1D, NativeFallbackWarning
from fastseq.keras.backend import tensorflow as backend

TWINS = {
    "dropout": (keras.layers.Dropout, FastDropout),
    "spatial": (keras.layers.SpatialDropout1D, FastSpatialDropout1D),
}
SHAPE = (4, 9, 5)

every_kind = pytest.mark.parametrize("kind", TWINS)
every_wrap = pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])


def _x(shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> Any:
    return tf.cast(np.random.default_rng(0).standard_normal(shape), dtype)


def _pair(kind: str, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    stock, fast = TWINS[kind]
    return stock(*arguments, **options), fast(*arguments, use_native=True, **options)


def _run(layer: Any, x: Any, training: bool = True, wrap: Callable[[Any], Any] = lambda f: f) -> tuple[Any, Any]:
    """Output, and gradient by x of a loss that weighs every output."""

    @wrap
    def compute(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(tf.sin(y))
        return y, tape.gradient(loss, x)

    result: tuple[Any, Any] = compute(x)
    return result


def _assert_same_bits(stock: Any, fast: Any, what: str = "") -> None:
    assert stock.dtype == fast.dtype
    # float64 holds all of them, and signs of zeros.
    one, two = (tf.cast(t, tf.float64).numpy() for t in (stock, fast))
    np.testing.assert_array_equal(two, one, err_msg=what)
    np.testing.assert_array_equal(np.signbit(two), np.signbit(one), err_msg=what)


def _assert_twins(stock: Any, fast: Any, x: Any, **call: Any) -> None:
    for one, two in zip(_run(stock, x, **call), _run(fast, x, **call), strict=True):
        _assert_same_bits(one, two)
    if hasattr(stock, "seed_generator"):
        np.testing.assert_array_equal(fast.seed_generator.state, stock.seed_generator.state)


@pytest.mark.parametrize("seed", [(0, 0), (1, 0), (7, 2**31 - 1), (-1, -(2**31)), (2**32 + 3, -(2**63))], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_reference_has_the_random_numbers_of_tensorflow(dtype: str, seed: tuple[int, int]) -> None:
    for shape in [(), (0,), (1,), (3,), (4,), (5,), (1003,), (5, 7, 3)]:
        expected = tf.random.stateless_uniform(shape, tf.constant(seed, tf.int64), dtype=dtype)
        np.testing.assert_array_equal(reference.dropout_noise(shape, seed, dtype), tf.cast(expected, tf.float64))


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reference_matches_tensorflow(dtype: str, rate: float) -> None:
    x = _x((9, 31), dtype)
    _assert_same_bits(
        tf.nn.experimental.stateless_dropout(x, rate, (3, 4)), tf.constant(reference.dropout(x.numpy(), rate, (3, 4)))
    )


@every_wrap
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
@every_kind
def test_same_bits_as_stock_keras(kind: str, rate: float, dtype: str, wrap: Any) -> None:
    stock, fast = _pair(kind, rate, seed=7, dtype=dtype)
    for training in (True, False, True):
        _assert_twins(stock, fast, _x(dtype=dtype), training=training, wrap=wrap)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1003, 1_000_003])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_at_any_size(size: int, dtype: str) -> None:
    _assert_twins(*_pair("dropout", 0.3, seed=5, dtype=dtype), _x((size,), dtype))


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 3, 2**31, 2**40 + 7, -3])
def test_same_bits_for_any_seed(seed: int) -> None:
    _assert_twins(*_pair("dropout", 0.3, seed=seed), _x())


@pytest.mark.parametrize("rate", [1e-9, 1e-5, 1 / 3, 0.25 + 2**-23, 0.25 + 2**-24, 0.999, 1 - 1e-7, 1 - 1e-12])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_same_bits_for_any_rate(rate: float, dtype: str) -> None:
    stock, fast = _pair("dropout", rate, seed=3, dtype=dtype)
    x = _x((5000,), dtype)
    _assert_same_bits(stock(x, training=True), fast(x, training=True))


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4, 5), (2, 1, 2, 1, 2, 1, 2, 3)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    _assert_twins(*_pair("dropout", 0.3, seed=5), _x(shape))


@every_wrap
@pytest.mark.parametrize(
    "noise_shape", [(4, 9, 5), (None, 1, None), (4, 1, 5), (None, None, 1), (1, None, 1), [1, 1, 1], (9, 1), (5,), ()]
)
def test_noise_shapes(noise_shape: Any, wrap: Any) -> None:
    _assert_twins(*_pair("dropout", 0.4, noise_shape=noise_shape, seed=5), _x(), wrap=wrap)


def test_everything_dropped_as_in_stock() -> None:
    stock, fast = _pair("dropout", 1.0, seed=5)
    if keras_can_drop_everything():
        _assert_same_bits(stock(_x(), training=True), fast(_x(), training=True))
    else:
        for layer in (stock, fast):
            with pytest.raises(ValueError, match="`rate` must be a scalar tensor or a float in the range"):
                layer(_x(), training=True)
    np.testing.assert_array_equal(fast.seed_generator.state, stock.seed_generator.state)


def test_without_a_seed_layers_differ() -> None:
    one, two = FastDropout(0.5), FastDropout(0.5)
    x = tf.ones((100,))
    assert np.any(one(x, training=True) != two(x, training=True))
    assert np.any(one(x, training=True) != one(x, training=True))


@every_kind
def test_global_seed(kind: str) -> None:
    layers = []
    for twin in TWINS[kind]:
        keras.utils.set_random_seed(3)
        layers.append(twin(0.4))
    _assert_twins(*layers, _x())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_kind
def test_mixed_policies(kind: str, policy: str) -> None:
    _assert_twins(*_pair(kind, 0.3, seed=5, dtype=policy), _x())


def test_dropped_numbers_are_zero_whatever_they_were() -> None:
    stock, fast = _pair("dropout", 0.5, seed=5)
    x = tf.constant(np.tile(np.array([0.0, -0.0, np.inf, -np.inf, np.nan], "float32"), 40))
    _assert_same_bits(stock(x, training=True), fast(x, training=True))


@every_wrap
@every_kind
def test_second_order_gradients(kind: str, wrap: Any) -> None:
    def second(layer: Any) -> Any:
        @wrap
        def compute(x: Any) -> Any:
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    loss = tf.reduce_sum(layer(x, training=True) ** 3)
                first = inner.gradient(loss, x)
            return first, outer.gradient(first, x)

        return compute(_x())

    stock, fast = _pair(kind, 0.3, seed=5)
    for one, two in zip(second(stock), second(fast), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-6)


def test_input_stays_as_it_was() -> None:
    """The operation may work in its input's memory, but only where nobody else needs the input."""

    @tf.function
    def graph(x: Any, c: Any) -> Any:
        kept, given = x * 2.0, x * 3.0
        seed = tf.constant([1, 2], tf.int64)
        one = backend.dropout(kept, 0.5, seed, noise_shape=None)
        two = backend.dropout(given, 0.5, seed, noise_shape=None)
        return kept, one, two, backend.dropout(x, 0.5, seed, noise_shape=None), c + x

    x = _x((2000, 300))
    before = x.numpy().copy()
    kept, one, two, direct, _ = graph(x, 1.0)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(kept, before * 2)
    dropped = dropout(before, 0.5, (1, 2))
    for got, factor in ((one, 2), (two, 3), (direct, 1)):
        np.testing.assert_array_equal(got, dropout(before * np.float32(factor), 0.5, (1, 2)))
    assert 0.4 < np.mean(dropped == 0) < 0.6


@every_kind
def test_threads_and_instruction_sets_have_the_same_bits(kind: str, isa: str) -> None:
    x = _x((64, 100, 50))
    stock, fast = _pair(kind, 0.3, seed=5)
    expected = stock(x, training=True)
    for threads in (1, 2, 5):
        runtime.set_num_threads(threads)
        fast.seed_generator.state.assign([5, 0])
        _assert_same_bits(expected, fast(x, training=True), f"{threads} threads")


# Around bytes of a mask, the 16 elements packed at once, blocks of 256; for several threads.
MASK_SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 255, 256, 257, 511, 512, 513, 100_003, 1_000_003]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_saved_mask_is_the_one_drawn_again(isa: str, dtype: str, threads: int) -> None:
    ops = backend.library.ops
    runtime.set_num_threads(threads)
    native = "float64" if dtype == "float64" else "float32"
    cast_from = dtype if native != dtype else "none"
    rate, seed = tf.constant(0.3, tf.float64), tf.constant([5, 9], tf.int64)
    for size in MASK_SIZES:
        x, dy = (_x((size,), native) + number for number in (0, 100))
        options = {"cast_from": cast_from, "noise_shape": []}
        y, mask = ops.fastseq_dropout(x, rate, seed, save_mask=True, **options)
        dx = ops.fastseq_dropout_gradient(dy, mask, rate, cast_from=cast_from)
        again, nothing = ops.fastseq_dropout(x, rate, seed, save_mask=False, **options)
        assert nothing.shape == (0,)
        _assert_same_bits(again, y, f"{size}")
        _assert_same_bits(ops.fastseq_dropout(dy, rate, seed, save_mask=False, **options).y, dx, f"{size}")
        kept = reference.dropout_noise((size,), (5, 9), dtype) >= float(tf.cast(tf.constant(0.3, tf.float64), dtype))
        np.testing.assert_array_equal(mask, np.packbits(kept, bitorder="little"), err_msg=f"{size}")


def test_dropped_gradients_are_zero_whatever_they_were() -> None:
    ops = backend.library.ops
    rate = tf.constant(0.5, tf.float64)
    dy = tf.constant([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, np.nan, -3.0, -0.0, np.nan])
    mask = tf.constant([0b10000001, 0b01], tf.uint8)
    expected = tf.constant([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -6.0, -0.0, 0.0])
    _assert_same_bits(expected, ops.fastseq_dropout_gradient(dy, mask, rate, cast_from="none"))


@pytest.mark.parametrize("noise_shape", [None, (None, 1, None)])
def test_mask_is_kept_where_noise_is_not_shared(noise_shape: Any) -> None:
    seed = tf.constant([1, 2], tf.int64)

    @tf.function
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = backend.dropout(x, 0.5, seed, noise_shape=noise_shape)
        return tape.gradient(y, x)

    operations = [op.type for op in gradient.get_concrete_function(_x()).graph.get_operations()]
    drawn, read = ("FastseqDropout", "FastseqDropoutGradient")
    assert (operations.count(drawn), operations.count(read)) == ((1, 1) if noise_shape is None else (2, 0))


@every_kind
def test_masks_pass_through(kind: str) -> None:
    stock, fast = _pair(kind, 0.3, seed=5)
    assert fast.supports_masking == stock.supports_masking
    mask = tf.constant(np.random.default_rng(0).random(SHAPE[:2]) < 0.5)
    assert fast.compute_mask(_x(), mask) is mask


def _model(layer: Any) -> Any:
    model = keras.Sequential([keras.Input(SHAPE[1:]), keras.layers.Dense(8), layer, keras.layers.Dense(1)])
    model.set_weights([np.random.default_rng(0).standard_normal(w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("run_eagerly", [False, True])
@every_kind
def test_fit_gives_the_same_history_as_stock(kind: str, run_eagerly: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, *SHAPE[1:])).astype("float32"), rng.random((40, 9, 1)).astype("float32")
    histories, states = [], []
    for twin in TWINS[kind]:
        keras.utils.set_random_seed(0)
        layer = twin(0.3, seed=7)
        model = _model(layer)
        # XLA has its own rounding.
        model.compile("sgd", "mse", run_eagerly=run_eagerly, jit_compile=False)
        histories.append(model.fit(x, y, batch_size=10, epochs=3, validation_split=0.25, verbose=0).history)
        states.append(layer.seed_generator.state.numpy())
    assert_same_histories(histories, rtol=1e-5)
    np.testing.assert_array_equal(states[0], [7, 9])
    np.testing.assert_array_equal(states[1], states[0])


@every_kind
def test_unknown_dimensions(kind: str) -> None:
    stock, fast = _pair(kind, 0.3, seed=5)
    x = keras.Input((None, 5))
    assert fast(x).shape == stock(x).shape == (None, None, 5)
    graphs = [
        tf.function(lambda x, layer=layer: layer(x, training=True), input_signature=[tf.TensorSpec((None, None, 5))])
        for layer in (stock, fast)
    ]
    _assert_same_bits(*(graph(_x()) for graph in graphs))
    assert graphs[1].get_concrete_function().output_shapes.as_list() == [None, None, 5]


@every_kind
def test_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    loaded = []
    for twin in TWINS[kind]:
        layer = twin(0.3, seed=7, name="drop")
        model = _model(layer)
        layer(_x(), training=True)
        model.save(tmp_path / f"{twin.__qualname__}.keras")
        model.save_weights(tmp_path / f"{twin.__qualname__}.weights.h5")
        loaded.append(keras.models.load_model(tmp_path / f"{twin.__qualname__}.keras").get_layer("drop"))
        assert type(loaded[-1]) is twin
    _assert_twins(*loaded, _x())
    for source, target in (TWINS[kind], TWINS[kind][::-1]):
        _model(target(0.3, name="drop")).load_weights(tmp_path / f"{source.__qualname__}.weights.h5")


@every_kind
def test_config_is_the_stock_layers(kind: str) -> None:
    stock, fast = TWINS[kind]
    options = {"rate": 0.3, "seed": 7, "name": "drop"}
    auto = fast(**options)
    assert auto.get_config() == stock(**options).get_config()
    assert fast.from_config(auto.get_config()).use_native == "auto"
    assert fast.from_config({**auto.get_config(), "use_native": False}).use_native is False
    assert fast(**options, use_native=True).get_config() == {**auto.get_config(), "use_native": True}


@every_kind
def test_exported_model_in_a_fresh_process(kind: str, tmp_path: Path) -> None:
    class Training(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = TWINS[kind][1](0.3, seed=7)
            self.state = self.layer.seed_generator.state.value

        @tf.function(input_signature=[tf.TensorSpec((None, None, 5))])  # type: ignore[untyped-decorator]
        def outputs(self, x: Any) -> Any:
            return self.layer(x, training=True)

    module = Training()
    tf.saved_model.save(module, str(tmp_path / "model"))
    np.save(tmp_path / "x.npy", _x())
    code = f"""
import numpy as np, tensorflow as tf
folder = {str(tmp_path)!r}
model = tf.saved_model.load(folder + "/model")
x = tf.constant(np.load(folder + "/x.npy"))
np.save(folder + "/got.npy", np.stack([model.outputs(x), model.outputs(x)]))
"""
    done = run_python(code, TF_CPP_MIN_LOG_LEVEL="2")
    assert done.returncode == 0, done.stderr[-2000:]
    stock = TWINS[kind][0](0.3, seed=7)
    expected = np.stack([stock(_x(), training=True), stock(_x(), training=True)])
    np.testing.assert_array_equal(np.load(tmp_path / "got.npy"), expected)


@every_kind
def test_use_native_false_is_stock(kind: str) -> None:
    stock, fast = TWINS[kind][0](0.3, seed=7), TWINS[kind][1](0.3, seed=7, use_native=False)
    assert fast.supports_jit == stock.supports_jit
    assert not TWINS[kind][1](0.3).supports_jit
    _assert_twins(stock, fast, _x())


def test_falls_back_with_a_reason() -> None:
    x = _x((5, 5, 5))
    options = {"noise_shape": (None, 1), "seed": 7}
    stock, auto, native = (
        keras.layers.Dropout(0.3, **options),
        FastDropout(0.3, **options),
        FastDropout(0.3, use_native=True, **options),
    )
    reason = r"noise_shape must have 3 sizes where some are None, got \(None, 1\)"
    with pytest.raises(ValueError, match=reason):
        native(x, training=True)
    np.testing.assert_array_equal(native(x), x)
    with pytest.warns(NativeFallbackWarning, match=f"runs on stock Keras.*: {reason}"):
        _assert_same_bits(stock(x, training=True), auto(x, training=True))


def test_too_many_dimensions_fail_as_in_stock() -> None:
    x = _x((1,) * 8 + (40,))
    with pytest.raises(ValueError, match="inputs must have a known number of at most 8 dimensions, got shape"):
        FastDropout(0.3, use_native=True)(x, training=True)
    for layer in (keras.layers.Dropout(0.3), FastDropout(0.3, use_native=False)):
        with pytest.raises(tf.errors.UnimplementedError, match="Broadcast between"):
            layer(x, training=True)


def test_integers_fail_as_in_stock() -> None:
    with (
        pytest.warns(NativeFallbackWarning, match="inputs must have one of the dtypes .*, got int32"),
        pytest.raises(ValueError, match="must be a floating point tensor"),
    ):
        FastDropout(0.3)(tf.ones((3,), tf.int32), training=True)


def test_bad_arguments() -> None:
    for rate in (-0.1, 1.1):
        with pytest.raises(ValueError, match="rate"):
            FastDropout(rate)
    with pytest.raises(ValueError, match=r"use_native must be 'auto', True or False, got 'yes'"):
        FastDropout(0.3, use_native="yes")
    with pytest.raises(ValueError, match="expected ndim=3"):
        FastSpatialDropout1D(0.3)(tf.ones((3, 4)), training=True)
    with pytest.raises(ValueError, match="noise_shape"):
        FastDropout(0.3, noise_shape=(0, 1), use_native=True)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"broadcastable to x's shape \(4, 9, 5\), got \(4, 2, 5\)"
    ):
        FastDropout(0.3, noise_shape=(4, 2, 5))(_x(), training=True)


@every_wrap
@pytest.mark.parametrize("change", [{"seed": [1, 2, 3]}, {"seed": 1}, {"rate": [0.5]}])
def test_operation_checks_shapes(change: dict[str, Any], wrap: Any) -> None:
    inputs = {"rate": 0.5, "seed": [1, 2], **change}

    def call() -> Any:
        rate, seed = tf.constant(inputs["rate"], tf.float64), tf.constant(inputs["seed"], tf.int64)
        return backend.library.ops.fastseq_dropout(_x(), rate, seed, cast_from="none", noise_shape=[], save_mask=False)

    message = r"rate must have shape \(\), and seed \(2,\)|must be rank"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        wrap(call)()


@every_wrap
@pytest.mark.parametrize(
    ("mask", "rate", "message"),
    [
        (np.zeros(22, np.uint8), 0.5, r"mask must have shape \(23,\), got \(22,\)"),
        (np.zeros((23, 1), np.uint8), 0.5, r"mask must have shape \(23,\), got \(23, 1\)|must be rank"),
        (np.zeros(23, np.uint8), [0.5], r"rate must have shape \(\)|must be rank"),
        (np.zeros(23, np.uint8), 1.5, r"rate must be in \[0, 1\], got 1\.5"),
    ],
)
def test_gradient_checks_its_inputs(mask: Any, rate: Any, message: str, wrap: Any) -> None:
    def call() -> Any:
        return backend.library.ops.fastseq_dropout_gradient(
            _x(), tf.constant(mask), tf.constant(rate, tf.float64), cast_from="none"
        )

    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        wrap(call)()


def test_no_mask_of_shared_noise() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="mask must be absent where noise_shape is not x's shape"):
        backend.library.ops.fastseq_dropout(
            _x(),
            tf.constant(0.5, tf.float64),
            tf.constant([1, 2], tf.int64),
            cast_from="none",
            noise_shape=[-1, 1, -1],
            save_mask=True,
        )


def test_noise_of_a_scalar() -> None:
    stock, fast = (layer(0.5, noise_shape=(), seed=1) for layer in (keras.layers.Dropout, FastDropout))
    for _ in range(5):
        np.testing.assert_array_equal(fast(tf.constant(1.0), training=True), stock(tf.constant(1.0), training=True))

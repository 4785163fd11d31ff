"""FastAdam beside its stock twin: same arguments, same variables, same training, same files."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends import ABOUT_TENSORFLOW, tf
from tolerances import STOCK, assert_close

if tf is None:
    pytest.skip(ABOUT_TENSORFLOW, allow_module_level=True)

from fastseq.keras import FastAdam, FastEmbedding, NativeFallbackWarning
from fastseq.keras.backend.tensorflow.library import ops

StockAdam = keras.optimizers.Adam
Wrap = Callable[[Any], Any]
ROWS, COLUMNS = 11, 5

every_wrap = pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
every_embedding = pytest.mark.parametrize("embedding", [keras.layers.Embedding, FastEmbedding], ids=["stock", "fast"])


def _fast(*arguments: Any, **named: Any) -> Any:
    return FastAdam(*arguments, **{"use_native": True, **named})


def _as_double(variable: Any) -> Any:
    """Exactly, from any dtype."""
    return tf.cast(variable.value, tf.float64).numpy()


def _gradients(kind: str, dtype: str = "float32") -> list[Any]:
    """Of a table, step by step."""
    rng = np.random.default_rng(0)
    if kind == "dense":
        return [tf.constant(rng.standard_normal((ROWS, COLUMNS)), dtype) for _ in range(6)]
    return [
        tf.IndexedSlices(
            tf.constant(rng.standard_normal((23, COLUMNS)), dtype),
            tf.constant(rng.integers(0, ROWS - 1, 23), kind),
            tf.constant([ROWS, COLUMNS]),
        )
        for _ in range(6)
    ]


def _trained(optimizer: Any, gradients: Sequence[Any], wrap: Wrap = lambda f: f, dtype: str = "float32") -> list[Any]:
    """The variable and the optimizer's own, after a step with each gradient."""
    table = np.random.default_rng(1).standard_normal((ROWS, COLUMNS))
    variable = keras.Variable(table, dtype=dtype, name="table")
    optimizer.build([variable])

    @wrap
    def step(gradient: Any) -> None:
        optimizer.apply([gradient], [variable])

    for gradient in gradients:
        step(gradient)
    arrays = [_as_double(one) for one in (variable, *optimizer.variables)]
    assert np.abs(arrays[0] - table).max() > 1e-3
    return arrays


def _assert_same(got: Sequence[Any], expected: Sequence[Any], tolerance: float = STOCK["float32"]) -> None:
    for number, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        assert_close(mine, theirs, tolerance, f"variable {number}")


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "betas": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    "amsgrad": {"amsgrad": True, "beta_2": 0.5},
    "weight decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.2},
    "global clipnorm": {"global_clipnorm": 0.5},
    "ema": {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 2},
    "accumulation": {"gradient_accumulation_steps": 2},
}


@every_wrap
@pytest.mark.parametrize("kind", ["dense", "int32", "int64"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_trains_as_stock_does(settings: str, kind: str, wrap: Wrap) -> None:
    results = [_trained(adam(0.03, **SETTINGS[settings]), _gradients(kind), wrap) for adam in (StockAdam, _fast)]
    _assert_same(results[1], results[0])


@every_wrap
@pytest.mark.parametrize("kind", ["dense", "int32"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_has_the_bits_of_stock(dtype: str, kind: str, wrap: Wrap) -> None:
    stock, fast = (_trained(adam(0.03), _gradients(kind, dtype), wrap, dtype) for adam in (StockAdam, _fast))
    for mine, theirs in zip(fast, stock, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@every_wrap
@pytest.mark.parametrize("kind", ["dense", "int32"])
def test_schedule(kind: str, wrap: Wrap) -> None:
    results = []
    for adam in (StockAdam, _fast):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        results.append(_trained(adam(schedule), _gradients(kind), wrap))
    _assert_same(results[1], results[0])


@every_wrap
def test_learning_rate_set_between_steps(wrap: Wrap) -> None:
    results = []
    for adam in (StockAdam, _fast):
        optimizer = adam(0.1)
        variable = keras.Variable(np.ones(7, "float32"))
        optimizer.build([variable])
        step = wrap(functools.partial(optimizer.apply, [tf.ones(7)], [variable]))
        for rate in (0.1, 0.03, 0.7):
            optimizer.learning_rate = rate
            step()
        results.append(variable.numpy())
    assert_close(results[1], results[0], STOCK["float32"])


@every_wrap
def test_loss_scaling(wrap: Wrap) -> None:
    results = [
        _trained(keras.optimizers.LossScaleOptimizer(adam(0.03), initial_scale=4.0), _gradients("dense"), wrap)
        for adam in (StockAdam, _fast)
    ]
    _assert_same(results[1], results[0])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4), (0,), (0, 3)])
def test_variables_of_any_shape(shape: tuple[int, ...]) -> None:
    results = []
    for adam in (StockAdam, _fast):
        variable, optimizer = keras.Variable(np.ones(shape, "float32")), adam(0.1)
        optimizer.build([variable])
        optimizer.apply([tf.fill(shape, 0.3)], [variable])
        results.append(variable.numpy())
    assert results[1].shape == shape
    assert_close(results[1], results[0], STOCK["float32"])


def test_gradients_of_half_types() -> None:
    """As they come to float32 variables where only the layer is mixed."""
    gradients = [tf.cast(gradient, tf.float16) for gradient in _gradients("dense")]
    stock, fast = (_trained(adam(0.03), gradients) for adam in (StockAdam, _fast))
    _assert_same(fast, stock)


@every_wrap
def test_indices_out_of_range(wrap: Wrap) -> None:
    slices = tf.IndexedSlices(tf.ones((2, COLUMNS)), tf.constant([3, ROWS]), tf.constant([ROWS, COLUMNS]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices must be in \[0, 11\), got 11 at \(1,\)"):
        _trained(_fast(), [slices], wrap)


# --- models -----------------------------------------------------------------------------------------------------------


def _model(optimizer: Any, embedding: Any = keras.layers.Embedding, **compile_arguments: Any) -> Any:
    keras.backend.clear_session()  # names count from zero
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            embedding(50, 24),
            keras.layers.Flatten(),
            keras.layers.Dense(13, activation="tanh"),
            keras.layers.Dense(1),
        ],
        name="model",
    )
    model.compile(optimizer(), "mse", **compile_arguments)
    return model


def _fit(model: Any, epochs: int = 3) -> Any:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, (64, 7)).astype("int32"), rng.standard_normal((64, 1)).astype("float32")
    model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, shuffle=False)
    return model


def _state(model: Any) -> list[Any]:
    return [_as_double(one) for one in (*model.weights, *model.optimizer.variables)]


@every_embedding
@pytest.mark.parametrize("settings", ["plain", "amsgrad", "weight decay", "global clipnorm", "accumulation"])
def test_fits_as_stock_does(settings: str, embedding: Any) -> None:
    stock, fast = (
        _fit(_model(lambda adam=adam: adam(0.01, **SETTINGS[settings]), embedding)) for adam in (StockAdam, _fast)
    )
    _assert_same(_state(fast), _state(stock))


def test_fits_eagerly() -> None:
    stock, fast = (_fit(_model(adam, FastEmbedding, run_eagerly=True), epochs=1) for adam in (StockAdam, _fast))
    _assert_same(_state(fast), _state(stock))


def test_steps_per_execution() -> None:
    stock, fast = (_fit(_model(adam, steps_per_execution=2)) for adam in (StockAdam, _fast))
    _assert_same(_state(fast), _state(stock))


def test_names_are_those_of_stock() -> None:
    """Names of optimizers and of their variables, and so what a file of weights has them under."""
    names = []
    for adam in (StockAdam, _fast):
        model = _fit(_model(lambda adam=adam: adam(amsgrad=True)), epochs=1)
        names.append([model.optimizer.name, *(variable.path for variable in model.optimizer.variables)])
    assert names[1] == names[0]
    assert FastAdam.__name__ == "Adam"


def test_replaces_the_dozen_operations() -> None:
    """Nothing of a step but ours has a table's shape."""
    variable, optimizer = keras.Variable(np.ones((ROWS, COLUMNS), "float32")), _fast()
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    graph = step.get_concrete_function(_gradients("int32")[0]).graph
    types = [
        operation.type
        for operation in graph.get_operations()
        if any(output.shape == (ROWS, COLUMNS) for output in operation.outputs)
    ]
    assert sorted(set(types)) == ["FastseqAdam", "ReadVariableOp"]


@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"use_ema": True}], ids=str)
@pytest.mark.parametrize("whole", [True, False], ids=["model", "weights"])
def test_files_fit_either_way(whole: bool, settings: dict[str, Any], tmp_path: Path) -> None:
    """Training goes on after a change of twins as it would without."""
    expected = _state(_fit(_fit(_model(lambda: StockAdam(0.01, **settings)))))
    for first, then in ((StockAdam, _fast), (_fast, StockAdam)):
        trained = _fit(_model(lambda first=first: first(0.01, **settings)))
        path = str(tmp_path / ("model.keras" if whole else "model.weights.h5"))
        (trained.save if whole else trained.save_weights)(path)
        model = _model(lambda then=then: then(0.01, **settings))
        model.optimizer.build(model.trainable_variables)
        if whole:
            saved = keras.models.load_model(path)
            assert type(saved.optimizer) is type(trained.optimizer)
            assert saved.optimizer.get_config() == trained.optimizer.get_config()
            model.set_weights(saved.get_weights())
            for mine, theirs in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
                mine.assign(theirs)
        else:
            model.load_weights(path)
        _assert_same(_state(_fit(model)), expected)


def test_config() -> None:
    for arguments in ({}, {"amsgrad": True, "weight_decay": 0.1, "clipnorm": 2.0}, {"use_native": False}):
        optimizer = FastAdam(0.01, **arguments)
        config = optimizer.get_config()
        stock = StockAdam(0.01, **{name: value for name, value in arguments.items() if name != "use_native"})
        extra = {name: value for name, value in config.items() if name not in stock.get_config()}
        assert extra == {name: value for name, value in arguments.items() if name == "use_native"}
        again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert type(again) is FastAdam
        assert again.get_config() == config
        assert FastAdam.from_config(config).get_config() == config
    assert type(keras.optimizers.get("adam")) is StockAdam


# --- what the kernels do not cover ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_variables_are_updated_by_stock(dtype: str) -> None:
    gradients = [tf.cast(gradient, dtype) for gradient in _gradients("dense")]
    expected = _trained(StockAdam(0.03, epsilon=1e-3), gradients, dtype=dtype)
    with pytest.warns(
        NativeFallbackWarning, match=rf"Optimizer 'adam.*' runs on stock .*: variables must be of .* got {dtype}"
    ) as told:
        got = _trained(FastAdam(0.03, epsilon=1e-3), gradients, dtype=dtype)
    assert len(told) == 1
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match=f"use_native=True, but the kernels cannot run optimizer .* got {dtype}"):
        _trained(_fast(0.03), gradients, dtype=dtype)


def test_a_step_compiled_by_xla_is_left_to_stock() -> None:
    expected = _state(_fit(_model(StockAdam, jit_compile=True)))
    with pytest.warns(NativeFallbackWarning, match="XLA compiles what is computed here"):
        model = _fit(_model(FastAdam, jit_compile=True))
    assert model.jit_compile
    _assert_same(_state(model), expected)


def test_a_loop_is_not_xla() -> None:
    """Graphs within graphs, with control flow, are looked through."""
    variable, optimizer = keras.Variable(np.ones(7, "float32")), _fast()
    optimizer.build([variable])

    @tf.function
    def steps(count: Any) -> None:
        for _ in tf.range(count):
            optimizer.apply([tf.ones(7)], [variable])

    steps(tf.constant(5))
    assert int(optimizer.iterations) == 5


def test_op_takes_no_arrays_it_has_no_use_for() -> None:
    one, two, scalars = [tf.ones(3)], [tf.ones(3)] * 2, [tf.constant(0.1, tf.float64)] * 4
    with pytest.raises(tf.errors.InvalidArgumentError, match="one velocity_hat for each variable, or none"):
        ops.fastseq_adam(*[two] * 3, one, two, [], *scalars)
    slices, indices = [tf.ones((2, 3))], [tf.constant([0, 1])]
    for states, gradients, ids in ((one, slices, indices * 2), (two, slices * 2, indices)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="indices must be absent, or one array for one var"):
            ops.fastseq_adam(*[states] * 3, [], gradients, ids, *scalars)


def _many_variables() -> list[Any]:
    """Around the sizes that threads and vectors divide, of two dtypes, one without elements."""
    shapes = [(), (1,), (0, 3), (7, 5), (300, 1000), (64,), (3,), (257, 129)]
    rng = np.random.default_rng(2)
    return [
        keras.Variable(rng.standard_normal(shape), dtype=dtype, name=f"variable_{number}")
        for number, (shape, dtype) in enumerate(zip(shapes, ["float32", "float32", "float64"] * 3, strict=False))
    ]


def _trained_together(optimizer: Any, wrap: Wrap) -> list[Any]:
    """All variables after three steps of one optimizer."""
    variables = _many_variables()
    optimizer.build(variables)
    table = next(i for i, variable in enumerate(variables) if variable.shape == (7, 5))

    @wrap
    def step(*gradients: Any) -> None:
        slices = tf.IndexedSlices(gradients[table][:4], tf.constant([1, 3, 1, 6]), tf.constant([7, 5]))
        optimizer.apply([*gradients[:table], slices, *gradients[table + 1 :]], variables)

    rng = np.random.default_rng(3)
    for _ in range(3):
        step(*(tf.constant(rng.standard_normal(one.shape), one.dtype) for one in variables))
    return [_as_double(one) for one in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"gradient_accumulation_steps": 2}], ids=str)
@every_wrap
def test_many_variables_are_updated_as_by_stock(wrap: Wrap, settings: dict[str, Any]) -> None:
    _assert_same(_trained_together(_fast(0.03, **settings), wrap), _trained_together(StockAdam(0.03, **settings), wrap))


def _count_ops(optimizer: Any) -> int:
    variables = _many_variables()
    optimizer.build(variables)

    @tf.function
    def step() -> None:
        optimizer.apply([tf.ones(one.shape, one.dtype) for one in variables], variables)

    return sum(op.type == "FastseqAdam" for op in step.get_concrete_function().graph.get_operations())


def test_one_operation_for_all_variables_of_a_dtype() -> None:
    assert _count_ops(_fast()) == 2


def test_an_update_step_of_ones_own_is_called() -> None:
    """By a subclass, an instance or a patch: for every variable, as stock Keras calls it."""
    called = []

    class Own(FastAdam):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            called.append(variable.shape)
            super().update_step(gradient, variable, learning_rate)

    optimizer = FastAdam()
    bound = optimizer.update_step
    optimizer.update_step = lambda gradient, variable, rate: (
        called.append(variable.shape) or bound(gradient, variable, rate)
    )
    for one in (Own(), optimizer):
        called.clear()
        assert _count_ops(one) == len(_many_variables())
        assert called == [variable.shape for variable in _many_variables()]
    with pytest.MonkeyPatch.context() as patch:
        called.clear()
        patch.setattr(FastAdam, "update_step", lambda self, gradient, variable, rate: called.append(variable.shape))
        assert _count_ops(FastAdam()) == 0
        assert len(called) == len(_many_variables())


def test_replicas_update_their_own_copies() -> None:
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        optimizer = _fast(0.03)
        variables = [keras.Variable(np.ones(3, "float32")), keras.Variable(np.ones((2, 2), "float32"))]
        optimizer.build(variables)
    stock, others = StockAdam(0.03), [keras.Variable(np.ones(3, "float32")), keras.Variable(np.ones((2, 2), "float32"))]
    stock.build(others)
    strategy.run(lambda: optimizer.apply([tf.ones(3), tf.ones((2, 2))], variables))
    stock.apply([tf.ones(3), tf.ones((2, 2))], others)
    _assert_same([_as_double(one) for one in variables], [_as_double(one) for one in others])


def test_use_native() -> None:
    with pytest.raises(ValueError, match="use_native must be 'auto', True or False, got 'never'"):
        FastAdam(use_native="never")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients = [tf.cast(gradient, tf.bfloat16) for gradient in _gradients("dense")]
        _trained(FastAdam(0.03, use_native=False), gradients, dtype="bfloat16")
        stock, off = (
            _trained(adam, _gradients("int32")) for adam in (StockAdam(0.03), FastAdam(0.03, use_native=False))
        )
    for mine, theirs in zip(off, stock, strict=True):
        np.testing.assert_array_equal(mine, theirs)

"""What is Keras's on JAX alone: compiled training, devices, export. The tests of layers run on every backend."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from processes import run_python

if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

import jax
import jax.numpy as jnp

import fastseq.keras as fast
from fastseq.keras import backend


def test_training_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ragged last batch is one compilation more, and epochs later there is none."""
    traced: list[tuple[int, ...]] = []
    rnn = backend.load().rnn
    monkeypatch.setattr(
        backend.load(), "rnn", lambda cell, inputs, **rest: traced.append(inputs[0].shape) or rnn(cell, inputs, **rest)
    )
    model = keras.Sequential([keras.Input((7, 3)), fast.FastLSTM(5), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = np.ones((40, 7, 3), "float32"), np.ones((40, 1), "float32")
    assert model.jit_compile
    traced.clear()
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    first = len(traced)
    assert {shape[0] for shape in traced} == {16, 8}
    model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    assert len(traced) == first


@pytest.mark.filterwarnings("ignore")  # of JAX's converter
def test_exported_models_run_without_fastseq(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="Keras exports by TensorFlow")
    model = keras.Sequential([keras.Input((7, 3)), fast.FastConv1D(4, 3), fast.FastMaxPooling1D(2), fast.FastLSTM(5)])
    x = np.ones((2, 7, 3), "float32")
    expected = model.predict(x, verbose=0)
    model.export(tmp_path / "served", verbose=False)
    code = f"""
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load({str(tmp_path / "served")!r})
print(loaded.serve(np.ones((2, 7, 3), "float32")).numpy().tolist())
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(ast.literal_eval(done.stdout.strip()), expected, atol=1e-5)


DISTRIBUTED = """
import jax
import keras
import numpy as np
import fastseq.keras as fast

assert jax.device_count() == 2
rng = np.random.default_rng(0)
x, y = rng.integers(1, 30, (32, 20)), rng.standard_normal((32, 1)).astype("float32")
x[:, 15:] = 0

def losses():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((20,), dtype="int32"),
        keras.layers.Embedding(30, 8, mask_zero=True),
        keras.layers.Bidirectional(fast.FastLSTM(6, return_sequences=True, use_native=True)),
        fast.FastGRU(5, return_sequences=True, use_native=True),
        fast.FastConv1D(8, 3, activation="relu", use_native=True),
        fast.FastMaxPooling1D(2, use_native=True),
        fast.FastSimpleRNN(6, use_native=True),
        keras.layers.Dense(1),
    ])
    model.compile("adam", "mse")
    return model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]

alone = losses()
devices = keras.distribution.list_devices("cpu")
assert len(devices) == 2
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
np.testing.assert_allclose(losses(), alone, rtol=1e-5)
print("equal")
"""


def test_data_parallel_training_is_that_of_one_device() -> None:
    done = run_python(DISTRIBUTED, XLA_FLAGS="--xla_force_host_platform_device_count=2", KERAS_BACKEND="jax")
    assert done.stdout.strip() == "equal", done.stderr[-3000:]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Dropout", {}),
        ("Dropout", {"noise_shape": (None, 1, None)}),
        ("Dropout", {"noise_shape": (5,)}),
        ("Dropout", {"noise_shape": ()}),
        ("SpatialDropout1D", {}),
    ],
)
def test_dropout_has_the_bits_of_stock(name: str, options: dict[str, Any], dtype: str) -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal((20, 7, 5)), dtype).at[0, 0, 0].set(jnp.nan)

    def trained(layer: Any) -> Any:
        def loss(x: Any, state: Any) -> Any:
            y, state = layer.stateless_call([], state, x, training=True)
            return (y * y).astype("float32").sum(), (y, state)

        step = jax.jit(jax.grad(loss, has_aux=True))
        state = [variable.value for variable in layer.non_trainable_variables]
        return [array for _ in range(2) for array in (lambda dx, aux: (dx, aux[0]))(*step(x, state))]

    common = {"seed": 5, "dtype": dtype, **options}
    stock = getattr(keras.layers, name)(0.3, **common)
    native = getattr(fast, f"Fast{name}")(0.3, use_native=True, **common)
    for layer in (stock, native):
        layer.build(x.shape)
    for got, expected in zip(trained(native), trained(stock), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def test_dropout_draws_with_the_kernel() -> None:
    layer = fast.FastDropout(0.3, seed=5, use_native=True)
    layer.build((20, 7, 5))
    state = [variable.value for variable in layer.non_trainable_variables]
    drop = jax.jit(lambda x, state: layer.stateless_call([], state, x, training=True))
    assert "fastseq" in drop.lower(jnp.ones((20, 7, 5)), state).as_text()

"""Keras on PyTorch: fast layers beside stock ones, in a process of its own (KERAS_BACKEND=torch)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from processes import run
from tolerances import HALF, STOCK, assert_close

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend here (KERAS_BACKEND=torch)", allow_module_level=True)

import fastseq.keras  # noqa: E402
from fastseq.keras.native import NativeChoice  # noqa: E402

BATCH, TIMESTEPS, INPUTS, UNITS = 4, 9, 5, 6
RECURRENT = {
    "LSTM": [{}, {"use_bias": False, "go_backwards": True}, {"activation": "relu", "recurrent_activation": "tanh"}],
    "GRU": [{}, {"reset_after": False}, {"go_backwards": True, "recurrent_activation": "hard_sigmoid"}],
    "SimpleRNN": [{}, {"activation": "relu", "use_bias": False}, {"go_backwards": True}],
}
OTHERS: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "Conv1D": [
        ((7, 3), {"padding": padding, **settings})
        for padding in ("valid", "same", "causal")
        for settings in ({}, {"strides": 2, "activation": "relu"}, {"dilation_rate": 2, "use_bias": False})
    ],
    "MaxPooling1D": [((2,), {}), ((3, 2), {"padding": "same"})],
    "AveragePooling1D": [((2,), {}), ((3, 2), {"padding": "same"})],
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    keras.utils.set_random_seed(0)


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def pair(name: str, *arguments: Any, shape: tuple[int, ...] = (None, TIMESTEPS, INPUTS), **settings: Any) -> Any:  # type: ignore[assignment]
    """A stock layer and a fast one with its weights, both built; the fast one must use the kernels."""
    stock = getattr(keras.layers, name)(*arguments, **settings)
    fast = getattr(fastseq.keras, f"Fast{name}")(*arguments, **settings, use_native=True)
    for layer in (stock, fast):
        layer.build(shape)
    fast.set_weights(stock.get_weights())
    return stock, fast


def results_and_gradients(layer: Any, x: Any, **call: Any) -> list[Any]:
    keras.utils.set_random_seed(1)
    x = torch.tensor(x, dtype=getattr(torch, layer.compute_dtype), requires_grad=True)
    outputs = layer(x, **call)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    loss = sum((output.float() ** 2).sum() for output in outputs)
    wanted = [x, *(weight.value for weight in layer.trainable_weights)]
    return [one.detach().float().numpy() for one in (*outputs, *torch.autograd.grad(loss, wanted))]


def assert_same(stock: Any, fast: Any, x: Any, tolerance: float = STOCK["float32"], **call: Any) -> None:
    both = [results_and_gradients(layer, x, **call) for layer in (stock, fast)]
    for one, two in zip(*both, strict=True):
        assert_close(two, one, tolerance)


@pytest.mark.parametrize("mask", [None, "after", "before", "all"])
@pytest.mark.parametrize(
    "modes", [{}, {"return_sequences": True, "return_state": True}, {"zero_output_for_mask": True}]
)
@pytest.mark.parametrize(("name", "settings"), [(name, one) for name, all_of in RECURRENT.items() for one in all_of])
def test_recurrent_layers(name: str, settings: dict[str, Any], modes: dict[str, Any], mask: str | None) -> None:
    if "zero_output_for_mask" in modes and name == "SimpleRNN":
        modes = {**modes, "return_sequences": True}
    stock, fast = pair(name, UNITS, **settings, **modes)
    steps = np.arange(TIMESTEPS)
    masks = {"after": steps < 6, "before": steps >= 2, "all": steps < 0}
    call = {} if mask is None else {"mask": np.tile(masks[mask], (BATCH, 1))}
    assert_same(stock, fast, numbers(BATCH, TIMESTEPS, INPUTS), **call)


@pytest.mark.parametrize("name", RECURRENT)
def test_dropout_draws_the_same_numbers(name: str) -> None:
    stock, fast = pair(name, UNITS, dropout=0.3, recurrent_dropout=0.2, seed=3)
    assert_same(stock, fast, numbers(BATCH, TIMESTEPS, INPUTS), training=True)


@pytest.mark.parametrize("name", RECURRENT)
def test_states(name: str) -> None:
    stock, fast = pair(name, UNITS, return_state=True)
    states = [numbers(BATCH, UNITS, seed=seed) for seed in range(2 if name == "LSTM" else 1)]
    assert_same(stock, fast, numbers(BATCH, TIMESTEPS, INPUTS), initial_state=states)


@pytest.mark.parametrize("name", RECURRENT)
def test_stateful(name: str) -> None:
    stock, fast = pair(name, UNITS, stateful=True, shape=(BATCH, TIMESTEPS, INPUTS))
    for seed in range(3):
        x = numbers(BATCH, TIMESTEPS, INPUTS, seed=seed)
        with torch.no_grad():
            assert_close(fast(x).numpy(), stock(x).numpy(), STOCK["float32"])
    fast.reset_states()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("name", RECURRENT)
def test_dtypes(name: str, policy: str) -> None:
    stock, fast = pair(name, UNITS, dtype=policy)
    x = numbers(BATCH, TIMESTEPS, INPUTS)
    assert fast(x).dtype == stock(x).dtype
    if policy == "float64":
        assert_same(stock, fast, x, STOCK["float32"])
    else:
        assert_close(fast(x).detach().float().numpy(), stock(x).detach().float().numpy(), HALF)


@pytest.mark.parametrize(
    ("name", "arguments", "settings"), [(n, a, s) for n, all_of in OTHERS.items() for a, s in all_of]
)
def test_other_layers(name: str, arguments: tuple[Any, ...], settings: dict[str, Any]) -> None:
    stock, fast = pair(name, *arguments, **settings)
    assert_same(stock, fast, numbers(BATCH, TIMESTEPS, INPUTS))


def test_wrappers() -> None:
    for make in (
        lambda layers, prefix: keras.layers.Bidirectional(getattr(layers, f"{prefix}LSTM")(UNITS, seed=0)),
        lambda layers, prefix: keras.layers.TimeDistributed(getattr(layers, f"{prefix}GRU")(UNITS, seed=0)),
    ):
        x = numbers(BATCH, 3, TIMESTEPS, INPUTS) if make(keras.layers, "").name.startswith("time") else None
        x = numbers(BATCH, TIMESTEPS, INPUTS) if x is None else x
        stock, fast = make(keras.layers, ""), make(fastseq.keras, "Fast")
        for layer in (stock, fast):
            layer.build(x.shape)
        fast.set_weights(stock.get_weights())
        assert_same(stock, fast, x)


def small_model() -> Any:
    return keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Embedding(50, 8, mask_zero=False),
            keras.layers.Dropout(0.2, seed=1),
            keras.layers.Conv1D(8, 3, activation="relu"),
            keras.layers.MaxPooling1D(2),
            keras.layers.LSTM(6, dropout=0.1, seed=2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def history(model: Any, epochs: int = 2) -> list[float]:
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 50, (40, 20)), rng.integers(0, 3, 40)
    model.compile("adam", "sparse_categorical_crossentropy")
    losses: list[float] = model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0).history["loss"]
    return losses


@pytest.mark.parametrize("way", ["accelerate", "patch"])
def test_training_is_the_stock_one(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    native = set()
    runs_native = NativeChoice._runs_native

    def noting(self: Any, *given: Any) -> bool:
        answer = runs_native(self, *given)
        if answer:
            native.add(type(self).__qualname__)
        return answer

    monkeypatch.setattr(NativeChoice, "_runs_native", noting)
    stock = small_model()
    weights = stock.get_weights()
    expected = history(stock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Dropout and Embedding are stock here without a word
        if way == "accelerate":
            fast = small_model()
            fast = fastseq.keras.accelerate(fast, verbose=False)
            fast.set_weights(weights)
            found = history(fast)
        else:
            with fastseq.keras.patch():
                fast = small_model()
                fast.set_weights(weights)
                found = history(fast)
    assert found == pytest.approx(expected, rel=1e-5)
    assert {name.removeprefix("Fast") for name in native} == {"Conv1D", "MaxPooling1D", "LSTM"}


def test_accelerate_says_what_stays_stock() -> None:
    _, report = fastseq.keras.accelerate(small_model(), verbose=False, return_report=True)
    assert [row.now for row in report.replaced] == ["FastConv1D", "FastMaxPooling1D", "FastLSTM"]
    notes = {row.was: row.note for row in report.left}
    assert "torch backend" in notes["Dropout"]
    assert "torch backend" in notes["Embedding"]


def test_whole_models_compile() -> None:
    model = fastseq.keras.accelerate(small_model(), verbose=False)
    x = np.random.default_rng(0).integers(0, 50, (8, 20))
    with torch.no_grad():
        expected = model(x)
        compiled = torch.compile(model, backend="aot_eager")
        assert_close(compiled(x).numpy(), expected.numpy(), STOCK["float32"])
    torch._dynamo.reset()


def test_files_go_between_backends(tmp_path: Path) -> None:
    """Written here, fast; read on TensorFlow, stock, and the other way round; where TensorFlow is installed."""
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (5, 20))
    np.save(tmp_path / "x.npy", x)
    model = fastseq.keras.accelerate(small_model(), verbose=False)
    model.save(tmp_path / "fast.keras")
    fastseq.keras.to_stock(model).save(tmp_path / "stock.keras")
    expected = model.predict(x, verbose=0)
    code = f"""
import numpy as np, keras, fastseq.keras
for name in ("fast", "stock"):
    model = keras.models.load_model(rf"{tmp_path}/{{name}}.keras")
    np.save(rf"{tmp_path}/{{name}}.npy", model.predict(np.load(rf"{tmp_path}/x.npy"), verbose=0))
model.save(rf"{tmp_path}/back.keras")
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = run("-c", code, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("fast", "stock"):
        assert_close(np.load(tmp_path / f"{name}.npy"), expected, STOCK["float32"])
    again = keras.models.load_model(tmp_path / "back.keras")
    assert_close(again.predict(x, verbose=0), expected, STOCK["float32"])


def test_scripts(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import keras\nmodel = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3)])\n"
        "print(keras.backend.backend(), model.layers[0].__class__.__qualname__)\n"
    )
    done = run("-m", "fastseq", str(script), environment=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["torch", "FastLSTM"]

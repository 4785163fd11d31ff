"""What Keras on PyTorch has of its own, in a process of its own (KERAS_BACKEND=torch).

The layers' tests run there as they do on every backend.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from processes import run
from tolerances import STOCK, assert_close

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend here (KERAS_BACKEND=torch)", allow_module_level=True)

import fastseq.keras  # noqa: E402
from fastseq.keras.native import NativeChoice  # noqa: E402


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


def test_adam_updates_all_variables_at_once() -> None:
    """As stock Keras's Adam on PyTorch, which is another class than on the other backends."""
    assert isinstance(fastseq.keras.FastAdam(), type(keras.optimizers.Adam()))
    x, y = np.ones((8, 20), "int32"), np.ones((8, 3), "float32")
    weights = []
    for optimizer in (keras.optimizers.Adam(), fastseq.keras.FastAdam()):
        keras.utils.set_random_seed(0)
        model = small_model()
        model.compile(optimizer, "mse")
        model.fit(x, y, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore")  # of PyTorch's exporter
@pytest.mark.parametrize("strict", [False, True])
def test_exported_programs_have_the_operations_of_pytorch(strict: bool, tmp_path: Path) -> None:
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 13):
        pytest.skip(
            "PyTorch before 2.13 does not load programs of stock Keras's layers, or exports none with strict=True"
        )
    model = keras.Sequential(
        [
            keras.Input((7, 3)),
            fastseq.keras.FastConv1D(4, 3),
            fastseq.keras.FastMaxPooling1D(2),
            fastseq.keras.FastLSTM(5),
        ]
    )
    x = np.random.default_rng(0).standard_normal((1, 7, 3)).astype("float32")  # as Keras traces it
    expected = model.predict(x, verbose=0)
    model.export(tmp_path / "model.pt2", format="torch", strict=strict, verbose=False)
    program = torch.export.load(tmp_path / "model.pt2")
    assert "fastseq" not in str(program.graph)
    assert_close(program.module()(torch.from_numpy(x)).detach().numpy(), expected, STOCK["float32"])

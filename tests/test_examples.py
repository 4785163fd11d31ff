"""The scripts in examples/: each trains as it claims, and computes the same as with stock layers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import STOCK, assert_close

import fastseq.keras
from fastseq.keras.native import NativeChoice
from fastseq.keras.replacements import FAST_LAYERS

FOLDER = Path(__file__).parent.parent / "examples"
SERVER = "serve"  # see test_serving.py
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("make_prices", SERVER))


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_many_to_one() -> None:
    assert _load("many_to_one").main() > 0.9


def test_one_to_many() -> None:
    script = _load("one_to_many")
    assert sum(one == other for one, other in zip(script.main(), script.NAMES, strict=True)) >= 9


def test_tagging() -> None:
    assert _load("tagging").main() > 0.9


def test_encoder_decoder() -> None:
    assert _load("encoder_decoder").main() > 0.8


def test_stacked() -> None:
    assert _load("stacked").main() < 0.15


def test_bidirectional() -> None:
    one_way, both_ways = _load("bidirectional").main()
    assert one_way < 0.8
    assert both_ways > 0.9


def test_stateful_streaming() -> None:
    accuracy, forgetful, difference = _load("stateful_streaming").main()
    assert accuracy > 0.95
    assert forgetful < 0.85
    assert difference < STOCK["float32"]


def test_gru() -> None:
    assert all(accuracy > 0.8 for accuracy in _load("gru").main().values())


def test_price_forecast(tmp_path: Path) -> None:
    script = _load("price_forecast")
    error, naive = script.main(plot=tmp_path / "forecast.png")
    assert error < 0.95 * naive
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_price_forecast_of_a_file(tmp_path: Path) -> None:
    """A wave, which is nothing but structure."""
    file = tmp_path / "wave.csv"
    waves = 10 + np.sin(0.3 * np.arange(600))
    file.write_text("day,close\n" + "".join(f"{day},{price}\n" for day, price in enumerate(waves)))
    error, naive = _load("price_forecast").main(file, tmp_path / "forecast.png")
    assert error < 0.3 * naive


@pytest.mark.parametrize("name", SCRIPTS)
def test_is_the_same_with_stock_layers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = _models(_load(name))
    for stock_layer, fast_layer in FAST_LAYERS.items():
        monkeypatch.setattr(fastseq.keras, f"Fast{fast_layer.__name__}", stock_layer)
    stock = _models(_load(name))
    assert _fast_layers(fast)
    assert not _fast_layers(stock)
    rng = np.random.default_rng(0)
    stock[0].set_weights(fast[0].get_weights())
    for one, other in zip(fast, stock, strict=True):
        inputs = [_random(rng, tensor) for tensor in one.inputs]
        outputs, expected = (model(inputs if len(inputs) > 1 else inputs[0]) for model in (one, other))
        for got, wanted in zip(keras.tree.flatten(outputs), keras.tree.flatten(expected), strict=True):
            assert_close(got, wanted, STOCK["float32"])


def _fast_layers(models: list[Any]) -> list[Any]:
    return [layer for model in models for layer in model._flatten_layers() if isinstance(layer, NativeChoice)]


def _models(script: ModuleType) -> list[Any]:
    """The one that is trained, then what shares its layers."""
    return [*script.build_models()] if hasattr(script, "build_models") else [script.build_model()]


def _random(rng: np.random.Generator, tensor: Any) -> Any:
    """Two rows, where the model takes any number, of 7 steps, where it takes any."""
    shape = [size or (7 if axis else 2) for axis, size in enumerate(tensor.shape)]
    if tensor.dtype == "int32":
        return rng.integers(1, 9, shape).astype(np.int32)
    return rng.standard_normal(shape, dtype=np.float32)


def test_readme_names_every_script() -> None:
    text = (FOLDER / "README.md").read_text()
    assert all(f"`python examples/{name}.py" in text for name in [*SCRIPTS, SERVER])

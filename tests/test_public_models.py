"""Programs like those that people publish, beside stock Keras: patched, run by `fastseq`, and accelerated.

Each file in tests/public_models has `build`, which returns a model, and `run`, which returns losses and predictions.
They are newly written, after public examples and reports.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import pytest
from processes import run
from tolerances import assert_close

import fastseq.keras

_PROGRAMS = sorted((Path(__file__).parent / "public_models").glob("*.py"))
_TOLERANCE = 1e-4  # of losses after some steps, relative to the largest: rounding, and what training makes of it
_STOCK: dict[Path, list[float]] = {}


def _module(program: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(program.stem, program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _names(model: Any) -> set[str]:
    return {type(layer).__qualname__ for layer in model._flatten_layers()}


def _patched(program: Path) -> list[float]:
    with fastseq.keras.patch():
        module = _module(program)
        model = module.build()
        assert any(name.startswith("Fast") for name in _names(model))
        numbers: list[float] = module.run(model)
        return numbers


def _accelerated(program: Path) -> list[float]:
    module = _module(program)
    model = fastseq.keras.accelerate(module.build(), verbose=False)
    assert any(name.startswith("Fast") for name in _names(model))
    numbers: list[float] = module.run(model)
    return numbers


def _script(program: Path) -> list[float]:
    command = ["-W", "error::UserWarning:fastseq", "-m", "fastseq", str(program)]
    done = run(*command, environment={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert done.returncode == 0, done.stderr[-3000:]
    numbers: list[float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


@pytest.mark.parametrize("way", [_patched, _accelerated, _script], ids=["patched", "accelerated", "script"])
@pytest.mark.parametrize("program", _PROGRAMS, ids=lambda program: program.stem)
def test_program_is_as_with_stock_keras(program: Path, way: Callable[[Path], list[float]]) -> None:
    if program not in _STOCK:
        module = _module(program)
        model = module.build()
        assert not any(name.startswith("Fast") for name in _names(model))
        _STOCK[program] = module.run(model)
    keras.utils.clear_session()
    assert_close(way(program), _STOCK[program], _TOLERANCE, program.stem)

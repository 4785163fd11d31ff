"""The examples in docstrings have the results that they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import keras
import pytest

import fastseq

FOLDER = Path(fastseq.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in FOLDER.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    if name.startswith("fastseq.torch"):
        pytest.importorskip("torch", reason="PyTorch is not installed")
    if name.startswith("fastseq.jax"):
        pytest.importorskip("jax", reason="JAX is not installed")
    keras.backend.clear_session()  # an example may show the names that Keras counts up
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0

"""Loads the native libraries, once, with an OpenMP runtime whose idle threads soon sleep.

By default an OpenMP runtime keeps its idle threads spinning for milliseconds after every parallel region. Beside
TensorFlow, which has threads of its own, that takes the cores away from the rest of the model. But PyTorch shares the
runtime with us and computes in many small regions: with threads that sleep at once, its LSTM took 3 to 5 times as long.
So they spin for a fraction of a millisecond (bench/import_order.py). The runtimes read their wait policy from the
environment when they are loaded, so it is set for that moment only, and only where the user has not chosen one. Where
another package has loaded the runtime before, its policy stays.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from fastseq import _core as core

__all__ = ["core", "cuda_extension", "tensorflow_library"]

_WAIT_POLICY = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "0"}
_CHOSEN = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
_NAME = "fastseq._core"


def _load_core() -> object:
    chosen = any(name in os.environ for name in _CHOSEN)
    added = {} if chosen else _WAIT_POLICY
    os.environ.update(added)
    try:
        return importlib.import_module(_NAME)
    except ModuleNotFoundError as error:
        if error.name != _NAME:
            raise
        raise ImportError(
            f"fastseq's compiled core is not in {Path(__file__).parent}. That is a source tree: install it "
            "(pip install .) and run Python elsewhere, or install it with pip install -e ."
        ) from error
    finally:
        for name in added:
            del os.environ[name]


def cuda_extension() -> ModuleType | None:
    """The module with the kernels for NVIDIA GPUs; None where fastseq was built without."""
    try:
        return importlib.import_module("fastseq._cuda")
    except ModuleNotFoundError as error:
        if error.name != "fastseq._cuda":
            raise
        return None


def tensorflow_library() -> Path:
    """The path of the library with the TensorFlow ops."""
    folder = Path(__file__).parent
    for suffix in (".so", ".dylib"):
        path = folder / f"libfastseq_tensorflow{suffix}"
        if path.exists():
            return path
    raise ImportError(f"no libfastseq_tensorflow in {folder}: this installation of fastseq is incomplete")


if not TYPE_CHECKING:
    # Everything takes the core from here, so that nothing can load it before the policy is set.
    core = _load_core()

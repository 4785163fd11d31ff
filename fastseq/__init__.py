"""Fused C++ sequence kernels behind Keras layers.

`fastseq.keras` has the layers, `fastseq.functional` the same operations over arrays, `fastseq.cuda` what GPU there is
for these, `fastseq.Predictor` predictions without a framework, `fastseq.runtime` the number of threads and the
instruction set, `fastseq.data` the corpora, `fastseq.prices` the series to forecast and `fastseq.reference` the
definitions. Each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastseq import cuda, data, functional, keras, prediction, prices, reference, runtime
    from fastseq.prediction.predictor import Predictor
    from fastseq.runtime import __version__

__all__ = [
    "Predictor",
    "__version__",
    "cuda",
    "data",
    "functional",
    "keras",
    "prediction",
    "prices",
    "reference",
    "runtime",
]


def __getattr__(name: str) -> Any:
    # Imported on first access: a script that `fastseq SCRIPT.py` runs may still set environment variables that the core
    # reads when it is loaded.
    if name == "__version__":
        from fastseq.runtime import __version__

        return __version__
    if name == "Predictor":
        from fastseq.prediction.predictor import Predictor

        return Predictor
    if name in __all__:
        return importlib.import_module(f"fastseq.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

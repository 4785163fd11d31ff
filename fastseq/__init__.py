"""Fused C++ sequence kernels behind Keras layers.

`fastseq.keras` has the layers, `fastseq.functional` the same operations over NumPy arrays, `fastseq.runtime` the number
of threads and the instruction set, `fastseq.data` the corpora and `fastseq.reference` the definitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastseq.runtime import __version__

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: a script that fastseq runs may set what the core's runtime reads from the environment.
    if name == "__version__":
        from fastseq.runtime import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Fused C++ sequence kernels behind Keras layers.

`fastseq.keras` has the layers, `fastseq.functional` the same operations over NumPy arrays, `fastseq.runtime` the number
of threads and the instruction set, `fastseq.data` the corpora and `fastseq.reference` the definitions.
"""

from __future__ import annotations

from fastseq.runtime import __version__

__all__ = ["__version__"]

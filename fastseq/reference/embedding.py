"""The definition of the embedding layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastseq.reference.activations import Float64


def embedding_forward(ids: NDArray[np.integer], embeddings: ArrayLike) -> Float64:
    """Looks up rows of a table.

    Args:
        ids: (...), integers in [0, input_dim).
        embeddings: (input_dim, output_dim).

    Returns:
        (..., output_dim).
    """
    return np.asarray(np.asarray(embeddings, dtype=np.float64)[ids])


def embedding_backward(
    ids: NDArray[np.integer], doutputs: ArrayLike, input_dim: int, *, squared: bool = False
) -> Float64:
    """The loss's gradient by `embeddings`.

    Args:
        ids: As in `embedding_forward`.
        doutputs: (..., output_dim), the loss's gradient by the outputs.
        input_dim: The number of rows of the table.
        squared: Whether to sum the squares of `doutputs` instead.

    Returns:
        (input_dim, output_dim).
    """
    rows = np.asarray(doutputs, dtype=np.float64)
    dembeddings = np.zeros((input_dim, rows.shape[-1]))
    np.add.at(dembeddings, ids, rows * rows if squared else rows)
    return dembeddings

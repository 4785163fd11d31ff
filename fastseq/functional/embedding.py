"""Embedding over NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastseq.functional.arrays import FloatArray
from fastseq.functional.devices import compute

__all__ = ["embedding_backward", "embedding_forward"]

_IdArray = NDArray[np.int32] | NDArray[np.int64]


def embedding_forward(ids: _IdArray, embeddings: FloatArray) -> FloatArray:
    """The rows of a table by their numbers, as `keras.layers.Embedding` computes it.

    Args:
        ids: Of any shape with at most 7 dimensions, int32 or int64, each in [0, input_dim).
        embeddings: (input_dim, output_dim).

    Returns:
        `(*ids.shape, output_dim)`, of the dtype of `embeddings`.

    Raises:
        ValueError: An id is out of range (which, and where, is said), a shape does not fit, or an array is not
            C-contiguous.
        TypeError: An argument is no array, or its dtype is none of the above.

    >>> import numpy as np
    >>> from fastseq.functional import embedding_forward
    >>> embeddings = np.arange(6, dtype=np.float32).reshape(3, 2)
    >>> embedding_forward(np.array([2, 0, 2]), embeddings)
    array([[4., 5.],
           [0., 1.],
           [4., 5.]], dtype=float32)
    """
    return compute("embedding_forward", locals())["outputs"]


def embedding_backward(ids: _IdArray, doutputs: FloatArray, input_dim: int, *, squared: bool = False) -> FloatArray:
    """The gradient of a scalar loss by the table of `embedding_forward`.

    A row's sum is in the order of positions, so that it has the same bits for any number of threads.

    Args:
        ids: As `embedding_forward`.
        doutputs: `(*ids.shape, output_dim)`, the loss's gradient by the outputs.
        input_dim: How many rows the table has.
        squared: Sum the squares of `doutputs` instead. That is no gradient, but what Keras's optimizers, which
            square the gradient of an embedding before they sum it by rows, take for the gradient's square.

    Returns:
        (input_dim, output_dim), zero in rows whose number is not among `ids`.

    Raises:
        ValueError: As `embedding_forward`, or `input_dim` is negative.
        TypeError: As `embedding_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import embedding_backward
    >>> embedding_backward(np.array([2, 0, 2]), np.ones((3, 2), np.float32), 3)
    array([[1., 1.],
           [0., 0.],
           [2., 2.]], dtype=float32)
    """
    return compute("embedding_backward", locals())["dembeddings"]

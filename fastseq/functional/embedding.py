"""Embedding over NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastseq.functional.arrays import FloatArray
from fastseq.functional.devices import compute

__all__ = ["embedding_backward", "embedding_forward"]

_IdArray = NDArray[np.int32] | NDArray[np.int64]


def embedding_forward(ids: _IdArray, embeddings: FloatArray) -> FloatArray:
    """Looks up rows of a table, as `keras.layers.Embedding` does.

    Args:
        ids: The numbers of the rows, int32 or int64, each in [0, input_dim), of any shape with at most 7 dimensions.
        embeddings: (input_dim, output_dim).

    Returns:
        `(*ids.shape, output_dim)`, of the dtype of `embeddings`.

    Raises:
        ValueError: An id is out of range (the error names it and its position), a shape does not fit, or an array is
            not C-contiguous.
        TypeError: An argument is not an array, or its dtype is not one of the above.

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

    The gradients of a row are summed in the order of positions, so that the sum has the same bits for any number of
    threads.

    Args:
        ids: As in `embedding_forward`.
        doutputs: `(*ids.shape, output_dim)`, the loss's gradient by the outputs.
        input_dim: The number of rows of the table.
        squared: Whether to sum the squares of `doutputs` instead. Keras's optimizers use this sum in place of the
            gradient's square, since they square the gradient of an embedding before they sum it by rows.

    Returns:
        (input_dim, output_dim), zero in rows whose number is not among `ids`.

    Raises:
        ValueError: As in `embedding_forward`, or `input_dim` is negative.
        TypeError: As in `embedding_forward`.

    >>> import numpy as np
    >>> from fastseq.functional import embedding_backward
    >>> embedding_backward(np.array([2, 0, 2]), np.ones((3, 2), np.float32), 3)
    array([[1., 1.],
           [0., 0.],
           [2., 2.]], dtype=float32)
    """
    return compute("embedding_backward", locals())["dembeddings"]

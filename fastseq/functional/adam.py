"""Adam over NumPy arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq.functional.arrays import FloatArray
from fastseq.functional.devices import compute

__all__ = ["AdamState", "adam"]


class AdamState(NamedTuple):
    """A variable and the state of Adam for it: arrays of one shape and dtype.

    Attributes:
        variable: The variable to train.
        momentum: The running mean of its gradients.
        velocity: The running mean of the squares of its gradients.
        velocity_hat: The greatest velocity so far, for AMSGrad; None for Adam.
    """

    variable: FloatArray
    momentum: FloatArray
    velocity: FloatArray
    velocity_hat: FloatArray | None = None


def adam(
    state: AdamState,
    gradient: FloatArray,
    *,
    indices: NDArray[np.int32] | NDArray[np.int64] | None = None,
    alpha: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> AdamState:
    """One update of Adam, or of AMSGrad, as `keras.optimizers.Adam` computes it.

    Every operation is rounded to the arrays' dtype, in the same order as in stock Keras.

    Args:
        state: The variable and its state, of any shape with at most 8 dimensions.
        gradient: The loss's gradient by the variable. With `indices`, slices of it: (positions, ...), with the
            variable's dimensions from the second on.
        indices: (positions,), int32 or int64: the row of the variable that each slice belongs to. The slices of a row
            are added up. Their squares are added up, too, and take the place of the gradient's square.
        alpha: The learning rate, corrected for the bias of both means: at update t, counted from 1, the rate times
            `sqrt(1 - beta_2**t) / (1 - beta_1**t)`.
        beta_1: The decay of the running mean of the gradients.
        beta_2: The decay of the running mean of their squares.
        epsilon: A small number that is added to the divisor.

    Returns:
        The state after the update, in new arrays.

    Raises:
        ValueError: An index is out of range (the error names it and its position), a shape does not fit, or an array
            is not C-contiguous.
        TypeError: An argument is not an array, or its dtype is not one of the above.

    References:
        Kingma and Ba 2015, "Adam: a method for stochastic optimization"; Reddi, Kale and Kumar 2018, "On the
        convergence of Adam and beyond". The exact definition is `fastseq.reference.adam`.

    >>> import numpy as np
    >>> from fastseq.functional import AdamState, adam
    >>> zeros = np.zeros(3, np.float32)
    >>> adam(AdamState(zeros, zeros, zeros), np.array([1, -2, 0], np.float32), alpha=0.1).momentum
    array([ 0.1, -0.2,  0. ], dtype=float32)
    """
    arguments = locals()
    arrays = AdamState(*arguments.pop("state"))
    return AdamState(**compute("adam", {**arrays._asdict(), **arguments}))

"""The definition of Adam's update."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastseq.reference.activations import Float64


def adam(
    variable: ArrayLike,
    momentum: ArrayLike,
    velocity: ArrayLike,
    velocity_hat: ArrayLike | None,
    gradient: ArrayLike,
    *,
    indices: NDArray[np.integer] | None = None,
    alpha: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> tuple[Float64, Float64, Float64, Float64 | None]:
    """One update of Adam, or of AMSGrad.

    Args:
        variable: The variable to train, of any shape.
        momentum: The running mean of its gradients, of the same shape.
        velocity: The running mean of their squares, of the same shape.
        velocity_hat: The greatest velocity so far, of the same shape, for AMSGrad; None for Adam.
        gradient: The gradient, of the same shape; with `indices`, slices of it (positions, ...).
        indices: (positions,), the row of the variable that each slice belongs to.
        alpha: The learning rate, corrected for the bias of both means.
        beta_1: The decay of the running mean of the gradients.
        beta_2: The decay of the running mean of their squares.
        epsilon: A small number that is added to the divisor.

    Returns:
        The first four arguments, updated.
    """
    p, m, v, g = (np.asarray(array, np.float64) for array in (variable, momentum, velocity, gradient))
    square = g * g
    if indices is not None:
        slices, g, square = g, np.zeros_like(p), np.zeros_like(p)
        np.add.at(g, indices, slices)
        np.add.at(square, indices, slices * slices)
    m = m + (g - m) * (1 - beta_1)
    v = v + (square - v) * (1 - beta_2)
    hat = None if velocity_hat is None else np.maximum(np.asarray(velocity_hat, np.float64), v)
    return p - m * alpha / (np.sqrt(v if hat is None else hat) + epsilon), m, v, hat

"""Dropout over NumPy arrays."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence

import numpy as np

from fastseq.functional.arrays import FloatArray
from fastseq.functional.devices import compute

__all__ = ["dropout"]


def _integer(name: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be of integers, got {value!r}") from None


def _size(value: object) -> int:
    size = _integer("noise_shape", value)
    if size < 0:
        raise ValueError(f"noise_shape must have sizes of 0 or more, or None, got {size}")
    return size


def dropout(
    x: FloatArray, rate: float, seed: Sequence[int], *, noise_shape: Sequence[int | None] | None = None
) -> FloatArray:
    """Sets elements to zero at random and divides the others by `1 - rate`, as `keras.layers.Dropout` does in training.

    The seed alone decides which elements are dropped: the same ones as by `tf.nn.experimental.stateless_dropout` with
    this seed on a CPU. The result is the same to the bit. So nothing has to be saved for the gradient, which is the
    dropout of the output's gradient with the same rate, seed and noise shape.

    Args:
        x: An array of any shape with at most 8 dimensions.
        rate: The probability that an element is dropped, in [0, 1].
        seed: Two integers of 64 bits, such as the pair that TensorFlow's stateless operations take.
        noise_shape: The shape of the noise, which is broadcast to x. For example, `(None, 1, None)` drops whole
            channels of (batch, timesteps, channels). A size of None stands for that of x; None for the shape of x.

    Returns:
        An array like x. Dropped elements are 0, even where x is NaN.

    Raises:
        ValueError: An argument is out of its range, a shape does not fit, or x is not C-contiguous.
        TypeError: x is not an array of float32 or float64, or a seed or size is not an integer.

    References:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting"; Salmon et al. 2011,
        "Parallel random numbers: as easy as 1, 2, 3". The exact definition is `fastseq.reference.dropout`.

    >>> import numpy as np
    >>> from fastseq.functional import dropout
    >>> dropout(np.ones(8, np.float32), 0.5, (1, 0))
    array([2., 0., 2., 0., 0., 0., 0., 2.], dtype=float32)
    """
    if not isinstance(rate, numbers.Real):
        raise TypeError(f"rate must be a number, got {rate!r}")
    pair = [_integer("seed", number) for number in seed]
    if len(pair) != 2 or not all(-(2**63) <= number < 2**63 for number in pair):
        raise ValueError(f"seed must be two integers of 64 bits, got {pair}")
    sizes: list[int] = []  # for the core, that means the shape of x
    if noise_shape is not None:
        sizes = [-1 if size is None else _size(size) for size in noise_shape] or [1] * min(np.ndim(x), 1)
    return compute("dropout", {"x": x, "rate": float(rate), "seed": pair, "noise_shape": sizes})["y"]

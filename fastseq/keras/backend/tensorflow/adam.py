"""Adam's update of a variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow.library import ops


def adam(
    state: Sequence[Any],
    gradient: Any,
    *,
    iterations: Any,
    learning_rate: Any,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> list[Any]:
    """What variables are to hold after an update.

    Args:
        state: Values of the variable, its momentum, its velocity and, for AMSGrad, the greatest velocity so far.
        gradient: A tensor like the variable, or `tf.IndexedSlices` of it.
        iterations: How many updates have been, an integer.
        learning_rate: A number.
        beta_1: What the running mean of gradients keeps of itself.
        beta_2: Likewise of their squares.
        epsilon: What is added to the divisor.

    Returns:
        Tensors like `state`.
    """
    state = [tf.convert_to_tensor(array) for array in state]
    dtype = state[0].dtype
    gradient = tf.cast(gradient, dtype)
    slices = isinstance(gradient, tf.IndexedSlices)
    # In the variable's dtype, operation by operation as in stock Keras, and so with the same bits. That includes
    # tf.cast, which makes a float32 of a Python number whatever it is to become.
    step = tf.cast(iterations + 1, dtype)
    beta_1_power, beta_2_power = (tf.pow(tf.cast(beta, dtype), step) for beta in (beta_1, beta_2))
    alpha = tf.cast(learning_rate, dtype) * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
    updated: list[Any] = ops.fastseq_adam(
        state,
        gradient.values if slices else gradient,
        [gradient.indices] if slices else [],
        *(_as_double(number) for number in (alpha, beta_1, beta_2, epsilon)),
    )
    for new, old in zip(updated, state, strict=True):
        new.set_shape(old.shape)  # shape inference knows that of the first three
    return updated


def _as_double(number: Any) -> Any:
    return tf.cast(number, tf.float64) if tf.is_tensor(number) else tf.constant(number, tf.float64)

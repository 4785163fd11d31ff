"""Adam's update of a variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow.library import ops


def adam(
    state: Sequence[Any],
    gradient: Any,
    iterations: Any,
    learning_rate: Any,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> list[Any]:
    """See `fastseq.keras.backend.Backend`; slices are `tf.IndexedSlices`."""
    state = [tf.convert_to_tensor(array) for array in state]
    dtype = state[0].dtype
    gradient = tf.cast(gradient, dtype)
    slices = isinstance(gradient, tf.IndexedSlices) and _are_slices_of(gradient, state[0].shape)
    if not slices:
        gradient = _broadcast(tf.convert_to_tensor(gradient), state[0])
    # The same operations in the variable's dtype as in stock Keras, so that the results are equal bit by bit. This
    # includes tf.cast, which first converts a Python number to float32, whatever the target dtype.
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
        new.set_shape(old.shape)  # shape inference knows only the first three shapes
    return updated


def _are_slices_of(gradient: tf.IndexedSlices, shape: tf.TensorShape) -> bool:
    """Whether slices belong to a tensor of this shape, and not to one that broadcasts to it."""
    if not gradient.values.shape[1:].is_compatible_with(shape[1:]):
        return False
    if gradient.dense_shape is None:
        return True
    whole = tf.get_static_value(gradient.dense_shape)
    if whole is not None:
        return tuple(whole) == tuple(shape)
    message = "gradient must be slices of a tensor of the variable's shape"
    tf.debugging.assert_equal(tf.cast(gradient.dense_shape, tf.int64), tf.constant(tuple(shape), tf.int64), message)
    return True


def _broadcast(gradient: Any, variable: Any) -> Any:
    """Broadcasts a gradient to its variable's shape, as stock Keras's operations do."""
    if gradient.shape == variable.shape:
        return gradient
    if gradient.shape.is_fully_defined():
        try:
            if tf.broadcast_static_shape(gradient.shape, variable.shape) != variable.shape:
                return gradient  # the operation raises the error
        except ValueError:
            return gradient
    return tf.broadcast_to(gradient, tf.shape(variable))


def _as_double(number: Any) -> Any:
    return tf.cast(number, tf.float64) if tf.is_tensor(number) else tf.constant(number, tf.float64)

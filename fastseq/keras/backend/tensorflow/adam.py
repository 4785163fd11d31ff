"""Adam's update of variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow.library import ops


def adam(
    states: Sequence[Sequence[Any]],
    gradients: Sequence[Any],
    iterations: Any,
    learning_rate: Any,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> list[list[Any]]:
    """See `fastseq.keras.backend.Backend`; slices are `tf.IndexedSlices`."""
    states = [[tf.convert_to_tensor(array) for array in state] for state in states]
    dtype = states[0][0].dtype
    # The same operations in the variable's dtype as in stock Keras, so that the results are equal bit by bit. This
    # includes tf.cast, which first converts a Python number to float32, whatever the target dtype.
    step = tf.cast(iterations + 1, dtype)
    beta_1_power, beta_2_power = (tf.pow(tf.cast(beta, dtype), step) for beta in (beta_1, beta_2))
    alpha = tf.cast(learning_rate, dtype) * tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
    numbers = [_as_double(number) for number in (alpha, beta_1, beta_2, epsilon)]
    gradients = [tf.cast(gradient, dtype) for gradient in gradients]

    updated: list[list[Any]] = [[] for _ in states]
    dense = []
    for index, (state, gradient) in enumerate(zip(states, gradients, strict=True)):
        if isinstance(gradient, tf.IndexedSlices) and _are_slices_of(gradient, state[0].shape):
            updated[index] = _updated([state], [gradient.values], [gradient.indices], numbers)[0]
        else:
            dense.append((index, state, _broadcast(tf.convert_to_tensor(gradient), state[0])))
    if dense:
        places, dense_states, dense_gradients = zip(*dense, strict=True)
        for index, state in zip(places, _updated(dense_states, dense_gradients, [], numbers), strict=True):
            updated[index] = state
    return updated


def _updated(
    states: Sequence[Sequence[Any]], gradients: Sequence[Any], indices: Sequence[Any], numbers: Sequence[Any]
) -> list[list[Any]]:
    """The new states: one operation for all variables."""
    arrays = [list(of) for of in zip(*states, strict=True)]  # variables, momentums, velocities and perhaps a fourth
    hats = arrays[3] if len(arrays) > 3 else []
    results = ops.fastseq_adam(*arrays[:3], hats, list(gradients), list(indices), *numbers)
    updated = [list(state) for state in zip(*results[: len(arrays)], strict=True)]
    for state, old in zip(updated, states, strict=True):
        for new, before in zip(state, old, strict=True):
            new.set_shape(before.shape)
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

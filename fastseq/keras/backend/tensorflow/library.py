"""Loads the library with the operations, and has helper functions for their wrappers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fastseq._libraries import core, tensorflow_library
from fastseq.functional import pooled_timesteps

ops = tf.load_op_library(str(tensorflow_library()))

# The dtypes that the kernels compute in.
NATIVE_DTYPES = (tf.float32, tf.float64)


# The types of the operations' attributes. TensorFlow takes exact types only: neither 1 nor np.True_ is a bool to it.
_ATTRIBUTE_TYPES: dict[str, type] = {"dense_gradient": bool} | {
    name: type(default) for op in core.operations() for name, default in core.statement(op)[2].items()
}


def options_of(operation: str) -> tuple[str, ...]:
    """The options that a backward operation, by its name in the core, shares with its forward operation."""
    return tuple(name for name in core.statement(operation)[2] if name not in ("with_dx", "with_weights"))


def attributes(**settings: Any) -> dict[str, Any]:
    """Converts a layer's settings to the exact types of an operation's attributes."""
    return {name: _ATTRIBUTE_TYPES[name](setting) for name, setting in settings.items()}


def or_absent(tensor: Any | None, rank: int, dtype: tf.DType) -> Any:
    """The tensor, or for None an empty tensor with size 0 in all dimensions, which stands for an absent one."""
    return tf.zeros([0] * rank, dtype) if tensor is None else tensor


def pooled_shape(shape: Any, pool_size: int, strides: int, padding: str) -> tuple[int | None, ...]:
    """(batch, timesteps, channels) of a pooling's outputs, with None for unknown sizes; shape inference lacks it."""
    batch, timesteps, channels = shape
    return batch, None if timesteps is None else pooled_timesteps(timesteps, pool_size, strides, padding), channels


def wants_gradient(op: Any, *indices: int) -> bool:
    """Whether a gradient with respect to these inputs is needed. A tape marks inputs that it does not watch."""
    return any(index not in (getattr(op, "skip_input_indices", None) or ()) for index in indices)


def backward(
    operation: Callable[..., Any],
    op: Any,
    *more: Any,
    after: Any,
    states: int,
    weights: Sequence[int],
    **options: Any,
) -> tuple[list[Any], Any | None, list[Any]]:
    """Runs a backward operation so that it does not compute gradients that nobody needs.

    A tape knows some of them while it records. Others follow only from the whole graph, such as the gradient that
    reaches a frozen layer, or the gradients of a frozen layer's weights. So in a graph, dx and the weights' gradients
    pass through a node each. If TensorFlow prunes one of these nodes, the operation does not compute its gradients.

    Args:
        operation: The backward operation, which takes the inputs of `op`, then `more`.
        op: The forward operation, whose first input is x.
        *more: Outputs of the forward operation and their gradients.
        after: An output of the forward operation, of floats. An input would not do, as it may be a constant.
        states: The number of states, whose gradients come before all others.
        weights: The indices of the weights among the inputs of `op`, in the order of their gradients.
        **options: Attributes of both operations.

    Returns:
        The states' gradients, dx, and the weights' gradients. dx is None if a tape does not need it. The weights'
        gradients are None if a tape needs none of them.
    """
    with_dx, with_weights = wants_gradient(op, 0), wants_gradient(op, *weights)
    tokens = [] if tf.executing_eagerly() else ops.fastseq_tokens(after, count=2)
    results = operation(*op.inputs, *more, tokens, with_dx=with_dx, with_weights=with_weights, **options)
    gradients, computed, (dx, *dweights) = results[:states], results[states], results[states + 1 :]
    if tokens:
        [dx] = ops.fastseq_live(tokens[0], computed[0], [dx])
        dweights = ops.fastseq_live(tokens[1], computed[1], dweights)
    if with_dx:
        dx.set_shape(op.inputs[0].shape)
    if with_weights:
        for gradient, index in zip(dweights, weights, strict=True):
            gradient.set_shape(op.inputs[index].shape)
    return gradients, dx if with_dx else None, dweights if with_weights else [None] * len(weights)


@tf.RegisterGradient("FastseqLive")  # type: ignore[untyped-decorator]
def _live_gradient(op: Any, *gradients: Any) -> list[Any]:
    del op
    return [None, None, *gradients]


def or_none(tensor: Any) -> Any | None:
    """The inverse of `or_absent`: a tensor, or None for an empty tensor that stands for an absent one."""
    return None if tensor.shape.rank and all(size == 0 for size in tensor.shape) else tensor


def or_zeros(gradient: Any | None, like: Any) -> Any | None:
    """The gradient with respect to a result of a backward operation, or zeros if that result was not computed.

    For such a result, which is empty, a tape passes zeros of the same shape, which are empty as well.
    """
    if gradient is None:
        return None
    return tf.cond(tf.size(gradient) > 0, lambda: gradient, lambda: tf.zeros_like(like))


def attributes_of(op: Any, *names: str) -> dict[str, Any]:
    """Attributes of an operation, with bytes decoded to strings."""
    values = {name: op.get_attr(name) for name in names}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

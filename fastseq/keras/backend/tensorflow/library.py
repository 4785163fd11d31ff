"""The library with the operations, and what their wrappers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fastseq._libraries import core, tensorflow_library
from fastseq.functional import pooled_timesteps

ops = tf.load_op_library(str(tensorflow_library()))

# What the kernels compute in.
NATIVE_DTYPES = (tf.float32, tf.float64)


# What the operations' attributes are, of which TensorFlow takes no look-alikes: 1 is no bool to it, nor is np.True_.
_ATTRIBUTE_TYPES: dict[str, type] = {"dense_gradient": bool} | {
    name: type(default) for op in core.operations() for name, default in core.statement(op)[2].items()
}


def options_of(operation: str) -> tuple[str, ...]:
    """The options that a backward operation, by its name in the core, shares with its forward operation."""
    return tuple(name for name in core.statement(operation)[2] if name not in ("with_dx", "with_weights"))


def attributes(**settings: Any) -> dict[str, Any]:
    """A layer's settings as an operation takes them: truth values of any type as bool, whole numbers as int."""
    return {name: _ATTRIBUTE_TYPES[name](setting) for name, setting in settings.items()}


def or_absent(tensor: Any | None, rank: int, dtype: tf.DType) -> Any:
    """The tensor, or what stands for an optional one that is not there: nothing along any dimension."""
    return tf.zeros([0] * rank, dtype) if tensor is None else tensor


def pooled_shape(shape: Any, pool_size: int, strides: int, padding: str) -> tuple[int | None, ...]:
    """The (batch, timesteps, channels) that a pooling gives, as far as they are known: shape inference is not told."""
    batch, timesteps, channels = shape
    return batch, None if timesteps is None else pooled_timesteps(timesteps, pool_size, strides, padding), channels


def wants_gradient(op: Any, *indices: int) -> bool:
    """Whether the gradient by one of these inputs of an operation can be of use: a tape says which nobody watches."""
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
    """Runs a backward operation, which is to compute no gradient that nobody needs.

    A tape knows of some while it records. Of others only the whole graph does, such as the gradient that reaches a
    frozen layer, or that of a frozen layer's weights. In a graph, therefore, nodes stand behind dx and behind the
    weights' gradients, and where TensorFlow prunes one of them, the operation leaves out what it was for.

    Args:
        operation: Takes the inputs of `op`, then `more`.
        op: The forward operation, whose first input is x.
        *more: Its outputs and their gradients.
        after: One of its outputs, a float: no constant, as its inputs may be.
        states: How many gradients come before all others.
        weights: The indices of the weights among the inputs of `op`, in the order of their gradients.
        **options: Attributes of both operations.

    Returns:
        The states' gradients, dx, and the weights' gradients. dx is None where a tape does not want it, and so are
        those of the weights if it wants none of them.
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
    """A tensor, or None in the place of what `or_absent` gives for one that is not there."""
    return None if tensor.shape.rank and all(size == 0 for size in tensor.shape) else tensor


def or_zeros(gradient: Any | None, like: Any) -> Any | None:
    """What came in at a gradient that a backward operation gives, or zeros where that one has been left out.

    A tape makes up zeros like what the operation has given, which is nothing then.
    """
    if gradient is None:
        return None
    return tf.cond(tf.size(gradient) > 0, lambda: gradient, lambda: tf.zeros_like(like))


def attributes_of(op: Any, *names: str) -> dict[str, Any]:
    """Attributes of an operation, with its words as Python has them."""
    values = {name: op.get_attr(name) for name in names}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

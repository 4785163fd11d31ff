"""The convolution operations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastseq.functional import pooled_timesteps
from fastseq.keras.backend.tensorflow.library import native_dtype, no_second_gradient, ops, or_absent, wants_gradient


def conv1d(
    x: Any,
    kernel: Any,
    bias: Any | None,
    *,
    activation: str,
    strides: int,
    padding: str,
    dilation_rate: int,
    groups: int,
    channels_first: bool,
    convolved_shape: tuple[int | None, ...],
    pool_size: int = 0,
    pool_strides: int = 1,
    pool_padding: str = "valid",
    training: bool = False,
) -> Any:
    """See `fastseq.functional.conv1d_forward` or, with a `pool_size`, `conv1d_max_pool_forward`.

    Args:
        x: (batch, timesteps, channels), or (batch, channels, timesteps) with `channels_first`.
        kernel: (kernel_size, channels / groups, filters).
        bias: (filters,), or None.
        activation: As there; so are the four options that follow.
        strides: See there.
        padding: See there.
        dilation_rate: See there.
        groups: See there.
        channels_first: The order of the dimensions of x and of what is returned.
        convolved_shape: Of the convolution before it is pooled, as far as it is known.
        pool_size: Of the max pooling; 0 for none.
        pool_strides: See there.
        pool_padding: See there.
        training: Whether a gradient is likely to be asked for. It can be either way: what it needs is saved or, if
            this was false, computed again.

    Returns:
        (batch, output timesteps, filters), or (batch, filters, output timesteps), of x's dtype.
    """
    dtype = native_dtype(x)
    native = tf.cast(x, dtype)
    outputs, _ = ops.fastseq_conv1d_forward(
        tf.transpose(native, (0, 2, 1)) if channels_first else native,
        tf.cast(kernel, dtype),
        or_absent(None if bias is None else tf.cast(bias, dtype), 1, dtype),
        activation=activation,
        strides=strides,
        padding=padding,
        dilation_rate=dilation_rate,
        groups=groups,
        pool_size=pool_size,
        pool_strides=pool_strides,
        pool_padding=pool_padding,
        save_argmax=training,
    )
    if channels_first:
        outputs = tf.transpose(outputs, (0, 2, 1))
    # Shape inference does not see attributes, so it cannot know how many steps there are.
    shape, axis = list(convolved_shape), 2 if channels_first else 1
    if pool_size and (timesteps := shape[axis]) is not None:
        shape[axis] = pooled_timesteps(timesteps, pool_size, pool_strides, pool_padding)
    return tf.cast(tf.ensure_shape(outputs, shape), x.dtype)


_CONVOLUTION = ("activation", "strides", "padding", "dilation_rate", "groups")
_POOLING = ("pool_size", "pool_strides", "pool_padding")


@tf.RegisterGradient("FastseqConv1dForward")  # type: ignore[untyped-decorator]
def _gradient(op: Any, doutputs: Any, _: Any) -> list[Any]:
    options = {name: op.get_attr(name) for name in (*_CONVOLUTION, *_POOLING)}
    outputs, argmax = op.outputs
    if options["pool_size"] and not op.get_attr("save_argmax"):
        argmax = ops.fastseq_conv1d_forward(*op.inputs, save_argmax=True, **options)[1]
    with_dx = wants_gradient(op, 0)
    dx, *dweights = ops.fastseq_conv1d_backward(*op.inputs, outputs, argmax, doutputs, with_dx=with_dx, **options)
    dx.set_shape(op.inputs[0].shape if with_dx else (0, 0, 0))
    return [dx if with_dx else None, *dweights]


no_second_gradient("FastseqConv1dBackward")

_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}


def max_pool_of_convolution(x: Any, *, pool_size: int, strides: int, padding: str, training: bool) -> Any | None:
    """The max pooling of a tensor that is traced to come from `conv1d`, in one pass with it.

    The convolution is computed once more, pooled; the first one is not computed, unless something else needs it.

    Args:
        x: (batch, timesteps, filters): what `conv1d` returned, maybe with an activation applied to it.
        pool_size: See `max_pool`; so are those that follow.
        strides: See there.
        padding: See there.
        training: See there.

    Returns:
        What `max_pool` returns; None if x comes from anything else, or is not of the graph that is being traced.
    """
    if not tf.is_symbolic_tensor(x) or x.graph is not tf.compat.v1.get_default_graph():
        return None
    op, activation = _what_computes(x), None
    if op.type in _ACTIVATIONS:
        op, activation = _what_computes(op.inputs[0]), _ACTIVATIONS[op.type]
    if op.type != "FastseqConv1dForward":
        return None
    options = {name: op.get_attr(name) for name in _CONVOLUTION}
    if op.get_attr("pool_size") or (activation and options["activation"] != b"linear"):
        return None
    if activation:
        options["activation"] = activation
    outputs, _ = ops.fastseq_conv1d_forward(
        *op.inputs, pool_size=pool_size, pool_strides=strides, pool_padding=padding, save_argmax=training, **options
    )
    batch, timesteps, filters = x.shape
    pooled = None if timesteps is None else pooled_timesteps(timesteps, pool_size, strides, padding)
    return tf.ensure_shape(outputs, (batch, pooled, filters))


def _what_computes(x: Any) -> Any:
    while x.op.type == "EnsureShape":
        x = x.op.inputs[0]
    return x.op

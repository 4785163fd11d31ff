"""The pooling operations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow import formulas
from fastseq.keras.backend.tensorflow.library import attributes, attributes_of, ops, options_of, pooled_shape

_ATTRIBUTES = options_of("max_pool_backward")


def max_pool(x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    window = attributes(pool_size=pool_size, strides=strides, padding=padding)
    outputs, _ = ops.fastseq_max_pool_forward(x, **window, **attributes(save_argmax=training))
    outputs.set_shape(pooled_shape(x.shape, **window))
    return outputs


def average_pool(x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    del training  # the gradient needs no data of forward
    window = attributes(pool_size=pool_size, strides=strides, padding=padding)
    outputs = ops.fastseq_average_pool_forward(x, **window)
    outputs.set_shape(pooled_shape(x.shape, **window))
    return outputs


def _timesteps(x: Any) -> Any:
    return tf.shape(x, out_type=tf.int64)[1]


def _like(dx: Any, x: Any) -> Any:
    dx.set_shape(x.shape)
    return dx


@tf.RegisterGradient("FastseqMaxPoolForward")  # type: ignore[untyped-decorator]
def _max_pool_gradient(op: Any, doutputs: Any, _: Any) -> Any:
    x, argmax = op.inputs[0], op.outputs[1]
    if not op.get_attr("save_argmax"):
        options = attributes_of(op, *_ATTRIBUTES, "propagate_nan")
        argmax = ops.fastseq_max_pool_forward(x, save_argmax=True, **options)[1]
    return _like(ops.fastseq_max_pool_backward(doutputs, _timesteps(x), argmax, **attributes_of(op, *_ATTRIBUTES)), x)


@tf.RegisterGradient("FastseqAveragePoolForward")  # type: ignore[untyped-decorator]
def _average_pool_gradient(op: Any, doutputs: Any) -> Any:
    x = op.inputs[0]
    return _like(ops.fastseq_average_pool_backward(doutputs, _timesteps(x), **attributes_of(op, *_ATTRIBUTES)), x)


@tf.RegisterGradient("FastseqAveragePoolBackward")  # type: ignore[untyped-decorator]
def _average_pool_second_gradient(op: Any, ddx: Any) -> list[Any]:
    # The gradient is linear in doutputs, and forward is its transpose.
    return [_like(ops.fastseq_average_pool_forward(ddx, **attributes_of(op, *_ATTRIBUTES)), op.inputs[0]), None]


@tf.RegisterGradient("FastseqMaxPoolBackward")  # type: ignore[untyped-decorator]
def _max_pool_second_gradient(op: Any, ddx: Any) -> list[Any]:
    _, timesteps, argmax = op.inputs
    return [formulas.of_maxima(ddx, argmax, timesteps=timesteps, **attributes_of(op, *_ATTRIBUTES)), None, None]

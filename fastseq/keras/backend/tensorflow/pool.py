"""The pooling operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow import formulas
from fastseq.keras.backend.tensorflow.conv1d import max_pool_of_convolution, traced_convolution
from fastseq.keras.backend.tensorflow.library import (
    attributes,
    attributes_of,
    native_dtype,
    ops,
    options_of,
    pooled_shape,
)

_ATTRIBUTES = options_of("max_pool_backward")


def _pool(forward: Callable[..., Any], x: Any, data_format: str, window: dict[str, Any]) -> Any:
    given = x.dtype
    x = tf.cast(x, native_dtype(x))
    if data_format == "channels_first":
        x = tf.transpose(x, (0, 2, 1))
    outputs = forward(x, **window)
    outputs.set_shape(pooled_shape(x.shape, **window))
    if data_format == "channels_first":
        outputs = tf.transpose(outputs, (0, 2, 1))
    return tf.cast(outputs, given)


def max_pool(
    x: Any,
    *,
    pool_size: int,
    strides: int,
    padding: str,
    data_format: str = "channels_last",
    training: bool = False,
    in_one_pass: Callable[[], bool] | None = None,
) -> Any:
    """The greatest value of every window of timesteps: see `fastseq.functional.max_pool_forward`.

    Args:
        x: (batch, timesteps, channels), or (batch, channels, timesteps) with `data_format="channels_first"`.
        pool_size: Of a window, in timesteps.
        strides: From one window to the next.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first".
        training: Whether a gradient is likely to be asked for. It can be either way: what it needs is saved or, if
            this was false, computed again.
        in_one_pass: Says whether to compute it in one pass with the `conv1d` before it. Asked only where x is traced to
            come from one; yes asks for `"channels_last"`.

    Returns:
        A tensor as x, with the timesteps that are left.
    """
    window = attributes(pool_size=pool_size, strides=strides, padding=padding)
    if in_one_pass and (convolution := traced_convolution(x)) and in_one_pass():
        return max_pool_of_convolution(convolution, training=training, **window)

    def forward(inputs: Any, **window: Any) -> Any:
        return ops.fastseq_max_pool_forward(inputs, **window, **attributes(save_argmax=training))[0]

    return _pool(forward, x, data_format, window)


def average_pool(
    x: Any, *, pool_size: int, strides: int, padding: str, data_format: str = "channels_last", training: bool = False
) -> Any:
    """The mean of every window of timesteps: see `fastseq.functional.average_pool_forward`; arguments as `max_pool`."""
    del training  # the gradient needs nothing of forward
    window = attributes(pool_size=pool_size, strides=strides, padding=padding)
    return _pool(ops.fastseq_average_pool_forward, x, data_format, window)


def _timesteps(x: Any) -> Any:
    return tf.shape(x, out_type=tf.int64)[1]


def _like(dx: Any, x: Any) -> Any:
    dx.set_shape(x.shape)
    return dx


@tf.RegisterGradient("FastseqMaxPoolForward")  # type: ignore[untyped-decorator]
def _max_pool_gradient(op: Any, doutputs: Any, _: Any) -> Any:
    x, argmax = op.inputs[0], op.outputs[1]
    if not op.get_attr("save_argmax"):
        argmax = ops.fastseq_max_pool_forward(x, save_argmax=True, **attributes_of(op, *_ATTRIBUTES))[1]
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

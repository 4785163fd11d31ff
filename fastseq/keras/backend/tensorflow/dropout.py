"""The operations of dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow.library import NATIVE_DTYPES, ops


def _int32(seed: Any) -> Any:
    """Converts the int64 seeds of Keras's generators to int32 as Keras does, for the same random numbers."""
    return tf.math.floormod(tf.cast(seed, tf.int64), tf.int32.max - 1)


def dropout(x: Any, rate: float, seed: Any, noise_shape: Sequence[int | None] | None) -> Any:
    """See `fastseq.keras.backend.Backend`, and `fastseq.functional.dropout`."""
    given = x.dtype
    native = given in NATIVE_DTYPES
    sizes = [-1 if size is None else size for size in noise_shape or ()]
    if noise_shape is not None and not sizes:
        sizes = [1] * min(x.shape.rank, 1)  # one number for all elements; an empty list would stand for x's own shape
    y = ops.fastseq_dropout(
        x if native else tf.cast(x, tf.float32),
        tf.constant(rate, tf.float64),
        _int32(seed),
        cast_from="none" if native else given.name,
        noise_shape=sizes,
        # With a noise_shape, elements share few random numbers, and backward draws them again.
        save_mask=noise_shape is None,
    ).y
    return y if native else tf.cast(y, given)


@tf.RegisterGradient("FastseqDropout")  # type: ignore[untyped-decorator]
def _gradient(op: Any, dy: Any, _: Any) -> list[Any]:
    _, rate, seed = op.inputs
    cast_from = op.get_attr("cast_from")
    if op.get_attr("save_mask"):
        dx = ops.fastseq_dropout_gradient(dy, op.outputs[1], rate, cast_from=cast_from)
    else:
        noise_shape = op.get_attr("noise_shape")
        dx = ops.fastseq_dropout(dy, rate, seed, cast_from=cast_from, noise_shape=noise_shape, save_mask=False).y
    return [dx, None, None]


@tf.RegisterGradient("FastseqDropoutGradient")  # type: ignore[untyped-decorator]
def _second_gradient(op: Any, ddx: Any) -> list[Any]:
    _, mask, rate = op.inputs
    return [ops.fastseq_dropout_gradient(ddx, mask, rate, cast_from=op.get_attr("cast_from")), None, None]

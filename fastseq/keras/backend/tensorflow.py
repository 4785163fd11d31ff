"""The kernels as TensorFlow operations, eager and in graphs, with registered gradients.

The library with the operations is loaded when this module is imported; a SavedModel that uses them loads in any
process that has done so.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastseq._libraries import tensorflow_library

_ops = tf.load_op_library(str(tensorflow_library()))

# What the kernels compute in; other floating dtypes are cast to float32 at the edges.
_NATIVE_DTYPES = (tf.float32, tf.float64)


def unavailable_because() -> str | None:
    """Why the operations should not serve here, or None."""
    if tf.config.list_logical_devices("GPU"):
        return "TensorFlow uses a GPU here, for which Keras has kernels of its own, and ours run on the CPU"
    return None


def _or_absent(tensor: Any | None, rank: int, dtype: tf.DType) -> Any:
    """The tensor, or what stands for an optional one that is not there: nothing along any dimension."""
    return tf.zeros([0] * rank, dtype) if tensor is None else tensor


def _for_every_row(tensor: Any, x: Any) -> Any:
    """A tensor of one row repeated for each row of x, as Keras's own loop would broadcast it; others as they are."""
    if tensor.shape[0] != 1 or x.shape[0] == 1:
        return tensor
    return tf.broadcast_to(tensor, [tf.shape(x)[0], tf.shape(tensor)[1]])


def _factors(mask: Any | None, dtype: tf.DType) -> Any:
    """Keras's dropout mask, one tensor for all gates or a list with one for each, as (gates, batch, width)."""
    if mask is None:
        return _or_absent(None, 3, dtype)
    stacked = tf.stack(mask) if isinstance(mask, (list, tuple)) else tf.expand_dims(mask, 0)
    return tf.cast(stacked, dtype)


def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any | None,
    mask: Any | None,
    dropout_mask: Any | None,
    recurrent_dropout_mask: Any | None,
    *,
    go_backwards: bool,
    zero_output_for_mask: bool,
    return_sequences: bool,
    training: bool,
) -> tuple[Any, Any, list[Any]]:
    """What Keras's `RNN.inner_loop` returns: (last_output, outputs, [h_n, c_n]); see `fastseq.functional`.

    Args:
        x: (batch, timesteps, inputs).
        h0: (batch or 1, units).
        c0: (batch or 1, units).
        kernel: (inputs, 4 * units).
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None.
        mask: (batch or 1, timesteps) or (batch or 1, timesteps, 1), or None.
        dropout_mask: (batch, inputs), a list of four of these, or None.
        recurrent_dropout_mask: (batch, units), a list of four of these, or None.
        go_backwards: See `fastseq.functional.lstm_forward`.
        zero_output_for_mask: See `fastseq.functional.lstm_forward`.
        return_sequences: Whether `outputs` is (batch, timesteps, units); else it is (batch, 1, units).
        training: Whether a gradient is likely to be asked for. It can be either way: what it needs is saved or, if
            this was false, computed again.

    Returns:
        Tensors of x's dtype.
    """
    given = x.dtype
    dtype = given if given in _NATIVE_DTYPES else tf.float32

    def native(tensor: Any) -> Any:
        return tf.cast(tensor, dtype)

    if mask is not None:
        mask = tf.cast(mask, tf.bool)
        mask = _for_every_row(tf.squeeze(mask, -1) if mask.shape.rank == 3 else mask, x)
    outputs, last_output, h_n, c_n, _, _ = _ops.fastseq_lstm_forward(
        x=native(x),
        kernel=native(kernel),
        recurrent_kernel=native(recurrent_kernel),
        bias=_or_absent(None if bias is None else native(bias), 1, dtype),
        h0=native(_for_every_row(h0, x)),
        c0=native(_for_every_row(c0, x)),
        mask=_or_absent(mask, 2, tf.bool),
        dropout_mask=_factors(dropout_mask, dtype),
        recurrent_dropout_mask=_factors(recurrent_dropout_mask, dtype),
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output_for_mask,
        return_sequences=return_sequences,
        save_workspace=training,
    )
    if return_sequences:
        # Shape inference does not see attributes, so it cannot know that there are timesteps here.
        outputs = tf.ensure_shape(outputs, (None, x.shape[1], None))
    else:
        outputs = tf.expand_dims(last_output, 1)
    last_output, outputs, h_n, c_n = (tf.cast(t, given) for t in (last_output, outputs, h_n, c_n))
    return last_output, outputs, [h_n, c_n]


@tf.RegisterGradient("FastseqLstmForward")  # type: ignore[untyped-decorator]
def _lstm_gradient(op: Any, doutputs: Any, dlast_output: Any, dh_n: Any, dc_n: Any, *_: Any) -> list[Any]:
    options = {name: op.get_attr(name) for name in ("go_backwards", "zero_output_for_mask", "return_sequences")}
    if op.get_attr("save_workspace"):
        gates, cells = op.outputs[4:]
    else:
        gates, cells = _ops.fastseq_lstm_forward(*op.inputs, save_workspace=True, **options)[4:]
    gradients = _ops.fastseq_lstm_backward(*op.inputs, gates, cells, doutputs, dlast_output, dh_n, dc_n, **options)
    return [*gradients, None, None, None]


@tf.RegisterGradient("FastseqLstmBackward")  # type: ignore[untyped-decorator]
def _lstm_second_gradient(op: Any, *_: Any) -> None:
    raise NotImplementedError(
        "fastseq has no second-order gradients; use use_native=False in the layers that need them"
    )

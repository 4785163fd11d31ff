"""The embedding operation, its gradient, and the conversion of that gradient to a dense tensor.

By default the gradient is `tf.IndexedSlices`, as in stock Keras: one slice for every position, so that several slices
may belong to one row. The format affects the results. An optimizer that squares a gradient squares the slices first and
sums them by rows after that. So Adam's second moment of a row is a sum of squares and not the square of a sum, and a
dense gradient trains a different model.

The conversion of slices to a dense tensor takes most of the time. An optimizer requests it with `tf.convert_to_tensor`;
Adam does so twice. TensorFlow lets us register a conversion. Ours converts slices with the indices of our gradient,
with the same sums in the same order, and leaves all others to TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow.library import NATIVE_DTYPES, attributes, ops

# An attribute that marks a tensor as the indices of our gradient. Optimizers make new slices of new values, but reuse
# the tensor with the indices.
_OURS = "_fastseq_embedding_ids"
_MAX_RANK = 7  # of ids


def embedding(ids: Any, embeddings: Any, dense_gradient: bool, on_negative: Callable[[], None] | None = None) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    of_any_rank = ids.shape.rank is None or ids.shape.rank > _MAX_RANK
    flat = tf.reshape(ids, [-1]) if of_any_rank else ids
    outputs = ops.fastseq_embedding_forward(flat, embeddings, **attributes(dense_gradient=dense_gradient)).outputs
    if of_any_rank:
        outputs = tf.reshape(outputs, tf.concat([tf.shape(ids), tf.shape(embeddings)[1:]], 0))
    if on_negative is not None and tf.executing_eagerly() and ids.numpy().min(initial=0) < 0:
        on_negative()
    return outputs


@tf.RegisterGradient("FastseqEmbeddingForward")  # type: ignore[untyped-decorator]
def _gradient(op: Any, _: Any, doutputs: Any) -> tuple[None, Any]:
    embeddings, rows = op.inputs[1], op.outputs[0]  # no row is negative
    indices = tf.reshape(rows, [-1])
    setattr(indices, _OURS, True)
    shape = tf.shape(embeddings)
    slices = tf.IndexedSlices(tf.reshape(doutputs, [tf.size(rows), shape[1]]), indices, shape)
    return None, tf.convert_to_tensor(slices) if op.get_attr("dense_gradient") else slices


def _is_square(values: Any) -> bool:
    return not tf.executing_eagerly() and values.op.type == "Square"


def _dense(slices: tf.IndexedSlices, dtype: Any = None, name: str | None = None, as_ref: bool = False) -> Any:
    """Sums slices by rows: a conversion function for `tf.register_tensor_conversion_function`."""
    shape = tf.get_static_value(slices.dense_shape) if hasattr(slices.indices, _OURS) else None
    values = slices.values
    if shape is None or values.dtype not in NATIVE_DTYPES or dtype not in (None, values.dtype):
        return NotImplemented
    # The operation squares in the same pass: to write the squares to memory and read them again would double the time.
    squared = _is_square(values)
    dense = ops.fastseq_embedding_backward(
        slices.indices, values.op.inputs[0] if squared else values, input_dim=shape[0], squared=squared, name=name
    )
    dense.set_shape(shape)
    return dense


# TensorFlow's own conversion has priority 100; lower numbers come first.
tf.register_tensor_conversion_function(tf.IndexedSlices, _dense, priority=90)


@tf.RegisterGradient("FastseqEmbeddingBackward")  # type: ignore[untyped-decorator]
def _second_gradient(op: Any, ddembeddings: Any) -> tuple[None, Any]:
    ids, doutputs = op.inputs
    gradient = ops.fastseq_embedding_forward(ids, ddembeddings, dense_gradient=False).outputs
    return None, 2.0 * doutputs * gradient if op.get_attr("squared") else gradient

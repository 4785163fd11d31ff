"""The kernels as TensorFlow operations, eager and in graphs, with registered gradients.

The import of this package loads the library with the operations. After it, a process can load SavedModels that use
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow import exporting
from fastseq.keras.backend.tensorflow.activations import activation_name
from fastseq.keras.backend.tensorflow.adam import adam
from fastseq.keras.backend.tensorflow.conv1d import conv1d, traced_convolution
from fastseq.keras.backend.tensorflow.dropout import dropout
from fastseq.keras.backend.tensorflow.embedding import embedding
from fastseq.keras.backend.tensorflow.pool import average_pool, max_pool
from fastseq.keras.backend.tensorflow.rnn import rnn

__all__ = [
    "activation_name",
    "adam",
    "average_pool",
    "conv1d",
    "dropout",
    "embedding",
    "exporting",
    "h0_as_first_output",
    "is_distributed",
    "max_pool",
    "rnn",
    "supports_jit",
    "traced_convolution",
    "unavailable_because",
]

h0_as_first_output = False
supports_jit = False  # XLA compiles no custom operations

exporting.check_saved_functions()


def _graphs() -> Iterator[Any]:
    """The graph that is built now and those around it; none in eager mode."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)


def _is_compiled_by_xla() -> bool:
    """Whether the present code is traced for a function that XLA compiles."""
    for graph in _graphs():
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
    return False


def _overrides_gradients() -> bool:
    """Whether a graph replaces the gradients of operations (`tf.Graph.gradient_override_map`)."""
    return any(getattr(graph, "_gradient_override_map", None) for graph in _graphs())


def unavailable_because() -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    if tf.config.list_logical_devices("GPU"):
        return "TensorFlow uses a GPU here, for which Keras has kernels of its own, and ours run on the CPU"
    if _is_compiled_by_xla():
        return "XLA compiles what is computed here, and knows no custom operations"
    if _overrides_gradients():
        return "gradient_override_map replaces gradients of TensorFlow's operations here, which ours are not made of"
    return None


def is_distributed(optimizer: Any) -> bool:
    """See `fastseq.keras.backend.Backend`."""
    return tf.distribute.has_strategy() or optimizer._distribution_strategy is not tf.distribute.get_strategy()

"""with_tables: multiplies the rows of an Embedding by the weights of the layer behind it, once for all calls.

Behind an Embedding, a row of a layer's input is one of the rows of the table. So a recurrent layer's input product is a
row of another table, and a convolution is a sum of such rows, one for each tap. That leaves half of an LSTM's work and
hardly any of a convolution's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq._libraries import core
from fastseq.prediction.graph import Graph, GraphBuilder, Node

__all__ = ["with_tables"]

_CELLS = ("lstm", "gru", "simple_rnn")
# All tables of a graph together. A table that would be more is not made.
_MOST_BYTES = 64 << 20


def with_tables(graph: Graph) -> Graph:
    """The graph with an operation on ids instead of each recurrent layer or convolution directly behind an Embedding.

    Results differ by rounding: the sums have another order.

    Args:
        graph: The graph. Its dtypes and shapes may be inconsistent; then a node stays as it is.
    """
    made_by = {value: node for node in graph.nodes for value in node.outputs.values()}
    replaced: dict[int, tuple[str, NDArray[Any]]] = {}
    left = _MOST_BYTES
    for position, node in enumerate(graph.nodes):
        embedding = made_by.get(node.inputs.get("x", -1))
        if embedding is not None and embedding.operation == "embedding_forward":
            made = _table(graph, node, embedding, left)
            if made is not None:
                replaced[position] = made
                left -= made[1].nbytes
    if not replaced:
        return graph
    builder = GraphBuilder()
    number = [builder.constant(array) for array in graph.constants]
    number += [builder.input(one.name, one.rank, one.dtype, one.shape) for one in graph.inputs]
    for position, node in enumerate(graph.nodes):
        inputs: dict[str, int | None] = {name: number[value] for name, value in node.inputs.items()}
        operation = node.operation
        if position in replaced:
            name, array = replaced[position]
            operation = f"{operation.removesuffix('_predict')}_lookup"
            inputs = {input_: value for input_, value in inputs.items() if input_ not in ("x", "kernel")}
            inputs |= {"ids": number[made_by[node.inputs["x"]].inputs["ids"]], name: builder.constant(array)}
        number += builder.node(operation, node.label, inputs, node.options).values()
    for state in graph.states:
        builder.state(number[state.input], number[state.output], state.shape)
    outputs = [number[value] for value in graph.outputs[: len(graph.outputs) - len(graph.states)]]
    return builder.graph(outputs, graph.input_structure, graph.output_structure)


def _table(graph: Graph, node: Node, embedding: Node, most_bytes: int) -> tuple[str, NDArray[Any]] | None:
    """The argument of the operation on ids that has the table, and the table; None if there is none for this node."""
    cell = node.operation.removesuffix("_predict")
    is_convolution = cell == "conv1d"
    embeddings = _constant(graph, embedding, "embeddings")
    kernel, bias = _constant(graph, node, "kernel"), _constant(graph, node, "bias")
    if embeddings is None or kernel is None or embeddings.ndim != 2 or kernel.ndim != 2 + is_convolution:
        return None
    if embeddings.dtype != kernel.dtype or kernel.shape[-2] != embeddings.shape[1]:
        return None  # such as a convolution with groups
    if 0 in (*embeddings.shape, *kernel.shape) or (bias is not None and bias.size == 0):
        return None
    if embeddings.shape[0] * kernel[..., 0, :].nbytes > most_bytes or "dropout_mask" in node.inputs:
        return None
    if is_convolution:
        return "tables", np.stack([_products(embeddings, tap, None) for tap in kernel])
    if cell not in _CELLS or (bias is None and "bias" in node.inputs):
        return None
    # The first row of a GRU's two biases is for the inputs.
    return "projections", _products(embeddings, kernel, bias[0] if bias is not None and bias.ndim == 2 else bias)


def _constant(graph: Graph, node: Node, name: str) -> NDArray[Any] | None:
    value = node.inputs.get(name, len(graph.constants))
    return graph.constants[value] if value < len(graph.constants) else None


def _products(rows: NDArray[Any], kernel: NDArray[Any], bias: NDArray[Any] | None) -> NDArray[Any]:
    arguments = {"x": np.ascontiguousarray(rows), "kernel": np.ascontiguousarray(kernel), "bias": bias}
    outputs: NDArray[Any] = core.compute("dense", arguments)["outputs"]
    return outputs

"""optimized: joins operations of a graph that one operation of the core computes in one pass. Results are the same.

This is done when a program is made from a graph. Files have graphs as they are lowered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from fastseq.prediction.graph import Graph, Node, State

__all__ = ["optimized"]

# The functions that the kernels compute along with a product.
_ACTIVATIONS = ("tanh", "sigmoid", "hard_sigmoid", "relu", "linear")


def optimized(graph: Graph) -> Graph:
    """The graph with activations computed by the dense layer or convolution before them, and max poolings likewise."""
    return _joined_poolings(_joined_activations(graph))


def _joined_activations(graph: Graph) -> Graph:
    def join(before: Node, node: Node) -> Node | None:
        if node.operation != "activate" or node.options.get("function") not in _ACTIVATIONS:
            return None
        if before.operation not in ("dense", "conv1d_predict") or before.options.get("activation") != "linear":
            return None
        if before.options.get("pool_size", 0):
            return None
        return replace(before, options={**before.options, "activation": node.options["function"]})

    return _joined(graph, join)


def _joined_poolings(graph: Graph) -> Graph:
    def join(before: Node, node: Node) -> Node | None:
        if node.operation != "max_pool_forward" or node.options.get("save_argmax", False):
            return None
        if before.operation != "conv1d_predict" or before.options.get("pool_size", 0):
            return None
        names = {
            "pool_size": "pool_size",
            "pool_strides": "strides",
            "pool_padding": "padding",
            "pool_propagate_nan": "propagate_nan",
        }
        pooling = {name: node.options[own] for name, own in names.items() if own in node.options}
        return replace(before, options={**before.options, **pooling})

    return _joined(graph, join)


def _joined(graph: Graph, join: Callable[[Node, Node], Node | None]) -> Graph:
    """The graph with nodes joined with the node that computes their x, where nothing else reads that x.

    Args:
        graph: The graph.
        join: Returns the node that computes what two nodes do, but for its results, or None.
    """
    uses = Counter([*(value for node in graph.nodes for value in node.inputs.values()), *graph.outputs])
    nodes: list[Node] = []
    made_by: dict[int, int] = {}  # from a value to a position in `nodes`
    for node in graph.nodes:
        x = node.inputs.get("x", -1)
        position = made_by.get(x)
        joined = join(nodes[position], node) if position is not None and uses[x] == 1 else None
        if joined is not None and position is not None:
            nodes[position] = replace(joined, outputs=node.outputs)
        else:
            position = len(nodes)
            nodes.append(node)
        made_by.update(dict.fromkeys(node.outputs.values(), position))
    return _numbered(graph, nodes)


def _numbered(graph: Graph, nodes: list[Node]) -> Graph:
    """The graph with other nodes, whose results are numbered in order."""
    first = len(graph.constants) + len(graph.inputs)
    numbers = list(range(first))
    results = [value for node in nodes for value in node.outputs.values()]
    number = dict(zip([*numbers, *results], range(first + len(results)), strict=True))

    def renumbered(values: dict[str, int]) -> dict[str, int]:
        return {name: number[value] for name, value in values.items()}

    return replace(
        graph,
        nodes=[replace(one, inputs=renumbered(one.inputs), outputs=renumbered(one.outputs)) for one in nodes],
        outputs=[number[value] for value in graph.outputs],
        states=[State(one.input, number[one.output], one.shape) for one in graph.states],
    )

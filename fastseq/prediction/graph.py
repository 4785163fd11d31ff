"""Graph: a model as operations on arrays, and GraphBuilder, which makes one. They know neither Keras nor the core.

Values are arrays, numbered in order: the constants, then the inputs, then the results of the nodes, each node's in the
order of its `outputs`. A node reads only values with smaller numbers than those of its results, so the nodes can run in
the order in which they are listed. The operations and their options are those of the core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

__all__ = [
    "ARRAY_DTYPES",
    "INPUT_DTYPES",
    "MAX_RANK",
    "Graph",
    "GraphBuilder",
    "GraphInput",
    "Node",
    "Option",
    "State",
    "Structure",
]

Option = bool | int | float | str | list[int]

# Dtypes of constants.
ARRAY_DTYPES = ("bool", "float32", "float64", "int32", "int64")
# Dtypes of inputs. "integers" is int32 or int64, as it comes.
INPUT_DTYPES = ("bool", "float32", "float64", "integers")
MAX_RANK = 8
KINDS = ("single", "list", "tuple", "dict")

_RECURRENT = ("last_output", "h_n")
# The results of operations that have others than "outputs". With return_sequences, the recurrent ones have these too.
_RESULTS = {
    f"{cell}_{operation}": (*_RECURRENT, "c_n") if cell == "lstm" else _RECURRENT
    for cell in ("lstm", "gru", "simple_rnn")
    for operation in ("predict", "lookup")
}


@dataclass(frozen=True)
class GraphInput:
    """An array that a call gives.

    Attributes:
        name: The name in messages.
        rank: The number of dimensions. The first is the batch.
        dtype: One of `INPUT_DTYPES`.
        shape: The sizes of the dimensions; None for any. The first, the batch, is not looked at. None if none is known.
    """

    name: str
    rank: int
    dtype: str
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Node:
    """An operation of the core with its arguments.

    Attributes:
        operation: The core's name of the operation.
        label: The layer that the node comes from.
        options: The operation's options by their names.
        inputs: The number of the value for each argument that is an array.
        outputs: The numbers of the results by their names.
    """

    operation: str
    label: str
    options: dict[str, Option]
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class State:
    """What a stateful layer passes on from call to call. It is zero at first.

    Attributes:
        input: The number of an input of the graph, which a call gives to the next calls.
        output: The number of the value that is the state after a call.
        shape: The shape of both.
    """

    input: int
    output: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """How a model's inputs or outputs are arranged.

    Attributes:
        kind: "single", "list", "tuple" or "dict".
        names: A name for each array, in the order of the graph. For a dict, these are its keys.
    """

    kind: str
    names: tuple[str, ...]

    def pack(self, values: Sequence[Any]) -> Any:
        """The values in this arrangement."""
        if self.kind == "single":
            return values[0]
        if self.kind == "dict":
            return dict(zip(self.names, values, strict=True))
        return tuple(values) if self.kind == "tuple" else list(values)


@dataclass(frozen=True)
class Graph:
    """A model as operations.

    Attributes:
        constants: The weights.
        inputs: The arrays that a call gives: those of the model, then the states.
        nodes: The operations, in an order in which they can run.
        outputs: The numbers of the values that are results: those of the model, then the states.
        input_structure: The arrangement of the model's inputs.
        output_structure: The arrangement of the model's outputs.
        states: The states of stateful layers. The input and the output of each come in `inputs` and in `outputs` after
            the model's own, in the same order.
    """

    constants: list[NDArray[Any]]
    inputs: list[GraphInput]
    nodes: list[Node]
    outputs: list[int]
    input_structure: Structure
    output_structure: Structure
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        if reason := self._wrong_because():
            raise ValueError(f"the graph is not consistent: {reason}")

    def _wrong_because(self) -> str | None:
        for number, array in enumerate(self.constants):
            if array.dtype.name not in ARRAY_DTYPES or array.ndim > MAX_RANK:
                return f"constant {number} is a {array.dtype} array of rank {array.ndim}"
        for one in self.inputs:
            if one.dtype not in INPUT_DTYPES or not 1 <= one.rank <= MAX_RANK:
                return f"input {one.name!r} has dtype {one.dtype!r} and rank {one.rank}"
            if one.shape is not None and len(one.shape) != one.rank:
                return f"input {one.name!r} has the rank {one.rank} and the shape {one.shape}"
        exist = len(self.constants) + len(self.inputs)
        for position, node in enumerate(self.nodes):
            where = f"node {position} ({node.operation} of {node.label!r})"
            for name, value in node.inputs.items():
                if not 0 <= value < exist:
                    return f"{where} reads value {value} as {name}, but values 0 to {exist - 1} exist then"
            if tuple(node.outputs) != results_of(node.operation, node.options):
                results = results_of(node.operation, node.options)
                return f"the results of {where} must be {', '.join(results)}, got {', '.join(node.outputs)}"
            if list(node.outputs.values()) != list(range(exist, exist + len(node.outputs))):
                return f"the results of {where} must be numbered from {exist} on, got {list(node.outputs.values())}"
            exist += len(node.outputs)
        for value in self.outputs:
            if not 0 <= value < exist:
                return f"value {value} is an output, but there are values 0 to {exist - 1}"
        return self._wrong_structure_because()

    def _wrong_structure_because(self) -> str | None:
        states = len(self.states)
        sides = (
            ("input", self.input_structure, len(self.inputs) - states),
            ("output", self.output_structure, len(self.outputs) - states),
        )
        for side, structure, expected in sides:
            names = structure.names
            if structure.kind not in KINDS or (structure.kind == "single" and len(names) != 1):
                return f"the {side}s cannot be arranged as {structure.kind!r} of {len(names)}"
            if len(names) != expected:
                return f"{expected} {side}s have {len(names)} names"
            if structure.kind == "dict" and len(set(names)) != len(names):
                return f"two {side}s have the same name"
        first_state = len(self.constants) + len(self.inputs) - states
        for number, state in enumerate(self.states):
            if state.input != first_state + number or state.output != self.outputs[len(self.outputs) - states + number]:
                return f"state {number} is not the {number}th of the last inputs and outputs"
            if len(state.shape) != self.inputs[len(self.inputs) - states + number].rank or min(state.shape) < 0:
                return f"state {number} has the shape {state.shape}"
        return None


def results_of(operation: str, options: Mapping[str, Option]) -> tuple[str, ...]:
    """The names of an operation's results."""
    results = _RESULTS.get(operation)
    if results is None:
        return ("outputs",)
    return ("outputs", *results) if options.get("return_sequences") else results


class GraphBuilder:
    """Makes a graph. Its values are numbers, too, but not those of the graph: `graph` numbers values in its order.

    >>> import numpy as np
    >>> builder = GraphBuilder()
    >>> x = builder.input("x", 2, "float32")
    >>> kernel = builder.constant(np.ones((3, 2), "float32"))
    >>> y = builder.node("dense", "scores", {"x": x, "kernel": kernel}, {"activation": "relu"})["outputs"]
    >>> graph = builder.graph([y], Structure("single", ("x",)), Structure("single", ("scores",)))
    >>> [(node.operation, node.inputs, node.outputs) for node in graph.nodes]
    [('dense', {'x': 1, 'kernel': 0}, {'outputs': 2})]
    """

    def __init__(self) -> None:
        self._count = 0
        self._constants: dict[int, NDArray[Any]] = {}
        self._inputs: dict[int, GraphInput] = {}
        self._nodes: list[Node] = []
        self._states: list[tuple[int, int, tuple[int, ...]]] = []

    def _new(self) -> int:
        self._count += 1
        return self._count - 1

    def constant(self, array: NDArray[Any]) -> int:
        """A constant."""
        value = self._new()
        self._constants[value] = array
        return value

    def input(self, name: str, rank: int, dtype: str, shape: tuple[int | None, ...] | None = None) -> int:
        """An input of the model; call this in the order of the model's inputs."""
        value = self._new()
        self._inputs[value] = GraphInput(name, rank, dtype, shape)
        return value

    def declare(self, value: int, dtype: str) -> None:
        """Changes the dtype of an input."""
        self._inputs[value] = replace(self._inputs[value], dtype=dtype)

    def state(self, value: int, output: int, shape: tuple[int, ...]) -> None:
        """Says that an input is a state: in the next call, it is what `output` is in this one."""
        self._states.append((value, output, shape))

    def node(
        self, operation: str, label: str, inputs: Mapping[str, int | None], options: Mapping[str, Option] | None = None
    ) -> dict[str, int]:
        """Adds a node: returns its results by their names. Inputs that are None are left out."""
        given = dict(options or {})
        outputs = {name: self._new() for name in results_of(operation, given)}
        present = {name: value for name, value in inputs.items() if value is not None}
        self._nodes.append(Node(operation, label, given, present, outputs))
        return outputs

    def graph(self, outputs: Sequence[int], input_structure: Structure, output_structure: Structure) -> Graph:
        """The graph of the nodes and constants that the outputs and the states need."""
        state_inputs = [value for value, _, _ in self._states]
        results = [*outputs, *(output for _, output, _ in self._states)]
        nodes = self._needed_nodes(results)
        read = {value for node in nodes for value in node.inputs.values()} | set(results)
        own = [value for value in self._inputs if value not in state_inputs]
        ordered = [*(value for value in self._constants if value in read), *own, *state_inputs]
        ordered += [value for node in nodes for value in node.outputs.values()]
        number = {value: position for position, value in enumerate(ordered)}

        def renumbered(values: Mapping[str, int]) -> dict[str, int]:
            return {name: number[value] for name, value in values.items()}

        return Graph(
            constants=[array for value, array in self._constants.items() if value in read],
            inputs=[self._inputs[value] for value in (*own, *state_inputs)],
            nodes=[
                Node(node.operation, node.label, node.options, renumbered(node.inputs), renumbered(node.outputs))
                for node in nodes
            ],
            outputs=[number[value] for value in results],
            input_structure=input_structure,
            output_structure=output_structure,
            states=[State(number[value], number[output], shape) for value, output, shape in self._states],
        )

    def _needed_nodes(self, results: Sequence[int]) -> list[Node]:
        needed, read = [], set(results)
        for node in reversed(self._nodes):
            if not read.isdisjoint(node.outputs.values()):
                needed.append(node)
                read.update(node.inputs.values())
        return needed[::-1]

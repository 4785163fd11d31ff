"""ONNX Runtime's operators on its CPU provider, without gradients.

The first axis is time for recurrent operators; for the others, channels come before timesteps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime as runtime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fastseq.bench.implementations import BatchImplementation, LocalImplementation, UnavailableError
from fastseq.bench.implementations._layouts import CONVOLUTION, RECURRENT, from_keras, permutation, reorder, to_keras
from fastseq.bench.implementations._settings import activation, check, number, window
from fastseq.bench.problems import Layer, LayerProblem, ModelProblem

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}
_RECURRENT = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
# For each gate of ONNX, the position of that gate in Keras. i, f, c, o in Keras is i, o, f, c in ONNX; z, r, h is the
# same.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
# Older versions of the format than the newest that the onnx package writes, so that older runtimes read it.
_OPSET, _IR_VERSION = 14, 8
_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """A session with a node or two for each layer."""
    predict, graph = make_session(problem.layers, list(problem.weights.values()), problem.x, threads)
    x = from_keras(problem.x, graph.takes)
    return LocalImplementation(lambda: predict(x), lambda outputs: {"outputs": to_keras(outputs, graph.gives)})


def make_models(implementation: str, problem: ModelProblem, pass_: str, *, threads: int) -> BatchImplementation:
    """A session of the whole model."""
    (first, _), *_ = problem.batches
    predict, graph = make_session(problem.layers, list(problem.weights.values()), first, threads)
    batches = [from_keras(x, graph.takes) for x, _ in problem.batches]
    return BatchImplementation(predict, batches, lambda outputs: {"outputs": outputs})


def make_session(
    layers: Sequence[Layer], weights: Sequence[NDArray[np.float32]], x: NDArray[Any], threads: int
) -> tuple[Callable[[NDArray[Any]], NDArray[Any]], _Graph]:
    """A function of inputs like x in the graph's layout, and the graph."""
    graph = _Graph(layers, weights, x.ndim)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    model = graph.model(from_keras(x, graph.takes))
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predict(x: NDArray[Any]) -> NDArray[Any]:
        (outputs,) = session.run([graph.last], {"x": x})
        return outputs  # type: ignore[no-any-return]

    return predict, graph


class _Graph:
    """A graph of the layers' nodes.

    Args:
        layers: The layers to compute, in order.
        weights: Keras's weights of all layers, in order.
        axes: How many axes the input has.

    Attributes:
        takes: The layout of the graph's input.
        gives: The layout of the last node's outputs.
        last: The name of the last node's outputs.

    Raises:
        UnavailableError: A layer is not written here.
    """

    def __init__(self, layers: Sequence[Layer], weights: Sequence[NDArray[np.float32]], axes: int) -> None:
        self.last = "x"
        self.takes, self.gives = "", "BTC"[:axes]
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._weights: Iterator[NDArray[np.float32]] = iter(weights)
        for layer in layers:
            check(layer)
            _NODES[layer.name](self, layer)
        self.takes = self.takes or self.gives

    def model(self, x: NDArray[Any]) -> bytes:
        """The serialised model for inputs like x."""
        graph = helper.make_graph(
            self._nodes,
            "layers",
            [helper.make_tensor_value_info("x", _TYPES[x.dtype.name], x.shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, [None] * len(self.gives))],
            self._constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION).SerializeToString()
        return model

    def arrange(self, layout: str) -> None:
        """Permutes the axes to this layout; those of the graph's input are permuted before anything is timed."""
        self.takes = self.takes or layout
        if self._nodes and layout != self.gives:
            self.then("Transpose", perm=permutation(self.gives, layout))
        self.gives = layout

    def then(self, operator: str, *others: str | NDArray[Any], output: int = 0, **attributes: Any) -> None:
        """Appends a node whose first input is the output of the last node."""
        self.last = self.node(operator, self.last, *others, output=output, **attributes)

    def node(self, operator: str, *inputs: str | NDArray[Any], output: int = 0, **attributes: Any) -> str:
        """Adds a node with these inputs, names or constants; returns the name of one of its outputs."""
        names = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        name = f"value {len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, names, [""] * output + [name], **attributes))
        return name

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"constant {len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def weights(self, count: int) -> list[NDArray[np.float32]]:
        """The next weights."""
        return list(itertools.islice(self._weights, count))


def _activate(graph: _Graph, layer: Layer) -> None:
    name = activation(layer)
    if name == "linear":
        return
    if name not in _ACTIVATIONS:
        raise UnavailableError(f"the activation {name} is not written for it")
    graph.then(_ACTIVATIONS[name])


def _dropout(graph: _Graph, layer: Layer) -> None:
    """Adds no node, since dropout does nothing in inference."""


def _dense(graph: _Graph, layer: Layer) -> None:
    kernel, bias = graph.weights(2)
    graph.then("MatMul", kernel)
    graph.then("Add", bias)
    _activate(graph, layer)


def _embedding(graph: _Graph, layer: Layer) -> None:
    graph.arrange("BT")
    (table,) = graph.weights(1)
    graph.last = graph.node("Gather", table, graph.last)
    graph.gives = "BTC"


def _convolution(graph: _Graph, layer: Layer) -> None:
    graph.arrange(CONVOLUTION)
    kernel, bias = graph.weights(2)
    graph.then("Conv", kernel.T, bias)
    _activate(graph, layer)


def _pooling(graph: _Graph, layer: Layer) -> None:
    graph.arrange(CONVOLUTION)
    size, strides = window(layer)
    operator = {"MaxPooling1D": "MaxPool", "AveragePooling1D": "AveragePool"}[layer.name]
    graph.then(operator, kernel_shape=[size], strides=[strides])


def _recurrent(graph: _Graph, layer: Layer) -> None:
    graph.arrange(RECURRENT)
    attributes: dict[str, Any] = {}
    directions = 1
    if layer.name == "Bidirectional":
        directions, layer = 2, layer.settings["layer"]
        check(layer)
        attributes["direction"] = "bidirectional"
    if layer.name == "GRU":
        attributes["linear_before_reset"] = 1
    order = _ORDER[layer.name]
    arrays = []
    for _ in range(directions):
        kernel, recurrent_kernel, bias = graph.weights(3)
        input_bias, recurrent_bias = bias if layer.name == "GRU" else (bias, np.zeros_like(bias))
        biases = np.concatenate([reorder(input_bias, order), reorder(recurrent_bias, order)])
        arrays.append((reorder(kernel, order).T, reorder(recurrent_kernel, order).T, biases))
    stacked = [np.stack(of) for of in zip(*arrays, strict=True)]
    sequences = bool(layer.settings.get("return_sequences", False))
    operator, units = _RECURRENT[layer.name], number(layer, "units")
    graph.then(operator, *stacked, output=0 if sequences else 1, hidden_size=units, **attributes)
    if sequences:  # (timesteps, directions, batch, units)
        graph.then("Transpose", perm=(0, 2, 1, 3))
        graph.then("Reshape", np.array([0, 0, -1]))
    else:  # (directions, batch, units)
        graph.then("Transpose", perm=(1, 0, 2))
        graph.then("Reshape", np.array([0, -1]))
        graph.gives = "BC"


def _attention(graph: _Graph, layer: Layer) -> None:
    """The formula of the package `attention`."""
    graph.arrange("BTC")
    x, node = graph.last, graph.node
    last = node("Gather", x, np.array(-1), axis=1)
    if layer.settings.get("score", "luong") == "luong":
        (w,) = graph.weights(1)
        scores = node("MatMul", node("MatMul", x, w), node("Unsqueeze", last, np.array([2])))
    else:
        v, w1, w2 = graph.weights(3)
        of_last = node("Unsqueeze", node("MatMul", last, w1), np.array([1]))
        scores = node("MatMul", node("Tanh", node("Add", of_last, node("MatMul", x, w2))), v)
    weights = node("Transpose", node("Softmax", scores, axis=1), perm=(0, 2, 1))
    context = node("Squeeze", node("MatMul", weights, x), np.array([1]))
    (of_outputs,) = graph.weights(1)
    graph.last = node("Tanh", node("MatMul", node("Concat", context, last, axis=1), of_outputs))
    graph.gives = "BC"


_NODES: dict[str, Callable[[_Graph, Layer], None]] = {
    "Activation": _activate,
    "Attention": _attention,
    "AveragePooling1D": _pooling,
    "Bidirectional": _recurrent,
    "Conv1D": _convolution,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MaxPooling1D": _pooling,
    "SimpleRNN": _recurrent,
}

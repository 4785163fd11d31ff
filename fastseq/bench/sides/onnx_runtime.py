"""ONNX Runtime's operators on its CPU provider: recurrent ones time first, the others channels first. No gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime as runtime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fastseq.bench.problems import Layer, LayerProblem
from fastseq.bench.sides import LocalSide, UnavailableError
from fastseq.bench.sides._layouts import CONVOLUTION, RECURRENT, from_keras, permutation, reorder, to_keras
from fastseq.bench.sides._settings import activation, check, number, window

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}
_RECURRENT = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
# Which of Keras's gates come in ONNX's places: i, f, c, o is i, o, f, c there; z, r, h is the same.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
# Runtimes read models of older versions than the newest that the onnx package writes.
_OPSET, _IR_VERSION = 14, 8
_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def make_layers(side: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalSide:
    """A session with a node for each layer, and one for its activation."""
    if pass_ != "forward":
        raise UnavailableError("has no gradients")
    graph = _Graph(problem.layers, list(problem.weights.values()), problem.x.ndim)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    x = from_keras(problem.x, graph.takes)
    session = runtime.InferenceSession(graph.model(x), options, providers=["CPUExecutionProvider"])
    return LocalSide(
        lambda: session.run([graph.last], {"x": x}), lambda raw: {"outputs": to_keras(raw[0], graph.gives)}
    )


class _Graph:
    """Nodes in a row.

    Args:
        layers: As Keras's, the first takes an input as Keras's.
        weights: Of all of them, in Keras's order.
        axes: How many the input has.

    Attributes:
        takes: The layout of inputs.
        gives: That of outputs.
        last: The output's name.

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
            if layer.name not in _NODES:
                raise UnavailableError(f"{layer.name} is not written for it")
            _NODES[layer.name](self, layer)
        self.takes = self.takes or self.gives

    def model(self, x: NDArray[Any]) -> bytes:
        """The graph for such an input."""
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
        """Puts the axes in this order; of the input, before anything is timed."""
        self.takes = self.takes or layout
        if self._nodes and layout != self.gives:
            self.add("Transpose", perm=permutation(self.gives, layout))
        self.gives = layout

    def add(self, operator: str, *constants: NDArray[Any], before: bool = False, **attributes: Any) -> None:
        """A node that takes what there is and constants, these first with `before`."""
        names = []
        for array in constants:
            names.append(f"constant {len(self._constants)}")
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), names[-1]))
        inputs = [*names, self.last] if before else [self.last, *names]
        self.last = f"value {len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [self.last], **attributes))

    def weight(self) -> NDArray[np.float32]:
        """The next one."""
        return next(self._weights)


def _activate(graph: _Graph, layer: Layer) -> None:
    name = activation(layer)
    if name == "linear":
        return
    if name not in _ACTIVATIONS:
        raise UnavailableError(f"the activation {name} is not written for it")
    graph.add(_ACTIVATIONS[name])


def _embedding(graph: _Graph, layer: Layer) -> None:
    graph.arrange("BT")
    graph.add("Gather", graph.weight(), before=True)
    graph.gives = "BTC"


def _convolution(graph: _Graph, layer: Layer) -> None:
    graph.arrange(CONVOLUTION)
    kernel, bias = graph.weight(), graph.weight()
    graph.add("Conv", kernel.T, bias)
    _activate(graph, layer)


def _pooling(graph: _Graph, layer: Layer) -> None:
    graph.arrange(CONVOLUTION)
    size, strides = window(layer)
    operator = {"MaxPooling1D": "MaxPool", "AveragePooling1D": "AveragePool"}[layer.name]
    graph.add(operator, kernel_shape=[size], strides=[strides])


def _recurrent(graph: _Graph, layer: Layer) -> None:
    if not layer.settings.get("return_sequences", False):
        raise UnavailableError(f"{layer.name} without return_sequences is not written for it")
    graph.arrange(RECURRENT)
    order, units = _ORDER[layer.name], number(layer, "units")
    kernel, recurrent_kernel, bias = (graph.weight() for _ in range(3))
    input_bias, recurrent_bias = bias if layer.name == "GRU" else (bias, np.zeros_like(bias))
    attributes: dict[str, Any] = {"linear_before_reset": 1} if layer.name == "GRU" else {}
    graph.add(
        _RECURRENT[layer.name],
        reorder(kernel, order).T[None],
        reorder(recurrent_kernel, order).T[None],
        np.concatenate([reorder(input_bias, order), reorder(recurrent_bias, order)])[None],
        hidden_size=units,
        **attributes,
    )
    graph.add("Squeeze", np.array([1]))  # (timesteps, directions, batch, units)


_NODES: dict[str, Callable[[_Graph, Layer], None]] = {
    "AveragePooling1D": _pooling,
    "Conv1D": _convolution,
    "Embedding": _embedding,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MaxPooling1D": _pooling,
    "SimpleRNN": _recurrent,
}

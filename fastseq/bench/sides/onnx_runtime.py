"""ONNX Runtime's LSTM, GRU and RNN on its CPU provider, time first. It has no gradients of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as runtime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fastseq.bench.problems import Problem
from fastseq.bench.sides import LocalSide, UnavailableError
from fastseq.bench.sides._gates import reorder

_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "RNN"}
# Which of Keras's gates come in ONNX's places: i, f, c, o is i, o, f, c there; z, r, h is the same.
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "simple_rnn": (0,)}
# Runtimes read models of older versions than the newest that the onnx package writes.
_OPSET, _IR_VERSION = 14, 8


def onnxruntime(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """A session with a single node."""
    if training:
        raise UnavailableError("ONNX Runtime has no gradients of recurrent layers")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(_model(problem), options, providers=["CPUExecutionProvider"])
    feed = {"X": np.ascontiguousarray(problem.x.swapaxes(0, 1))}
    # (timesteps, directions, batch, units)
    return LocalSide(lambda: session.run(["Y"], feed), lambda raw: {"outputs": raw[0][:, 0].swapaxes(0, 1)})


def _model(problem: Problem) -> bytes:
    order = _ORDER[problem.cell]
    input_bias, recurrent_bias = problem.bias if problem.cell == "gru" else (problem.bias, np.zeros_like(problem.bias))
    weights: dict[str, NDArray[Any]] = {
        "W": reorder(problem.kernel, order).T[None],
        "R": reorder(problem.recurrent_kernel, order).T[None],
        "B": np.concatenate([reorder(input_bias, order), reorder(recurrent_bias, order)])[None],
    }
    attributes: dict[str, Any] = {"linear_before_reset": 1} if problem.cell == "gru" else {}
    node = helper.make_node(
        _OPERATORS[problem.cell], ["X", *weights], ["Y"], hidden_size=problem.shape.units, **attributes
    )
    batch, timesteps, inputs, units = problem.shape
    graph = helper.make_graph(
        [node],
        problem.cell,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [timesteps, batch, inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [timesteps, 1, batch, units])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    opset = helper.make_opsetid("", _OPSET)
    model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION).SerializeToString()
    return model

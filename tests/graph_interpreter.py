"""Runs a graph node by node in float64 NumPy, as an independent statement of what its operations mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import reference
from fastseq.prediction.graph import Graph, Node

Array = NDArray[Any]


class Interpreter:
    """Runs a graph; remembers the states of stateful layers from call to call."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.states = [np.zeros(state.shape) for state in graph.states]

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs of the model for its inputs, both in the order of the graph."""
        values = [*self.graph.constants, *self._checked(arrays), *self.states]
        for node in self.graph.nodes:
            results = _run(node, {name: values[value] for name, value in node.inputs.items()})
            assert list(node.outputs.values()) == list(range(len(values), len(values) + len(node.outputs)))
            values += [results[name] for name in node.outputs]
        outputs = [values[value] for value in self.graph.outputs]
        own = len(outputs) - len(self.states)
        self.states = outputs[own:]
        return outputs[:own]

    def _checked(self, arrays: Sequence[Array]) -> list[Array]:
        own = self.graph.inputs[: len(self.graph.inputs) - len(self.states)]
        checked = []
        for array, declared in zip(arrays, own, strict=True):
            assert array.ndim == declared.rank, declared
            kinds = {"integers": "int64", "bool": "bool"}
            checked.append(np.asarray(array, kinds.get(declared.dtype, "float64")))
        return checked


def _run(node: Node, inputs: dict[str, Array]) -> dict[str, Array]:
    if node.operation.endswith("_predict") and node.operation != "conv1d_predict":
        return _recurrent(node.operation, inputs, dict(node.options))
    return {"outputs": _OPERATIONS[node.operation](**inputs, **node.options)}


def _recurrent(operation: str, inputs: dict[str, Array], options: dict[str, Any]) -> dict[str, Array]:
    options.pop("return_sequences")
    forward = getattr(reference, operation.replace("_predict", "_forward"))
    x, kernel, recurrent_kernel = (inputs.pop(name) for name in ("x", "kernel", "recurrent_kernel"))
    result = forward(x, kernel, recurrent_kernel, inputs.pop("bias", None), **inputs, **options)
    return {name: getattr(result, name) for name in ("outputs", "last_output", "h_n", "c_n") if hasattr(result, name)}


def _convolved(x: Array, kernel: Array, bias: Array | None = None, *, pool_size: int, **options: Any) -> Array:
    pooling = {name: options.pop(name) for name in list(options) if name.startswith("pool_")}
    outputs = reference.conv1d_forward(x, kernel, bias, **options)
    if not pool_size:
        return outputs
    return _max_pooled(outputs, pool_size, **{name.removeprefix("pool_"): one for name, one in pooling.items()})


def _max_pooled(
    x: Array, pool_size: int, strides: int, padding: str, propagate_nan: bool, save_argmax: bool = False
) -> Array:
    assert not save_argmax
    return reference.max_pool_forward(x, pool_size, strides, padding, propagate_nan=propagate_nan).outputs


def _dense(x: Array, kernel: Array, bias: Array | None = None, *, activation: str) -> Array:
    outputs = np.asarray(x, np.float64) @ kernel
    return _activated(outputs if bias is None else outputs + bias, activation)


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": reference.sigmoid,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "selu": lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * reference.sigmoid(x),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "gelu": _gelu,
    "exponential": np.exp,
    "relu6": lambda x: np.clip(x, 0, 6),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "log_sigmoid": lambda x: -_softplus(-x),
    "tanh_shrink": lambda x: x - np.tanh(x),
}


def _activated(x: Array, function: str, alpha: float = 0.0, beta: float = math.inf, gamma: float = 0.0) -> Array:
    if function == "elu":
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    if function == "leaky_relu":
        return np.where(x > 0, x, alpha * x)
    if function == "rectifier":
        return np.where(x > gamma, np.minimum(x, beta), alpha * (x - gamma))
    return _FUNCTIONS[function](x)


def _softmax(x: Array, mask: Array | None = None, *, log: bool) -> Array:
    scores = x if mask is None else np.where(mask, x, -3e38)
    scores = scores - scores.max(axis=-1, keepdims=True)
    logarithms = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return logarithms if log else np.exp(logarithms)


_COMBINATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def _either(a: Array, b: Array, *, how: str) -> Array:
    assert a.dtype == b.dtype == bool
    assert a.shape == b.shape
    assert how == "or"
    return a | b


def _layer_normalized(
    x: Array, gamma: Array | None = None, beta: Array | None = None, *, axes: int, epsilon: float, rms: bool
) -> Array:
    over = tuple(range(x.ndim - axes, x.ndim))
    centred = x if rms else x - x.mean(axis=over, keepdims=True)
    outputs = centred / np.sqrt((centred**2).mean(axis=over, keepdims=True) + epsilon)
    outputs = outputs if gamma is None else outputs * gamma
    return outputs if beta is None else outputs + beta


def _reduced(x: Array, mask: Array | None = None, *, axis: int, how: str) -> Array:
    if mask is None:
        return {"max": np.max, "mean": np.mean, "sum": np.sum}[how](x, axis=axis)
    assert how == "mean"
    assert mask.shape == x.shape[: axis + 1]
    counts = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
    return np.where(counts, x, 0).sum(axis=axis) / counts.sum(axis=axis)


def _sliced(x: Array, *, axis: int, begin: int = 0, end: int | None = None, flip: bool = False) -> Array:
    part = x[(slice(None),) * axis + (slice(begin, end),)]
    return np.flip(part, axis) if flip else part


def _padded(x: Array, *, axis: int, before: int, after: int) -> Array:
    return np.pad(x, [(before, after) if one == axis else (0, 0) for one in range(x.ndim)])


def _concatenated(a: Array, b: Array, *, axis: int) -> Array:
    assert (a.dtype == bool) == (b.dtype == bool)
    return np.concatenate([a, b], axis=axis)


def _unequal(x: Array, *, value: float, any_last: bool) -> Array:
    differs = x != value
    return differs.any(axis=-1) if any_last else differs


def _kept(x: Array, mask: Array, *, masked: bool = False) -> Array:
    assert mask.dtype == bool
    assert mask.shape == x.shape[:2]
    return np.where((mask != masked).reshape(*mask.shape, *[1] * (x.ndim - 2)), x, 0)


def _last_step(x: Array, mask: Array | None = None) -> Array:
    if mask is None:
        return x[:, -1]
    rows = [x[row, np.flatnonzero(one)[-1]] if one.any() else np.zeros(x.shape[2]) for row, one in enumerate(mask)]
    return np.stack(rows)


def _reshaped(x: Array, like: Array | None = None, *, keep: int, shape: list[int], tail: int) -> Array:
    return x.reshape(*(x if like is None else like).shape[:keep], *shape, *x.shape[x.ndim - tail :])


_OPERATIONS: dict[str, Callable[..., Array]] = {
    "activate": _activated,
    "average_pool_forward": lambda x, **window: reference.average_pool_forward(x, **window),
    "batch_product": lambda a, b, *, transpose_b: a @ (np.swapaxes(b, 1, 2) if transpose_b else b),
    "combine": lambda a, b, *, how: _COMBINATIONS[how](a, b),
    "combine_masks": _either,
    "concatenate": _concatenated,
    "conv1d_predict": _convolved,
    "dense": _dense,
    "embedding_forward": lambda ids, embeddings: reference.embedding_forward(ids, embeddings),
    "keep": _kept,
    "last_step": _last_step,
    "layer_normalization": _layer_normalized,
    "max_pool_forward": _max_pooled,
    "pad": _padded,
    "reduce": _reduced,
    "repeat": lambda x, *, axis, count: np.repeat(x, count, axis=axis),
    "reshape": _reshaped,
    "slice": _sliced,
    "softmax": _softmax,
    "transpose": lambda x, *, permutation: np.transpose(x, permutation),
    "unequal": _unequal,
}

"""Keras's layers, written with torch.nn.

Each layer computes in the layout that torch prefers for it; a `Stack` permutes the axes between layers with different
layouts. Parameters are in Keras's order of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastseq.bench.implementations import UnavailableError
from fastseq.bench.implementations._layouts import CONVOLUTION, RECURRENT, inverse, permutation, reorder
from fastseq.bench.implementations._settings import activation, check, number, window
from fastseq.bench.problems import Layer

_ACTIVATIONS = {
    "linear": torch.nn.Identity,
    "relu": torch.nn.ReLU,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "softmax": lambda: torch.nn.Softmax(-1),
}
_RECURRENT = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "SimpleRNN": torch.nn.RNN}
# For each gate of torch, the position of that gate in Keras. The order i, f, c, o is the same; z, r, h in Keras is
# r, z, n in torch. torch's GRU is the one with reset_after.
_ORDER = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}

Weights = Iterator[NDArray[np.float32]]
Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class _Part:
    """A layer of a `Stack`.

    Attributes:
        module: The torch module.
        takes: The layout of its inputs; "" for any.
        gives: The layout of its outputs; "" for the same.
        to_keras: Takes an array for each parameter, from an iterator; returns the arrays of Keras's weights.
    """

    module: torch.nn.Module
    takes: str = ""
    gives: str = ""
    to_keras: Callable[[Iterator[NDArray[Any]]], Arrays] = lambda arrays: []


class Stack(torch.nn.Module):  # type: ignore[misc]
    """Layers in a row.

    Args:
        layers: The layers.
        weights: The weights of all layers, in Keras's order.
        axes: The number of axes of the input.

    Attributes:
        takes: The layout of inputs.
        gives: The layout of outputs.

    Raises:
        UnavailableError: A layer is not written here.
    """

    def __init__(self, layers: Sequence[Layer], weights: Sequence[NDArray[np.float32]], axes: int) -> None:
        super().__init__()
        self.parts: list[_Part] = []
        left = iter(weights)
        layout = self.takes = ""
        for layer in layers:
            check(layer)
            part = _PARTS[layer.name](layer, left)
            layout = layout or part.takes or "BTC"[:axes]
            self.takes = self.takes or layout
            self.parts.append(part)
            layout = part.gives or part.takes or layout
        self.gives = layout
        self.modules_of_parts = torch.nn.ModuleList(part.module for part in self.parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes outputs in the layout `gives` from inputs in the layout `takes`."""
        layout = self.takes
        for part in self.parts:
            if part.takes and part.takes != layout:
                x = x.permute(permutation(layout, part.takes))
            x = part.module(x)
            layout = part.gives or part.takes or layout
        return x

    def to_keras(self, tensors: Sequence[torch.Tensor]) -> Arrays:
        """Converts the gradients by the parameters to those by Keras's weights, in the same order."""
        left = iter([tensor.detach().numpy() for tensor in tensors])
        return [array for part in self.parts for array in part.to_keras(left)]


def _parameter(array: NDArray[np.float32]) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.array(array, order="C")))


def _activation(layer: Layer) -> torch.nn.Module:
    name = activation(layer)
    if name not in _ACTIVATIONS:
        raise UnavailableError(f"the activation {name} is not written for it")
    return _ACTIVATIONS[name]()


def _product(layer: Layer, weights: Weights, make: Callable[..., torch.nn.Module], takes: str = "") -> _Part:
    """A layer with a kernel, a bias and an activation. In torch the kernel's axes are reversed."""
    kernel, bias = next(weights), next(weights)
    width, inputs, outputs = (1, *kernel.shape)[-3:]
    product = make(inputs, outputs, width)
    product.weight, product.bias = _parameter(kernel.T), _parameter(bias)
    module = torch.nn.Sequential(product, _activation(layer))
    return _Part(module, takes, to_keras=lambda arrays: [next(arrays).T, next(arrays)])


def _dense(layer: Layer, weights: Weights) -> _Part:
    return _product(layer, weights, lambda inputs, outputs, width: torch.nn.Linear(inputs, outputs))


def _convolution(layer: Layer, weights: Weights) -> _Part:
    return _product(layer, weights, torch.nn.Conv1d, CONVOLUTION)


def _embedding(layer: Layer, weights: Weights) -> _Part:
    table = torch.nn.Embedding.from_pretrained(_parameter(next(weights)), freeze=False)
    return _Part(table, "BT", "BTC", lambda arrays: [next(arrays)])


def _pooling(layer: Layer, weights: Weights) -> _Part:
    pools = {"MaxPooling1D": torch.nn.MaxPool1d, "AveragePooling1D": torch.nn.AvgPool1d}
    return _Part(pools[layer.name](*window(layer)), CONVOLUTION)


def _recurrent(layer: Layer, weights: Weights) -> _Part:
    module = _Recurrent(layer, weights)
    return _Part(module, RECURRENT, "TBC" if module.sequences else "BC", module.to_keras)


def _attention(layer: Layer, weights: Weights) -> _Part:
    module = _Attention(layer, weights)
    return _Part(module, "BTC", "BC", module.to_keras)


class _Recurrent(torch.nn.Module):  # type: ignore[misc]
    """torch.nn.LSTM, GRU or RNN, in one direction or two."""

    def __init__(self, layer: Layer, weights: Weights) -> None:
        super().__init__()
        self.directions = 1
        if layer.name == "Bidirectional":
            self.directions, layer = 2, layer.settings["layer"]
            check(layer)
        self.name, self.order = layer.name, _ORDER[layer.name]
        self.sequences = bool(layer.settings.get("return_sequences", False))
        of_directions = [[next(weights) for _ in range(3)] for _ in range(self.directions)]
        inputs = of_directions[0][0].shape[0]
        units = number(layer, "units")
        self.recur = _RECURRENT[layer.name](inputs, units, bidirectional=self.directions == 2)
        for suffix, (kernel, recurrent_kernel, bias) in zip(("", "_reverse"), of_directions, strict=False):
            input_bias, recurrent_bias = bias if self.name == "GRU" else (bias, np.zeros_like(bias))
            values = {"weight_ih": kernel, "weight_hh": recurrent_kernel}
            values |= {"bias_ih": input_bias, "bias_hh": recurrent_bias}
            with torch.no_grad():
                for name, value in values.items():
                    getattr(self.recur, f"{name}_l0{suffix}").copy_(torch.from_numpy(reorder(value, self.order).T))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, states = self.recur(x)
        if self.sequences:
            return outputs
        last = states[0] if self.name == "LSTM" else states
        return torch.cat(list(last), -1)

    def to_keras(self, arrays: Iterator[NDArray[Any]]) -> Arrays:
        """The gradients by Keras's weights. torch has two biases; in Keras only GRU has, so others use the first."""
        found = []
        for _ in range(self.directions):
            kernel, recurrent_kernel, input_bias, recurrent_bias = (
                reorder(next(arrays).T, inverse(self.order)) for _ in range(4)
            )
            bias = np.stack([input_bias, recurrent_bias]) if self.name == "GRU" else input_bias
            found += [kernel, recurrent_kernel, bias]
        return found


class _Attention(torch.nn.Module):  # type: ignore[misc]
    """The formula of the package `attention`."""

    def __init__(self, layer: Layer, weights: Weights) -> None:
        super().__init__()
        self.additive = layer.settings.get("score", "luong") == "bahdanau"
        self.of_scores = torch.nn.ParameterList([_parameter(next(weights)) for _ in range(3 if self.additive else 1)])
        self.of_outputs = _parameter(next(weights))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x[:, -1]
        if self.additive:
            v, w1, w2 = self.of_scores
            scores = torch.tanh((last @ w1)[:, None] + x @ w2) @ v
        else:
            scores = (x @ self.of_scores[0]) @ last[:, :, None]
        weights = torch.softmax(scores[:, :, 0], -1)
        context = (weights[:, None] @ x)[:, 0]
        return torch.tanh(torch.cat([context, last], 1) @ self.of_outputs)

    def to_keras(self, arrays: Iterator[NDArray[Any]]) -> Arrays:
        output_weights, *of_scores = (next(arrays) for _ in range(1 + len(self.of_scores)))
        return [*of_scores, output_weights]


_PARTS: dict[str, Callable[[Layer, Weights], _Part]] = {
    "Activation": lambda layer, weights: _Part(_activation(layer)),
    "Attention": _attention,
    "AveragePooling1D": _pooling,
    "Bidirectional": _recurrent,
    "Conv1D": _convolution,
    "Dense": _dense,
    "Dropout": lambda layer, weights: _Part(torch.nn.Dropout(layer.settings["rate"])),
    "Embedding": _embedding,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MaxPooling1D": _pooling,
    "SimpleRNN": _recurrent,
}

"""Keras's layers written with torch.nn.

Each works on the layout that torch prefers for it; a `Stack` puts axes in order between those that differ. Parameters
come in Keras's order of weights, which `load` takes and `to_keras` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastseq.bench.problems import Layer
from fastseq.bench.sides import UnavailableError
from fastseq.bench.sides._layouts import CONVOLUTION, RECURRENT, inverse, permutation, reorder
from fastseq.bench.sides._settings import activation, check, number, window

_ACTIVATIONS = {
    "linear": torch.nn.Identity,
    "relu": torch.nn.ReLU,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "softmax": lambda: torch.nn.Softmax(-1),
}
_RECURRENT = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "SimpleRNN": torch.nn.RNN}
# Which of Keras's gates come in torch's places: i, f, c, o is the same; z, r, h is r, z, n there. torch's GRU is the
# one with reset_after.
_ORDER = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}

Arrays = list[NDArray[Any]]


class Stack(torch.nn.Module):  # type: ignore[misc]
    """Layers in a row.

    Args:
        layers: The first takes an input as Keras's.
        weights: Of all of them, in Keras's order.
        axes: How many the input has.

    Attributes:
        takes: The layout of inputs.
        gives: That of outputs.

    Raises:
        UnavailableError: A layer is not written here.
    """

    def __init__(self, layers: Sequence[Layer], weights: Sequence[NDArray[np.float32]], axes: int) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList()
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs in the layout `gives`, of inputs in `takes`."""
        layout = self.takes
        for part in self.parts:
            if part.takes and part.takes != layout:
                x = x.permute(permutation(layout, part.takes))
            x = part(x)
            layout = part.gives or part.takes or layout
        return x

    def to_keras(self, tensors: Sequence[torch.Tensor]) -> Arrays:
        """Gradients by the parameters, in the order of these, as Keras has them."""
        left = iter([tensor.detach().numpy() for tensor in tensors])
        return [array for part in self.parts for array in part.to_keras(left)]


class _Part(torch.nn.Module):  # type: ignore[misc]
    """A layer; by itself one without weights.

    Attributes:
        takes: The layout of its inputs; "" for any.
        gives: That of its outputs; "" for the same.
    """

    takes = ""
    gives = ""

    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__()

    def to_keras(self, arrays: Iterator[NDArray[Any]]) -> Arrays:
        """Takes as many arrays as there are parameters."""
        return []


def _parameter(array: NDArray[np.float32]) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.array(array, order="C")))


class _Activation(_Part):
    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        self.activate = _activation(layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated: torch.Tensor = self.activate(x)
        return activated


def _activation(layer: Layer) -> torch.nn.Module:
    name = activation(layer)
    if name not in _ACTIVATIONS:
        raise UnavailableError(f"the activation {name} is not written for it")
    return _ACTIVATIONS[name]()


class _Dropout(_Part):
    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        self.drop = torch.nn.Dropout(layer.settings["rate"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped: torch.Tensor = self.drop(x)
        return dropped


class _Dense(_Part):
    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        kernel, bias = next(weights), next(weights)
        self.linear = torch.nn.Linear(*kernel.shape)
        self.linear.weight, self.linear.bias = _parameter(kernel.T), _parameter(bias)
        self.activate = _activation(layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated: torch.Tensor = self.activate(self.linear(x))
        return activated

    def to_keras(self, arrays: Iterator[NDArray[Any]]) -> Arrays:
        return [next(arrays).T, next(arrays)]


class _Embedding(_Part):
    takes, gives = "BT", "BTC"

    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        self.table = torch.nn.Embedding.from_pretrained(_parameter(next(weights)), freeze=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        looked_up: torch.Tensor = self.table(x)
        return looked_up

    def to_keras(self, arrays: Iterator[NDArray[Any]]) -> Arrays:
        return [next(arrays)]


class _Conv1D(_Part):
    takes = CONVOLUTION

    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        kernel, bias = next(weights), next(weights)
        width, channels, filters = kernel.shape
        self.convolve = torch.nn.Conv1d(channels, filters, width)
        self.convolve.weight, self.convolve.bias = _parameter(kernel.T), _parameter(bias)
        self.activate = _activation(layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated: torch.Tensor = self.activate(self.convolve(x))
        return activated

    def to_keras(self, arrays: Iterator[NDArray[Any]]) -> Arrays:
        return [next(arrays).T, next(arrays)]


class _Pooling(_Part):
    takes = CONVOLUTION

    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        pools = {"MaxPooling1D": torch.nn.MaxPool1d, "AveragePooling1D": torch.nn.AvgPool1d}
        self.pool = pools[layer.name](*window(layer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.pool(x)
        return pooled


class _Recurrent(_Part):
    """torch.nn.LSTM, GRU or RNN, of one direction or two."""

    takes = RECURRENT

    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
        self.directions = 1
        if layer.name == "Bidirectional":
            self.directions, layer = 2, layer.settings["layer"]
            check(layer)
        self.name, self.order = layer.name, _ORDER[layer.name]
        self.sequences = bool(layer.settings.get("return_sequences", False))
        self.gives = "TBC" if self.sequences else "BC"
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
        """Of torch's two biases the first one's gradient, but of a GRU both: only there they have two in Keras."""
        found = []
        for _ in range(self.directions):
            kernel, recurrent_kernel, input_bias, recurrent_bias = (
                reorder(next(arrays).T, inverse(self.order)) for _ in range(4)
            )
            bias = np.stack([input_bias, recurrent_bias]) if self.name == "GRU" else input_bias
            found += [kernel, recurrent_kernel, bias]
        return found


class _Attention(_Part):
    """The formula of the package `attention`."""

    takes, gives = "BTC", "BC"

    def __init__(self, layer: Layer, weights: Iterator[NDArray[np.float32]]) -> None:
        super().__init__(layer, weights)
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


_PARTS: dict[str, type[_Part]] = {
    "Activation": _Activation,
    "Attention": _Attention,
    "AveragePooling1D": _Pooling,
    "Bidirectional": _Recurrent,
    "Conv1D": _Conv1D,
    "Dense": _Dense,
    "Dropout": _Dropout,
    "Embedding": _Embedding,
    "GRU": _Recurrent,
    "LSTM": _Recurrent,
    "MaxPooling1D": _Pooling,
    "SimpleRNN": _Recurrent,
}

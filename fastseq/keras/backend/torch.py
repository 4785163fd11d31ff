"""The kernels on PyTorch's tensors, differentiable by autograd: `fastseq.torch`.

Keras draws dropout's masks there with PyTorch's generator, whose numbers the kernels cannot draw, and PyTorch's own
gradient of an embedding is a tensor already: both layers compute as stock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from fastseq.torch.operations import call

__all__ = [
    "activation_name",
    "adam",
    "average_pool",
    "conv1d",
    "dropout",
    "embedding",
    "exporting",
    "max_pool",
    "rnn",
    "supports_jit",
    "traced_convolution",
    "unavailable_because",
]

supports_jit = True  # torch.compile takes the operations whole
adam = dropout = embedding = exporting = traced_convolution = None

_ACTIVATIONS = {
    torch.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    torch.relu: "relu",
    torch.nn.functional.tanh: "tanh",
    torch.nn.functional.sigmoid: "sigmoid",
    torch.nn.functional.relu: "relu",
}
_RNN_INPUTS = ("x", "kernel", "recurrent_kernel", "bias", "h0")
_RNN_MASKS = ("mask", "dropout_mask", "recurrent_dropout_mask")


def unavailable_because() -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    if torch.jit.is_tracing():
        return "torch.jit.trace records PyTorch's operations, which ours are not made of"
    if torch._C._are_functorch_transforms_active():
        return "torch.func transforms PyTorch's operations, which ours are not made of"
    return None


def activation_name(function: Callable[..., Any]) -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    return _ACTIVATIONS.get(function)


def rnn(cell: str, inputs: Sequence[Any], *, options: Mapping[str, Any], training: bool) -> tuple[Any, Any, list[Any]]:
    """See `fastseq.keras.backend.Backend`."""
    del training  # autograd knows
    states = ("c0",) if cell == "lstm" else ()
    named: dict[str, Any] = dict(zip((*_RNN_INPUTS, *states, *_RNN_MASKS), inputs, strict=True))
    results = call(f"{cell}_forward", {**named, **options})
    return results["last_output"], results["outputs"], [results["h_n"], *(results["c_n"] for _ in states)]


def conv1d(inputs: Sequence[Any], *, options: Mapping[str, Any], convolved_shape: Sequence[Any], training: bool) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    del convolved_shape, training
    named: dict[str, Any] = dict(zip(("x", "kernel", "bias"), inputs, strict=True))
    return call("conv1d_forward", {**named, **options})["outputs"]


def max_pool(x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    del training
    return _pool("max_pool_forward", x, pool_size, strides, padding)


def average_pool(x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    del training
    timesteps = x.shape[1]
    if padding == "same" and timesteps:
        missing = max(0, (-(-timesteps // strides) - 1) * strides + pool_size - timesteps)
        before, after = missing // 2, missing - missing // 2
        if before != after:  # there Keras repeats the ends and counts what it repeats, as on no other backend
            ends = x[:, :1].expand(-1, before, -1), x[:, -1:].expand(-1, after, -1)
            x, padding = torch.cat([ends[0], x, ends[1]], 1), "valid"
    return _pool("average_pool_forward", x, pool_size, strides, padding)


def _pool(name: str, x: Any, pool_size: int, strides: int, padding: str) -> Any:
    return call(name, {"x": x, "pool_size": pool_size, "strides": strides, "padding": padding})["outputs"]

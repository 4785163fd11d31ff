"""The kernels on PyTorch's tensors, differentiable by autograd: `fastseq.torch`.

On PyTorch, Keras draws dropout's masks with PyTorch's random number generator, whose numbers the kernels cannot
reproduce. So Dropout runs on stock Keras. Embedding does so, too, because its gradient is a dense tensor on PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fastseq.autodiff.operations import output_timesteps
from fastseq.keras.backend.autodiff import Exporting, Operations
from fastseq.torch.operations import call

__all__ = [
    "activation_name",
    "adam",
    "average_pool",
    "conv1d",
    "dropout",
    "embedding",
    "exporting",
    "h0_as_first_output",
    "is_distributed",
    "max_pool",
    "rnn",
    "supports_jit",
    "traced_convolution",
    "unavailable_because",
]

h0_as_first_output = False
supports_jit = True  # torch.compile treats an operation as one opaque operator
adam = dropout = embedding = traced_convolution = None


class _Exporting(Exporting):
    def export_format(self) -> str | None:
        """See `fastseq.keras.backend.Exporting`."""
        if not torch.compiler.is_dynamo_compiling():
            return super().export_format()
        # Dynamo, which exports with strict=True, can look at no call stack. Up to 2.9 it takes `is_exporting` for true
        # in every torch.compile, and 2.4 has no such function.
        return "PyTorch" if _KNOWS_EXPORTS and torch.compiler.is_exporting() else None


_KNOWS_EXPORTS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)  # the first that was tested
exporting = _Exporting(torch.compiler.is_compiling)


class _Operations(Operations):
    def average_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """See `fastseq.keras.backend.Backend`."""
        timesteps = x.shape[1]
        if padding == "same" and timesteps:
            windows = output_timesteps(timesteps, pool_size, strides, padding)
            missing = max(0, (windows - 1) * strides + pool_size - timesteps)
            before, after = missing // 2, missing - missing // 2
            if before != after:  # Keras on PyTorch, unlike on other backends, pads copies of the ends, which count
                ends = x[:, :1].expand(-1, before, -1), x[:, -1:].expand(-1, after, -1)
                x, padding = torch.cat([ends[0], x, ends[1]], 1), "valid"
        return super().average_pool(x, pool_size=pool_size, strides=strides, padding=padding, training=training)


_operations = _Operations(call)
rnn, conv1d = _operations.rnn, _operations.conv1d
max_pool, average_pool = _operations.max_pool, _operations.average_pool

_ACTIVATIONS = {
    torch.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    torch.relu: "relu",
    torch.nn.functional.tanh: "tanh",
    torch.nn.functional.sigmoid: "sigmoid",
    torch.nn.functional.relu: "relu",
}


def unavailable_because() -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    if torch.jit.is_tracing():
        return "torch.jit.trace records PyTorch's operations, which ours are not made of"
    if torch._C._are_functorch_transforms_active():
        return "torch.func transforms PyTorch's operations, which ours are not made of"
    return None


def is_distributed(optimizer: Any) -> bool:
    """See `fastseq.keras.backend.Backend`."""
    return False


def activation_name(function: Callable[..., Any]) -> str | None:
    """See `fastseq.keras.backend.Backend`."""
    return _ACTIVATIONS.get(function)

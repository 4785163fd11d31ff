"""fastseq's kernels for PyTorch.

`LSTM`, `GRU` and `RNN` are drop-in replacements for the modules of `torch.nn`: they have the same arguments,
parameters, `state_dict` and results. `accelerate` replaces the modules of an existing model, and `to_stock` undoes
that. `fastseq.torch.functional` has the operations, differentiable by autograd.
"""

from __future__ import annotations

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("fastseq.torch needs PyTorch 2.4 or newer: pip install torch") from error

from fastseq.acceleration_report import AccelerationReport, ReportRow
from fastseq.torch import functional
from fastseq.torch.accelerate import accelerate, to_stock
from fastseq.torch.rnn import GRU, LSTM, RNN, StockFallbackWarning

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AccelerationReport",
    "ReportRow",
    "StockFallbackWarning",
    "accelerate",
    "functional",
    "to_stock",
]

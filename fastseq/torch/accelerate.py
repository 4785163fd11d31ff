"""`accelerate` makes the modules inside a module fast, in place; `to_stock` makes them PyTorch's own again."""

from __future__ import annotations

from typing import Any

from torch import nn

from fastseq.acceleration_report import AccelerationReport, ReportRow
from fastseq.torch.rnn import GRU, LSTM, RNN

__all__ = ["accelerate", "to_stock"]

_FAST: dict[type[Any], type[Any]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}
_STOCK = {fast: stock for stock, fast in _FAST.items()}
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def accelerate(module: nn.Module, *, verbose: bool = True, return_report: bool = False) -> Any:
    """Gives every `torch.nn.LSTM`, `GRU` and `RNN` inside a module fastseq's kernels, in place.

    The class of such a module changes, but the object stays the same. Parameters, hooks, buffers and names stay as they
    are, so optimizers and `state_dict` files still fit. Modules of subclasses stay stock, because they may compute
    something else. So do modules whose `proj_size` is above 0. The report says so.

    Args:
        module: Any module. It can itself be a module that becomes fast.
        verbose: Whether to print the report.
        return_report: Whether to return the report, too.

    Returns:
        The module, the same object; with `return_report`, a tuple of it and a `fastseq.torch.AccelerationReport`.

    Raises:
        TypeError: `module` is not a `torch.nn.Module`.

    >>> import torch
    >>> from fastseq.torch import accelerate
    >>> model = torch.nn.ModuleDict({"words": torch.nn.Embedding(100, 8), "lstm": torch.nn.LSTM(8, 16)})
    >>> model = accelerate(model)
    layer  was            is
    lstm   torch.nn.LSTM  fastseq.torch.LSTM
    1 replaced, 0 left; fastseq has nothing for torch.nn.Embedding
    """
    return _convert(module, _FAST, verbose=verbose, return_report=return_report)


def to_stock(module: nn.Module, *, verbose: bool = False, return_report: bool = False) -> Any:
    """Gives fast modules PyTorch's own classes again, in place: the inverse of `accelerate`.

    Args:
        module: Any module.
        verbose: Whether to print the report.
        return_report: Whether to return the report, too.

    Returns:
        As `accelerate`.

    Raises:
        TypeError: `module` is not a `torch.nn.Module`.

    >>> import torch
    >>> from fastseq.torch import LSTM, to_stock
    >>> type(to_stock(LSTM(8, 16))) is torch.nn.LSTM
    True
    """
    return _convert(module, _STOCK, verbose=verbose, return_report=return_report)


def _convert(module: Any, classes: dict[type[Any], type[Any]], *, verbose: bool, return_report: bool) -> Any:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {_name(type(module))}")
    rows = []
    others = set()
    for path, part in module.named_modules():
        was = type(part)
        if was in classes:
            reason = "proj_size is above 0" if part.proj_size else ""
            if not reason:
                part.__class__ = classes[was]
            rows.append(ReportRow(path or "(the module)", _name(was), _name(type(part)), reason))
        elif was not in classes.values() and isinstance(part, tuple(classes)):
            base = next(base for base in classes if isinstance(part, base))
            rows.append(ReportRow(path, _name(was), _name(was), f"is a subclass of {_name(base)}"))
        elif was.__module__.startswith("torch.nn.") and not isinstance(part, (*_CONTAINERS, *_FAST)):
            others.add(_name(was))
    report = AccelerationReport(tuple(rows), tuple(sorted(others)))
    if verbose:
        print(report)
    return (module, report) if return_report else module


def _name(kind: type[Any]) -> str:
    """The full name under which users import a class."""
    for package in ("torch.nn", "fastseq.torch"):
        if kind.__module__.startswith(f"{package}."):
            return f"{package}.{kind.__qualname__}"
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

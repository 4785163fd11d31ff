"""Arrays on a GPU for the tests: on an emulated GPU, or on a real one, made with PyTorch."""

from __future__ import annotations

import copy
import ctypes
from types import ModuleType
from typing import Any

import emulated_cuda
import numpy as np
import rnn_cases
from emulated_cuda import DlpackArray, InterfaceArray, as_bfloat16

DTYPES = ("float32", "float16", "bfloat16")


class Emulated:
    def __init__(self, extension: ModuleType) -> None:
        self.extension = extension

    def order(self, seed: int) -> None:
        """In which its threads take turns: 0 for that of their numbers, else at random."""
        ctypes.CDLL(str(self.extension.__file__)).emulate_in_order(seed)

    def array(self, array: Any, dtype: str = "float32") -> Any:
        """By one protocol after the other; what is not of floats keeps its dtype."""
        if array.dtype.kind != "f":
            return InterfaceArray(array)
        if dtype == "bfloat16":
            return DlpackArray(as_bfloat16(array), dtype)
        return DlpackArray(array, versioned=False) if dtype == "float32" else InterfaceArray(array.astype(dtype))

    def numpy(self, array: Any) -> Any:
        return emulated_cuda.to_numpy(array)

    def dtype(self, array: Any) -> str:
        return str(array.dtype)


class Real:
    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def multiprocessors(self) -> int:
        return int(self.torch.cuda.get_device_properties(0).multi_processor_count)

    def array(self, array: Any, dtype: str = "float32") -> Any:
        tensor = self.torch.from_numpy(np.ascontiguousarray(array))
        return (tensor.to(getattr(self.torch, dtype)) if array.dtype.kind == "f" else tensor).cuda()

    def numpy(self, array: Any) -> Any:
        return (array.float() if array.dtype == self.torch.bfloat16 else array).cpu().numpy()

    def dtype(self, array: Any) -> str:
        return str(array.dtype).removeprefix("torch.")


def rounded(array: Any, dtype: str) -> Any:
    """To what `dtype` can hold, as the array's own dtype."""
    if array.dtype.kind != "f" or dtype == "float32":
        return array
    if dtype == "bfloat16":
        return (as_bfloat16(array).astype(np.uint32) << 16).view(np.float32)
    return array.astype(dtype).astype(array.dtype)


def mapped(arguments: dict[str, Any], change: Any) -> dict[str, Any]:
    return {name: change(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()}


def on_gpu(case: rnn_cases.Case, dtype: str, change: Any) -> rnn_cases.Case:
    """The case with arrays that are `change`d, having been rounded to `dtype`."""
    case = copy.copy(case)
    for group in ("weights", "states", "masks", "gradients"):
        changed = mapped(getattr(case, group), lambda array: change(rounded(array, dtype)))
        setattr(case, group, changed)
    return case

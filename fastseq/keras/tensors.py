"""Converts between the tensors and settings of Keras's layers and those of the kernels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops
from keras.src.backend import Variable

DATA_FORMATS = ("channels_last", "channels_first")
NATIVE_DTYPES = ("float32", "float64")


def cast(x: Any, dtype: Any) -> Any:
    """A tensor or variable as a tensor of a dtype. `keras.ops.cast` takes time even if the dtype is right already."""
    return ops.cast(x, dtype) if isinstance(x, Variable) or x.dtype != dtype else x


def native_dtype(dtype: Any) -> str:
    """The dtype that the kernels compute in for a given dtype: the same if they have it, else float32."""
    name: str = keras.backend.standardize_dtype(dtype)
    return name if name in NATIVE_DTYPES else "float32"


def native_tensors(tensors: Iterable[Any], dtype: Any) -> list[Any]:
    """Casts tensors and variables to the kernels' dtype for a layer that computes in `dtype`; None stays None."""
    native = native_dtype(dtype)
    return [None if one is None else cast(one, native) for one in tensors]


def rank(x: Any) -> int | None:
    """The number of dimensions of x; None if it is unknown or x has no shape, such as a list of tensors."""
    shape = getattr(x, "shape", None)
    return None if shape is None or getattr(shape, "rank", 0) is None else len(shape)


def only_number(setting: Any) -> int | None:
    """The integer in a setting that Keras keeps as a tuple with one entry; None if the setting is not such a tuple."""
    try:
        (number,) = setting
        return operator.index(number)
    except (TypeError, ValueError):
        return None


def wrong_setting(layer: Any, *numbers: str) -> str | None:
    """Says which of a layer's `numbers`, or its `data_format`, has a value that the kernels do not take, or None."""
    for name in numbers:
        if only_number(getattr(layer, name)) is None:
            return f"{name} must be one integer, got {getattr(layer, name)!r}"
    if layer.data_format not in DATA_FORMATS:
        return f"data_format must be one of {', '.join(DATA_FORMATS)}, got {layer.data_format!r}"
    return None


def with_channels_last(compute: Callable[[Any], Any], x: Any, data_format: str) -> Any:
    """Applies a function with channels last to x, and returns the outputs in x's data format and dtype.

    Args:
        compute: A function of a tensor (batch, timesteps, channels) of a native dtype, which returns such a tensor.
        x: A tensor.
        data_format: The order of x's dimensions.
    """
    native = cast(x, native_dtype(x.dtype))
    first = data_format == "channels_first"
    outputs = compute(ops.transpose(native, (0, 2, 1)) if first else native)
    return cast(ops.transpose(outputs, (0, 2, 1)) if first else outputs, x.dtype)

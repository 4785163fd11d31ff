"""What the kernels take and give of tensors, as Keras's layers have them."""

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
    """A tensor or variable as a tensor of a dtype; `keras.ops.cast` takes time also where there is nothing to do."""
    return ops.cast(x, dtype) if isinstance(x, Variable) or x.dtype != dtype else x


def native_dtype(dtype: Any) -> str:
    """What the kernels compute in for a dtype: that one or, where they do not have it, float32."""
    name: str = keras.backend.standardize_dtype(dtype)
    return name if name in NATIVE_DTYPES else "float32"


def native_tensors(tensors: Iterable[Any], dtype: Any) -> list[Any]:
    """Tensors and variables as the kernels take them where Keras computes in `dtype`; None for what is not there."""
    native = native_dtype(dtype)
    return [None if one is None else cast(one, native) for one in tensors]


def rank(x: Any) -> int | None:
    """How many dimensions something has, if that is known; None also of what has no shape, as a list of tensors."""
    shape = getattr(x, "shape", None)
    return None if shape is None or getattr(shape, "rank", 0) is None else len(shape)


def only_number(setting: Any) -> int | None:
    """The whole number of a setting of which Keras keeps one for each dimension, here one; None if it is not that."""
    try:
        (number,) = setting
        return operator.index(number)
    except (TypeError, ValueError):
        return None


def wrong_setting(layer: Any, *numbers: str) -> str | None:
    """Which setting of a layer over windows of timesteps is no number or no data format, or None."""
    for name in numbers:
        if only_number(getattr(layer, name)) is None:
            return f"{name} must be one integer, got {getattr(layer, name)!r}"
    if layer.data_format not in DATA_FORMATS:
        return f"data_format must be one of {', '.join(DATA_FORMATS)}, got {layer.data_format!r}"
    return None


def with_channels_last(compute: Callable[[Any], Any], x: Any, data_format: str) -> Any:
    """What the kernels give for x in either order of its dimensions, in that order and x's dtype.

    Args:
        compute: From (batch, timesteps, channels) of a native dtype to the like.
        x: A tensor.
        data_format: Of x.
    """
    native = cast(x, native_dtype(x.dtype))
    first = data_format == "channels_first"
    outputs = compute(ops.transpose(native, (0, 2, 1)) if first else native)
    return cast(ops.transpose(outputs, (0, 2, 1)) if first else outputs, x.dtype)

"""The library with the operations, and what their wrappers share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastseq._libraries import tensorflow_library
from fastseq.functional import pooled_timesteps

ops = tf.load_op_library(str(tensorflow_library()))

# What the kernels compute in.
NATIVE_DTYPES = (tf.float32, tf.float64)


# What the operations' attributes are, of which TensorFlow takes no look-alikes: 1 is no bool to it, nor is np.True_.
_ATTRIBUTE_TYPES: dict[str, type] = {
    "activation": str,
    "dense_gradient": bool,
    "dilation_rate": int,
    "go_backwards": bool,
    "groups": int,
    "padding": str,
    "pool_padding": str,
    "pool_size": int,
    "pool_strides": int,
    "recurrent_activation": str,
    "reset_after": bool,
    "return_sequences": bool,
    "save_argmax": bool,
    "save_workspace": bool,
    "strides": int,
    "zero_output_for_mask": bool,
}


def attributes(**settings: Any) -> dict[str, Any]:
    """A layer's settings as an operation takes them: truth values of any type as bool, whole numbers as int."""
    return {name: _ATTRIBUTE_TYPES[name](setting) for name, setting in settings.items()}


def native_dtype(x: Any) -> tf.DType:
    """What the kernels compute in for a tensor: its dtype or, where they do not have that, float32."""
    return x.dtype if x.dtype in NATIVE_DTYPES else tf.float32


def or_absent(tensor: Any | None, rank: int, dtype: tf.DType) -> Any:
    """The tensor, or what stands for an optional one that is not there: nothing along any dimension."""
    return tf.zeros([0] * rank, dtype) if tensor is None else tensor


def pooled_shape(shape: Any, pool_size: int, strides: int, padding: str) -> tuple[int | None, ...]:
    """The (batch, timesteps, channels) that a pooling gives, as far as they are known: shape inference is not told."""
    batch, timesteps, channels = shape
    return batch, None if timesteps is None else pooled_timesteps(timesteps, pool_size, strides, padding), channels


def wants_gradient(op: Any, index: int) -> bool:
    """Whether the gradient by an input of an operation can be of use: not if a tape says that nobody watches it."""
    return index not in (getattr(op, "skip_input_indices", None) or ())


def no_second_gradient(op_name: str) -> None:
    """Registers, for an operation that computes a gradient, the error that it has none itself."""

    @tf.RegisterGradient(op_name)  # type: ignore[untyped-decorator]
    def second_gradient(op: Any, *_: Any) -> None:
        raise NotImplementedError(
            f"{op_name}: fastseq has no second-order gradients; use use_native=False in the layers that need them, as "
            "nested gradients, Hessians and forward-mode differentiation do"
        )

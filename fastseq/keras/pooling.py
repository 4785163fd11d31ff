"""FastMaxPooling1D and FastAveragePooling1D: Keras's pooling layers over fastseq's kernels."""

from __future__ import annotations

import functools
from typing import Any

import keras

from fastseq.keras import backend
from fastseq.keras.calls import called_for_training
from fastseq.keras.fusion import in_one_pass
from fastseq.keras.native import NativeChoice, replacement_for
from fastseq.keras.tensors import only_number, with_channels_last, wrong_setting


class NativePooling(NativeChoice):
    """A mixin for subclasses of Keras's pooling layers: overrides `call`, and nothing else."""

    pool_size: Any
    strides: Any
    padding: str
    data_format: str

    def _not_native_because(self) -> str | None:
        return wrong_setting(self, "pool_size", "strides")

    def _native_pool(self, inputs: Any, **window: Any) -> Any:
        pool = functools.partial(getattr(backend.load(), self.native_op), **window)
        return with_channels_last(pool, inputs, self.data_format)

    def call(self, inputs: Any) -> Any:
        """See the stock layer's `call`. In training, it also saves the data that the gradient needs."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        floating = keras.backend.is_float_dtype(dtype)
        if not self._runs_native(None if floating else f"inputs must have a floating dtype, got {dtype}"):
            return super().call(inputs)  # type: ignore[misc]
        return self._native_pool(
            inputs,
            pool_size=only_number(self.pool_size),
            strides=only_number(self.strides),
            padding=self.padding.lower(),
            training=called_for_training(),
        )


@replacement_for(keras.layers.MaxPooling1D, overridden=["call"])
class FastMaxPooling1D(NativePooling, keras.layers.MaxPooling1D):  # type: ignore[misc]
    """`keras.layers.MaxPooling1D`, somewhat faster on a CPU: memory bandwidth limits the speed of pooling.

    Takes every argument of the stock layer and computes the same results, bit by bit. Gradients go to the first of
    equal values, as with the stock layer. A window with NaN gives what it gives in the stock layer: NaN on PyTorch and
    JAX, the greatest of its numbers on TensorFlow. The gradient of such a NaN goes to the last NaN of the window, as in
    the stock layer on PyTorch. On JAX, the stock layer's goes to a value after the last NaN, if there is one.

    For the gradient, calls with `training=True`, such as those of `fit`, keep one byte for every output if `pool_size`
    is 256 at most. They keep neither inputs nor outputs. After other calls, the gradient takes more time.

    The kernels cover all of the stock layer's options on a CPU, with Keras on TensorFlow, PyTorch or JAX, for floating
    dtypes. They compute in float32, or in float64 if that is the layer's dtype; half types are cast to float32 and
    back.

    In a sequential or functional model, the outputs of a `FastConv1D` may go to this layer and to no other. Then all
    functions that TensorFlow traces (`fit`, `predict`) compute both layers in one pass, as `FastConv1DMaxPooling1D`
    does. An activation layer may be between them. This holds for channels last, for float32 and float64, and only if
    the model itself calls the layers. Separate calls of the layers compute them, and their gradients, one by one.

    Args:
        pool_size: int, size of the window in timesteps.
        strides: int or None, distance from one window to the next; None for `pool_size`.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; None for Keras's default.
        use_native: `"auto"`, `True` or `False`, as in `FastLSTM`.
        **kwargs: All other arguments of `keras.layers.MaxPooling1D`.

    Call arguments:
        inputs: (batch, timesteps, channels), or (batch, channels, timesteps) with `data_format="channels_first"`.

    Raises:
        ValueError: As `keras.layers.MaxPooling1D`, or as said under `use_native` of `FastLSTM`.

    References:
        The exact definition is `fastseq.reference.max_pool_forward`.

    >>> import numpy as np
    >>> from fastseq.keras import FastMaxPooling1D
    >>> layer = FastMaxPooling1D(2)
    >>> np.asarray(layer(np.array([[[3.0], [1.0], [4.0], [1.0]]], "float32"))).ravel().tolist()
    [3.0, 4.0]
    """

    native_op = "max_pool"

    def _native_pool(self, inputs: Any, **window: Any) -> Any:
        traced = backend.load().traced_convolution
        convolution = traced(inputs) if traced else None
        if convolution and in_one_pass(self):
            return convolution.max_pool(**window)
        return super()._native_pool(inputs, **window)


@replacement_for(keras.layers.AveragePooling1D, overridden=["call"])
class FastAveragePooling1D(NativePooling, keras.layers.AveragePooling1D):  # type: ignore[misc]
    """`keras.layers.AveragePooling1D`, somewhat faster on a CPU: memory bandwidth limits the speed of pooling.

    Takes every argument of the stock layer and computes the same results up to rounding. It keeps nothing for the
    gradient. The kernels cover the same backends, options and dtypes as those of `FastMaxPooling1D`.

    Args:
        pool_size: int, size of the window in timesteps.
        strides: int or None, distance from one window to the next; None for `pool_size`.
        padding: `"valid"` or `"same"`. Padded steps do not count for the mean. On PyTorch, as in the stock layer, there
            is an exception: if one side has more padding than the other, copies of the ends are padded and count.
        data_format: `"channels_last"` or `"channels_first"`; None for Keras's default.
        use_native: `"auto"`, `True` or `False`, as in `FastLSTM`.
        **kwargs: All other arguments of `keras.layers.AveragePooling1D`.

    Call arguments:
        inputs: (batch, timesteps, channels), or (batch, channels, timesteps) with `data_format="channels_first"`.

    Raises:
        ValueError: As `keras.layers.AveragePooling1D`, or as said under `use_native` of `FastLSTM`.

    References:
        The exact definition is `fastseq.reference.average_pool_forward`.

    >>> import numpy as np
    >>> from fastseq.keras import FastAveragePooling1D
    >>> layer = FastAveragePooling1D(2)
    >>> np.asarray(layer(np.array([[[3.0], [1.0], [4.0], [1.0]]], "float32"))).ravel().tolist()
    [2.0, 2.5]
    """

    native_op = "average_pool"

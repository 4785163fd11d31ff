"""FastConv1D, `keras.layers.Conv1D` over fastseq's kernels, and FastConv1DMaxPooling1D, which pools as well."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fastseq.autodiff.operations import output_timesteps
from fastseq.keras import backend
from fastseq.keras.activations import native_name
from fastseq.keras.calls import called_for_training
from fastseq.keras.native import NativeChoice, replacement_for
from fastseq.keras.stock_methods import StockMethods
from fastseq.keras.tensors import native_tensors, only_number, with_channels_last, wrong_setting

_POOLING_METHODS = StockMethods(keras.layers.MaxPooling1D, unused=["call"])
_PADDINGS = ("valid", "same", "causal")


@replacement_for(keras.layers.Conv1D, overridden=["call"], unused=["convolution_op", "_compute_causal_padding"])
class FastConv1D(NativeChoice, keras.layers.Conv1D):  # type: ignore[misc]
    """`keras.layers.Conv1D`, with bias and activation in one pass over memory.

    Takes every argument of the stock layer, has the same weights under the same names, and computes the same results.
    Either layer loads the other's weights and weight files.

    The kernels run on a CPU, with Keras on TensorFlow, PyTorch or JAX. They compute the activations linear, relu, tanh
    and hard_sigmoid. Keras applies any other activation to the kernels' outputs. It also applies sigmoid, so that a
    crossentropy finds its logits. The kernels compute in float32, or in float64 if that is the layer's dtype; half
    types are cast to float32 and back.

    Args:
        filters: Positive integer, dimensionality of the output space.
        kernel_size: Positive integer, the width of the convolution window.
        use_native: `"auto"` computes with stock Keras where the kernels do not cover the call, and says so once in a
            `NativeFallbackWarning`. `True` raises `ValueError` instead. `False` always computes with stock Keras.
        **kwargs: All other arguments of `keras.layers.Conv1D`.

    Call arguments:
        inputs: (batch, timesteps, channels), or (batch, channels, timesteps) with `data_format="channels_first"`.

    Raises:
        ValueError: As `keras.layers.Conv1D`, or as said under `use_native`.

    References:
        The exact definition is `fastseq.reference.conv1d_forward`.

    >>> import numpy as np
    >>> from fastseq.keras import FastConv1D
    >>> layer = FastConv1D(4, 5, activation="relu")
    >>> tuple(layer(np.zeros((2, 10, 3), "float32")).shape)
    (2, 6, 4)
    """

    native_op = "conv1d"

    def _not_native_because(self) -> str | None:
        if reason := wrong_setting(self, "strides", "dilation_rate"):
            return reason
        if self.padding not in _PADDINGS:
            return f"padding must be one of {', '.join(_PADDINGS)}, got {self.padding!r}"
        return None

    def _call_reason(self, inputs: Any) -> str | None:
        """Why the kernels cannot compute with these inputs, or None if they can."""
        rank = len(inputs.shape)
        if rank != 3:
            return f"inputs must have 3 dimensions, got {rank}"
        width, channels, filters = self.kernel.shape
        given = inputs.shape[1 if self.data_format == "channels_first" else -1]
        # Settings may have been assigned after the kernel was made. The stock layer follows the kernel in that case.
        fits = given is None or given == channels * self.groups
        if (width, filters) != (*self.kernel_size, self.filters) or not fits:
            return (
                f"kernel must have the shape that kernel_size, filters and groups say, got {tuple(self.kernel.shape)}"
            )
        return None

    def call(self, inputs: Any) -> Any:
        """See `keras.layers.Conv1D`."""
        if not self._runs_native(self._call_reason(inputs)):
            return super().call(inputs)
        activation = keras.activations.get(self.activation)  # users can also assign None
        native = native_name(activation)
        if native == "sigmoid":
            native = None  # Keras's own sigmoid keeps the logits, from which a crossentropy is computed
        outputs = self._convolve(inputs, native or "linear")
        return outputs if native else activation(outputs)

    def _convolve(self, inputs: Any, activation: str, training: bool = False, **pooling: Any) -> Any:
        options = {
            "activation": activation,
            "strides": only_number(self.strides),
            "padding": self.padding,
            "dilation_rate": only_number(self.dilation_rate),
            "groups": int(self.groups),
            **pooling,
        }
        shape = self._convolved_shape(inputs.shape)
        weights = native_tensors([self.kernel, self.bias if self.use_bias else None], self.compute_dtype)

        def convolve(x: Any) -> Any:
            return backend.load().conv1d([x, *weights], options=options, convolved_shape=shape, training=training)

        return with_channels_last(convolve, ops.cast(inputs, self.compute_dtype), self.data_format)

    def _convolved_shape(self, shape: Any) -> tuple[Any, Any, Any]:
        """(batch, timesteps, filters) for the shape of inputs; unknown sizes are None.

        Keras's own function computes that with NumPy, which torch.compile cannot trace.
        """
        timesteps = shape[2 if self.data_format == "channels_first" else 1]
        if timesteps is not None:
            strides: Any = only_number(self.strides)
            dilation_rate: Any = only_number(self.dilation_rate)
            timesteps = output_timesteps(timesteps, self.kernel_size[0], strides, self.padding, dilation_rate)
            if self.padding == "valid" and timesteps <= 0:
                FastConv1D.compute_output_shape(self, shape)  # raises the stock layer's error
        return shape[0], timesteps, self.filters


@replacement_for(keras.layers.Conv1D)  # the stock layer with the same weights
class FastConv1DMaxPooling1D(FastConv1D):
    """`FastConv1D`, then `FastMaxPooling1D`, in one pass: the convolution itself is never written to memory.

    The results are those of the two layers one after the other. If the kernels do not have the activation or do not
    cover the call, the two layers run one after the other. Calls with `training=True` save the data that the gradient
    needs, as in `FastMaxPooling1D`.

    Args:
        filters: Positive integer, dimensionality of the output space.
        kernel_size: Positive integer, the width of the convolution window.
        pool_size: Positive integer, the size of the pooling window in timesteps of the convolution.
        pool_strides: Distance from one pooling window to the next; None for `pool_size`.
        pool_padding: `"valid"` or `"same"`.
        use_native: As in `FastConv1D`.
        **kwargs: All other arguments of `keras.layers.Conv1D`. An `activity_regularizer` sees the pooled outputs.

    Call arguments:
        inputs: (batch, timesteps, channels), or (batch, channels, timesteps) with `data_format="channels_first"`.

    Raises:
        ValueError: As `keras.layers.Conv1D` and `keras.layers.MaxPooling1D`.

    >>> import numpy as np
    >>> from fastseq.keras import FastConv1DMaxPooling1D
    >>> layer = FastConv1DMaxPooling1D(4, 5, pool_size=2, activation="relu")
    >>> tuple(layer(np.zeros((2, 10, 3), "float32")).shape)
    (2, 3, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        pool_size: int = 2,
        pool_strides: int | None = None,
        pool_padding: str = "valid",
        use_native: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, use_native=False, **kwargs)  # False until there is a pooling
        padding = str(pool_padding).lower()
        if padding not in ("valid", "same"):
            raise ValueError(f"pool_padding must be 'valid' or 'same', got {pool_padding!r}")
        # Checks the arguments, computes output shapes, and pools where the kernels do not.
        self._pooling = keras.layers.MaxPooling1D(
            pool_size, pool_strides, padding, data_format=self.data_format, dtype=self.dtype_policy
        )
        if self._pooling.strides[0] < 1:
            raise ValueError(f"pool_strides must be at least 1, got {pool_strides!r}")
        self._set_use_native(use_native)

    def _not_native_because(self) -> str | None:
        return super()._not_native_because() or _POOLING_METHODS.replaced(self._pooling)

    def call(self, inputs: Any) -> Any:
        """Convolves, applies the activation, and pools."""
        native = native_name(keras.activations.get(self.activation))
        if native is None or not self._runs_native(self._call_reason(inputs)):
            return self._pooling(super().call(inputs))
        return self._convolve(
            inputs,
            native,
            training=called_for_training(),
            pool_size=self._pooling.pool_size[0],
            pool_strides=self._pooling.strides[0],
            pool_padding=self._pooling.padding,
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape after the convolution and the pooling."""
        return self._pooling.compute_output_shape(super().compute_output_shape(input_shape))

    def get_config(self) -> dict[str, Any]:
        """The config of `FastConv1D`, and the pooling's arguments."""
        return {
            **super().get_config(),
            "pool_size": self._pooling.pool_size[0],
            "pool_strides": self._pooling.strides[0],
            "pool_padding": self._pooling.padding,
        }

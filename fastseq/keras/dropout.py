"""FastDropout and FastSpatialDropout1D: `keras.layers.Dropout` and `SpatialDropout1D` over fastseq's kernels."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.keras import backend
from fastseq.keras.native import NativeChoice, replacement_for
from fastseq.keras.tensors import rank

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_MOST_DIMENSIONS = 8


class NativeDropout(NativeChoice):
    """A mixin for `keras.layers.Dropout` and its subclasses: overrides `call`, and nothing else."""

    native_op = "dropout"
    rate: Any
    noise_shape: Any
    seed_generator: Any

    def _native_noise_shape(self) -> Any:
        """The backend's `noise_shape`."""
        return self.noise_shape

    def _not_native_because(self) -> str | None:
        if not isinstance(self.rate, (int, float)):  # NumPy's float64 is a float
            # With a tensor, TensorFlow divides where it multiplies with a number, and rounds to the tensor's dtype.
            return f"rate must be a float, got {self.rate!r}"
        noise_shape = self._native_noise_shape()
        if noise_shape is None or all(size is None or (isinstance(size, int) and size > 0) for size in noise_shape):
            return None
        return f"noise_shape must have positive integers and None only, got {noise_shape!r}"

    def _call_reason(self, inputs: Any) -> str | None:
        """Why the kernels cannot compute with these inputs, or None if they can."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if dtype not in _DTYPES:
            return f"inputs must have one of the dtypes {', '.join(_DTYPES)}, got {dtype}"
        dimensions = rank(inputs)
        if dimensions is None or dimensions > _MOST_DIMENSIONS:
            return f"inputs must have a known number of at most {_MOST_DIMENSIONS} dimensions, got shape {inputs.shape}"
        noise_shape = self._native_noise_shape()
        # Keras takes these sizes from the inputs' first dimensions, but broadcasting aligns the last dimensions.
        if noise_shape is not None and None in noise_shape and len(noise_shape) != dimensions:
            return f"noise_shape must have {dimensions} sizes where some are None, got {noise_shape!r}"
        return None

    def call(self, inputs: Any, training: bool = False) -> Any:
        """See `keras.layers.Dropout.call`."""
        draws = training and self.rate > 0 and self.rate < 1
        if draws:
            inputs = keras.ops.convert_to_tensor(inputs)
        if not draws or not self._runs_native(self._call_reason(inputs)):
            return super().call(inputs, training=training)  # type: ignore[misc]
        drop = backend.load().dropout
        assert drop is not None
        return drop(inputs, self.rate, self.seed_generator.next(), self._native_noise_shape())


@replacement_for(keras.layers.Dropout, overridden=["call"])
class FastDropout(NativeDropout, keras.layers.Dropout):  # type: ignore[misc]
    """`keras.layers.Dropout`, several times as fast in training on a CPU.

    Takes every argument of the stock layer and drops the same elements for the same seed: outputs and gradients equal
    the stock layer's bit by bit. On TensorFlow, the layer keeps one bit for each element for the gradient, which says
    whether it was dropped. With a `noise_shape` the layer keeps nothing and draws the random numbers again.

    The kernels run on the TensorFlow and JAX backends on a CPU, for inputs of up to 8 dimensions of any floating dtype.

    Args:
        rate: Between 0 and 1: the fraction of the inputs to drop.
        use_native: `"auto"` computes with stock Keras where the kernels do not cover this layer, and says so once in a
            `NativeFallbackWarning`. `True` raises `ValueError` instead. `False` always computes with stock Keras.
        **kwargs: All other arguments of `keras.layers.Dropout`: `noise_shape`, `seed`.

    Call arguments:
        inputs: A tensor of any shape.
        training: Whether to drop anything.

    Raises:
        ValueError: As `keras.layers.Dropout`, or as said under `use_native`.

    References:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting"; the exact
        definition is `fastseq.reference.dropout`.

    >>> import numpy as np
    >>> from fastseq.keras import FastDropout
    >>> layer = FastDropout(0.5, seed=1)
    >>> layer(np.ones(8, "float32"), training=True).numpy()
    array([2., 0., 2., 0., 0., 0., 0., 2.], dtype=float32)
    """


@replacement_for(keras.layers.SpatialDropout1D, overridden=["call"], unused=["_get_noise_shape"])
class FastSpatialDropout1D(NativeDropout, keras.layers.SpatialDropout1D):  # type: ignore[misc]
    """`keras.layers.SpatialDropout1D`, several times as fast in training on a CPU: see `FastDropout`.

    Args:
        rate: Between 0 and 1: the fraction of the channels to drop.
        use_native: `"auto"`, `True` or `False`, as in `FastDropout`.
        **kwargs: All other arguments of `keras.layers.SpatialDropout1D`.

    Call arguments:
        inputs: (batch, timesteps, channels). A channel of a row is dropped at all of its timesteps, or at none.
        training: Whether to drop anything.

    Raises:
        ValueError: As `keras.layers.SpatialDropout1D`, or as said under `use_native` of `FastDropout`.

    References:
        Tompson et al. 2015, "Efficient object localization using convolutional networks".

    >>> import numpy as np
    >>> from fastseq.keras import FastSpatialDropout1D
    >>> layer = FastSpatialDropout1D(0.5, seed=1)
    >>> layer(np.ones((1, 2, 8), "float32"), training=True).numpy()
    array([[[2., 0., 2., 0., 0., 0., 0., 2.],
            [2., 0., 2., 0., 0., 0., 0., 2.]]], dtype=float32)
    """

    def _native_noise_shape(self) -> Any:
        return (None, 1, None)

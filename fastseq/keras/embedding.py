"""FastEmbedding: `keras.layers.Embedding` over fastseq's kernels."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from fastseq.keras import backend
from fastseq.keras.native import NativeChoice, fast_class, frames_to_the_user, replacement_for
from fastseq.keras.tensors import cast, native_tensors


@replacement_for(keras.layers.Embedding, overridden=["call"])
class FastEmbedding(NativeChoice, keras.layers.Embedding):  # type: ignore[misc]
    """`keras.layers.Embedding`, faster in training on a CPU.

    Takes every argument of the stock layer, has the same weights under the same names, and computes the same outputs
    and gradients: every optimizer trains it to the same weights as the stock layer. Either layer loads the other's
    weights and weight files.

    A negative id counts from the end of the table, as in the stock layer: -1 stands for the last row. The first eager
    call with negative ids warns of that. In functions that TensorFlow traces, as `fit` does, there is no warning,
    because the ids are not known during tracing. An id that is less than `-input_dim`, or not less than `input_dim`, is
    an error that names the id.

    The kernels take dense inputs, on the TensorFlow backend on a CPU. Stock Keras computes with sparse and ragged
    inputs, LoRA and quantized weights.

    `tf.autodiff.ForwardAccumulator` over the table needs `dense_gradient=True` or `use_native=False`.

    Args:
        input_dim: Integer, the number of ids: each is in [0, input_dim).
        output_dim: Integer, the length of the vector for an id.
        dense_gradient: Whether the gradient is a dense tensor with a row for every id. By default the gradient has a
            slice for every position, as the stock layer's on TensorFlow. SGD, with momentum or without, gives the same
            weights with both, and is faster with a dense gradient. Optimizers that square the gradient (Adam, RMSprop,
            most others) square every slice of a gradient with slices. With a dense gradient they square the sum of a
            row, as stock Keras does on its other backends: the steps of ids that are frequent in a batch are smaller
            then, as a rule. Clipping differs likewise. Without effect where stock Keras computes.
        use_native: `"auto"`, `True` or `False`, as in `FastLSTM`.
        **kwargs: All other arguments of `keras.layers.Embedding`.

    Call arguments:
        inputs: Ids of any shape. Other dtypes than int32 and int64 are cast to int32, as in the stock layer.

    Raises:
        ValueError: As `keras.layers.Embedding`, or as said under `use_native` of `FastLSTM`.
        tensorflow.errors.InvalidArgumentError: In a call, if an id is out of range.

    Warns:
        UserWarning: In an eager call, if ids are negative, once for each layer.

    References:
        Bengio, Ducharme, Vincent and Jauvin 2003, "A Neural Probabilistic Language Model"; the exact definition is
        `fastseq.reference.embedding_forward`.

    >>> import numpy as np
    >>> from fastseq.keras import FastEmbedding
    >>> layer = FastEmbedding(1000, 4)
    >>> tuple(layer(np.array([[1, 999, 0]])).shape)
    (1, 3, 4)
    """

    native_op = "embedding"
    dense_gradient = False
    _negative_ids_told = False
    own_settings = (*NativeChoice.own_settings, "dense_gradient", "_negative_ids_told")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *args: Any,
        dense_gradient: bool = False,
        use_native: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, *args, **kwargs)
        self.dense_gradient = dense_gradient
        self._set_use_native(use_native)

    def _not_native_because(self) -> str | None:
        if self.lora_rank:
            return f"lora_rank must be None, got {self.lora_rank}"
        if self.quantization_mode:
            return f"weights must not be quantized, got quantization mode {self.quantization_mode}"
        return None

    def call(self, inputs: Any) -> Any:
        """See `keras.layers.Embedding.call`."""
        # Sparse and ragged tensors have an attribute `values`. On PyTorch's dense tensors, `values` is a method.
        dense = callable(getattr(inputs, "values", len))
        if not self._runs_native(None if dense else f"inputs must be dense, got {type(inputs).__name__}"):
            return super().call(inputs)
        inputs = ops.convert_to_tensor(inputs)
        if keras.backend.standardize_dtype(inputs.dtype) not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        embed = backend.load().embedding
        assert embed is not None
        [table] = native_tensors([self.embeddings], self.embeddings.dtype)
        outputs = embed(inputs, table, self.dense_gradient, self._tell_of_negative_ids)
        return cast(cast(outputs, self.embeddings.dtype), self.compute_dtype)

    def _tell_of_negative_ids(self) -> None:
        if not self._negative_ids_told:
            self._negative_ids_told = True
            warnings.warn(
                f"Layer '{self.name}' was given negative ids. They count from the end of its table, as in stock Keras: "
                f"-1 stands for {self.input_dim - 1}. To pad with an id of its own, use 0 and mask_zero=True.",
                stacklevel=frames_to_the_user(),
            )

    def quantized_call(self, *args: Any, **kwargs: Any) -> Any:
        """See `keras.layers.Layer`."""
        self._runs_native()  # warns or raises, as the kernels do not run here
        return super().quantized_call(*args, **kwargs)

    @property
    def quantize(self) -> Callable[..., None]:
        """See `keras.layers.Embedding.quantize`. Keras's method refuses subclasses of its layer, such as this class.

        Keras stores a method under this name in every layer object. A property takes precedence over it, also in a
        layer that was constructed as a stock one.
        """
        own = fast_class(self) is FastEmbedding
        overridden = type(self).quantize is not FastEmbedding.quantize
        as_stock: Callable[..., None] = (None if overridden else self.__dict__.get("quantize")) or super().quantize

        @functools.wraps(as_stock)
        def quantize(*args: Any, **kwargs: Any) -> None:
            as_stock(*args, **{**kwargs, "type_check": False} if own else kwargs)

        return quantize

    @quantize.setter
    def quantize(self, as_kept: Callable[..., None]) -> None:
        self.__dict__["quantize"] = as_kept

    def get_config(self) -> dict[str, Any]:
        """The stock layer's config, and the settings of this class that are not the defaults."""
        gradient = {"dense_gradient": True} if self.dense_gradient else {}
        return {**super().get_config(), **gradient}

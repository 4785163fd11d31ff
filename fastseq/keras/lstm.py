"""FastLSTM: `keras.layers.LSTM` over fastseq's kernels."""

from __future__ import annotations

import keras

from fastseq.keras.native import replacement_for
from fastseq.keras.rnn import NativeRNN


@replacement_for(keras.layers.LSTM, overridden=["inner_loop"])
class FastLSTM(NativeRNN, keras.layers.LSTM):  # type: ignore[misc]
    """`keras.layers.LSTM`, three to four times as fast in training on a CPU.

    Takes every argument of the stock layer, has the same weights under the same names, and computes the same results.
    Either layer loads the other's weights and weight files. All modes of the stock layer are supported:
    `return_sequences`, `return_state`, `stateful`, `go_backwards`, `initial_state`, masks of any pattern, `dropout` and
    `recurrent_dropout` with the same random numbers for the same seed, inside `Bidirectional` and `TimeDistributed`,
    eager and in `tf.function`. An exported model has the stock layer's operations, and needs no fastseq.

    The kernels cover the activations tanh, sigmoid, hard_sigmoid, relu and linear, in any pair, on a CPU, with Keras on
    TensorFlow, PyTorch or JAX. They compute in float32, or in float64 if that is the layer's dtype; half types are cast
    to float32 and back. `unroll` has no effect on them. Where stock Keras's unrolled loop
    sets other outputs to zero than its other loop does (`zero_output_for_mask` with a mask, backward or on JAX), the
    layer runs on stock Keras.

    On TensorFlow, gradients of gradients (nested `tf.GradientTape`s, Hessians) and `tf.autodiff.ForwardAccumulator` are
    computed by TensorFlow's own operations, at the speed of the stock layer. TensorFlow's XLA cannot compile the
    kernels: in a function with `jit_compile=True` stock Keras computes. If such a function calls another function that
    was traced before, outside of it, TensorFlow raises `InvalidArgumentError` about unsupported operations. The same
    holds for the other fast layers. On PyTorch and JAX, gradients of gradients raise an error that says so.

    Args:
        units: Positive integer, dimensionality of the output space.
        use_native: `"auto"` computes with stock Keras where the kernels do not cover this layer, and says so once in a
            `NativeFallbackWarning`. `True` raises `ValueError` instead, and keeps fastseq's operations in SavedModels:
            see `export_native`. `False` always computes with stock Keras.
        **kwargs: All other arguments of `keras.layers.LSTM`.

    Call arguments:
        inputs: (batch, timesteps, features).
        mask: (batch, timesteps), bool: true where a step counts. A masked step costs no time and is never read.
        training: Whether `dropout` and `recurrent_dropout` apply.
        initial_state: A list of h and c, each (batch, units).

    Raises:
        ValueError: As `keras.layers.LSTM`, or as said under `use_native`.

    References:
        Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000; the exact definition is
        `fastseq.reference.lstm_forward`.

    >>> import numpy as np
    >>> from fastseq.keras import FastLSTM
    >>> layer = FastLSTM(4, return_sequences=True)
    >>> tuple(layer(np.zeros((2, 5, 3), "float32")).shape)
    (2, 5, 4)
    """

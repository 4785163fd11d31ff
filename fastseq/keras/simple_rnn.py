"""FastSimpleRNN: `keras.layers.SimpleRNN` over fastseq's kernels."""

from __future__ import annotations

import keras

from fastseq.keras.native import replacement_for
from fastseq.keras.rnn import NativeRNN


@replacement_for(keras.layers.SimpleRNN, overridden=["inner_loop"])
class FastSimpleRNN(NativeRNN, keras.layers.SimpleRNN):  # type: ignore[misc]
    """`keras.layers.SimpleRNN`, several times as fast in training on a CPU.

    Takes every argument of the stock layer, has the same weights under the same names, and computes the same results in
    all of its modes. Everything that `FastLSTM` documents also holds here. With `unroll=True` and a sigmoid, stock
    Keras computes the last output, so that a crossentropy finds the logits.

    Args:
        units: Positive integer, dimensionality of the output space.
        use_native: `"auto"`, `True` or `False`, as in `FastLSTM`.
        **kwargs: All other arguments of `keras.layers.SimpleRNN`.

    Call arguments:
        inputs: (batch, timesteps, features).
        mask: (batch, timesteps), bool: true where a step counts. A masked step costs no time and is never read.
        training: Whether `dropout` and `recurrent_dropout` apply.
        initial_state: A list of h, (batch, units).

    Raises:
        ValueError: As `keras.layers.SimpleRNN`, or as said under `use_native` of `FastLSTM`.

    References:
        Elman 1990, "Finding Structure in Time"; the exact definition is `fastseq.reference.simple_rnn_forward`.

    >>> import numpy as np
    >>> from fastseq.keras import FastSimpleRNN
    >>> layer = FastSimpleRNN(4, return_sequences=True)
    >>> tuple(layer(np.zeros((2, 5, 3), "float32")).shape)
    (2, 5, 4)
    """

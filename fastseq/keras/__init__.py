"""Keras layers over fastseq's kernels: same arguments, same weights, same results as the stock layers, faster.

>>> import keras
>>> from fastseq.keras import FastLSTM
>>> model = keras.Sequential([keras.Input((None, 8)), FastLSTM(16), keras.layers.Dense(1)])
>>> model.output_shape
(None, 1)
"""

from __future__ import annotations

from fastseq.keras.lstm import FastLSTM
from fastseq.keras.native import NativeFallbackWarning

__all__ = ["FastLSTM", "NativeFallbackWarning"]

"""Keras layers over fastseq's kernels: same arguments, same weights, same results as the stock layers, faster.

Importing this module also registers the layers with Keras and the operations with TensorFlow. So any process that has
imported it can load `.keras` files with these layers, and SavedModels that were written within `export_native`.

>>> import keras
>>> from fastseq.keras import FastLSTM
>>> model = keras.Sequential([keras.Input((None, 8)), FastLSTM(16), keras.layers.Dense(1)])
>>> model.output_shape
(None, 1)
"""

from __future__ import annotations

from fastseq.acceleration_report import AccelerationReport, ReportRow
from fastseq.keras import backend
from fastseq.keras.accelerate import accelerate, to_stock
from fastseq.keras.adam import FastAdam
from fastseq.keras.attention import FastAttention
from fastseq.keras.conv1d import FastConv1D, FastConv1DMaxPooling1D
from fastseq.keras.dropout import FastDropout, FastSpatialDropout1D
from fastseq.keras.embedding import FastEmbedding
from fastseq.keras.exporting import export_native
from fastseq.keras.gru import FastGRU
from fastseq.keras.lstm import FastLSTM
from fastseq.keras.native import NativeFallbackWarning
from fastseq.keras.patch import patch, unpatch
from fastseq.keras.pooling import FastAveragePooling1D, FastMaxPooling1D
from fastseq.keras.rnn import FastRNN
from fastseq.keras.simple_rnn import FastSimpleRNN

__all__ = [
    "AccelerationReport",
    "FastAdam",
    "FastAttention",
    "FastAveragePooling1D",
    "FastConv1D",
    "FastConv1DMaxPooling1D",
    "FastDropout",
    "FastEmbedding",
    "FastGRU",
    "FastLSTM",
    "FastMaxPooling1D",
    "FastRNN",
    "FastSimpleRNN",
    "FastSpatialDropout1D",
    "NativeFallbackWarning",
    "ReportRow",
    "accelerate",
    "export_native",
    "patch",
    "to_stock",
    "unpatch",
]

if backend.is_supported():
    backend.load()

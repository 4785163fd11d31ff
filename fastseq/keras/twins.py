"""Which fast class stands for which stock one."""

from __future__ import annotations

import keras

from fastseq.keras.adam import FastAdam
from fastseq.keras.conv1d import FastConv1D
from fastseq.keras.dropout import FastDropout, FastSpatialDropout1D
from fastseq.keras.embedding import FastEmbedding
from fastseq.keras.gru import FastGRU
from fastseq.keras.lstm import FastLSTM
from fastseq.keras.pooling import FastAveragePooling1D, FastMaxPooling1D
from fastseq.keras.rnn import FastRNN
from fastseq.keras.simple_rnn import FastSimpleRNN

__all__ = ["FAST_LAYERS", "FAST_OPTIMIZERS"]

# A stock class, and the fast one that takes its arguments, has its weights and computes its results.
FAST_LAYERS: dict[type, type] = {
    keras.layers.AveragePooling1D: FastAveragePooling1D,
    keras.layers.Conv1D: FastConv1D,
    keras.layers.Dropout: FastDropout,
    keras.layers.Embedding: FastEmbedding,
    keras.layers.GRU: FastGRU,
    keras.layers.LSTM: FastLSTM,
    keras.layers.MaxPooling1D: FastMaxPooling1D,
    keras.layers.RNN: FastRNN,
    keras.layers.SimpleRNN: FastSimpleRNN,
    keras.layers.SpatialDropout1D: FastSpatialDropout1D,
}

# Likewise, of optimizers.
FAST_OPTIMIZERS: dict[type, type] = {keras.optimizers.Adam: FastAdam}

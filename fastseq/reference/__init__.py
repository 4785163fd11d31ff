"""The definition of every operation, forward and backward, in plain float64 NumPy.

The code is written to be readable and correct, not to be fast. All other implementations in fastseq are tested against
this package, and this package is tested against finite differences and stock Keras. The layers do not use it.
"""

from __future__ import annotations

from fastseq.reference.activations import ACTIVATIONS, Activation, sigmoid
from fastseq.reference.adam import adam
from fastseq.reference.attention import AttentionForward, AttentionGradients, attention_backward, attention_forward
from fastseq.reference.bernoulli import bernoulli
from fastseq.reference.conv1d import Conv1DGradients, conv1d_backward, conv1d_forward
from fastseq.reference.dropout import dropout, dropout_noise
from fastseq.reference.elementary import ELEMENTARY
from fastseq.reference.embedding import embedding_backward, embedding_forward
from fastseq.reference.pool import (
    MaxPoolForward,
    average_pool_backward,
    average_pool_forward,
    max_pool_backward,
    max_pool_forward,
)
from fastseq.reference.rnn import (
    LSTMForward,
    LSTMGradients,
    RNNForward,
    RNNGradients,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    simple_rnn_backward,
    simple_rnn_forward,
)

__all__ = [
    "ACTIVATIONS",
    "ELEMENTARY",
    "Activation",
    "AttentionForward",
    "AttentionGradients",
    "Conv1DGradients",
    "LSTMForward",
    "LSTMGradients",
    "MaxPoolForward",
    "RNNForward",
    "RNNGradients",
    "adam",
    "attention_backward",
    "attention_forward",
    "average_pool_backward",
    "average_pool_forward",
    "bernoulli",
    "conv1d_backward",
    "conv1d_forward",
    "dropout",
    "dropout_noise",
    "embedding_backward",
    "embedding_forward",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "max_pool_backward",
    "max_pool_forward",
    "sigmoid",
    "simple_rnn_backward",
    "simple_rnn_forward",
]

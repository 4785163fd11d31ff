"""Which fast layer, or optimizer, stands for which stock one."""

from __future__ import annotations

from typing import Any

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

__all__ = ["FAST_LAYERS", "FAST_OPTIMIZERS", "STAND_INS"]

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
FAST_OPTIMIZERS: dict[type, type] = {keras.optimizers.Adam: FastAdam}


def _stand_in(stock: type, fast: Any, module: str) -> type:
    def reduce(self: Any) -> tuple[Any, ...]:
        function, *arguments = fast.__reduce__(self)
        return getattr(stock, function.__name__), *arguments

    names = {"__module__": module, "__qualname__": fast.__qualname__, "__doc__": fast.__doc__}
    return type(stock.__name__, (fast,), {**names, "__reduce__": reduce})


# A stock class, and the fast one under the stock one's full name. Keras writes that name into files and configs, which
# therefore need no fastseq to be read; registered names, such as `fastseq>FastLSTM`, belong to one class only. Pickles
# are such a file, and the class's method that reads it: the stock class's.
STAND_INS: dict[type, type] = {
    **{stock: _stand_in(stock, fast, "keras.layers") for stock, fast in FAST_LAYERS.items()},
    **{stock: _stand_in(stock, fast, "keras.optimizers") for stock, fast in FAST_OPTIMIZERS.items()},
}

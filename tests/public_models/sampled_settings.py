"""A regressor of time series whose settings come from a sampler: flags that are None, integers and NumPy's."""

import json

import keras
import numpy as np
import tensorflow as tf


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((20, 3)),
            keras.layers.Conv1D(np.int64(8), (np.int32(3),), padding="SAME", activation=tf.nn.relu, use_bias=1),
            keras.layers.Dropout(np.float64(0.25), seed=2),
            keras.layers.GRU(8, return_sequences=np.True_, reset_after=1, activation=tf.tanh),
            keras.layers.SimpleRNN(6, return_sequences=1, go_backwards=np.bool_(False)),
            keras.layers.LSTM(8, return_sequences=None, go_backwards=1, recurrent_activation=tf.sigmoid),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate=np.float64(0.01)), "mse")
    return model


def run(model):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((30, 20, 3)), rng.standard_normal((30, 1))
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return history.history["loss"] + model.predict(x[:3], verbose=0).ravel().tolist()


if __name__ == "__main__":
    print(json.dumps(run(build())))

"""Dilated causal convolutions with gates and residual connections, trained on windows of a series of any length."""

import json

import keras
import numpy as np
import tensorflow as tf


def build():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 1))
    x, skips = keras.layers.Conv1D(8, 1)(inputs), []
    for rate in (1, 2, 4):
        shaped = keras.layers.Conv1D(8, 2, padding="causal", dilation_rate=rate, activation="tanh")(x)
        gate = keras.layers.Conv1D(8, 2, padding="causal", dilation_rate=rate, activation="sigmoid")(x)
        z = keras.layers.Conv1D(8, 1)(keras.layers.Multiply()([shaped, gate]))
        skips.append(z)
        x = keras.layers.Add()([x, z])
    out = keras.layers.Activation("relu")(keras.layers.Add()(skips))
    out = keras.layers.SpatialDropout1D(0.2, seed=3)(out)
    model = keras.Model(inputs, keras.layers.Conv1D(1, 1, kernel_regularizer="l2")(out))
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "mae")
    return model


def run(model):
    rng = np.random.default_rng(1)
    series = [rng.standard_normal((steps, 1)).astype("float32").cumsum(0) for steps in rng.integers(10, 30, 22)]
    data = tf.data.Dataset.from_generator(
        lambda: ((one[:-1], one[1:]) for one in series), output_signature=(tf.TensorSpec((None, 1)),) * 2
    ).padded_batch(8)
    losses = [float(model.train_on_batch(x, y)) for _ in range(3) for x, y in data]
    return losses + model.predict(series[0][None], verbose=0).ravel().tolist()


if __name__ == "__main__":
    print(json.dumps(run(build())))

"""Are two questions the same? One masked, bidirectional GRU for both, samples of differing weight, a loop by hand."""

import json

import keras
import numpy as np
import tensorflow as tf


def build():
    keras.utils.set_random_seed(0)
    words = keras.layers.Embedding(40, 8, mask_zero=True, embeddings_regularizer="l2")
    reader = keras.layers.Bidirectional(keras.layers.GRU(6, dropout=0.2, recurrent_dropout=0.1, seed=5))
    one, other = keras.Input((15,), dtype="int32"), keras.Input((15,), dtype="int32")
    first, second = reader(words(one)), reader(words(other))
    distance = keras.layers.Lambda(lambda pair: keras.ops.abs(pair[0] - pair[1]), output_shape=(12,))([first, second])
    return keras.Model([one, other], keras.layers.Dense(1, activation="sigmoid")(distance))


def run(model):
    optimizer, loss = keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy()

    @tf.function(reduce_retracing=True)
    def step(one, other, same, weights):
        with tf.GradientTape() as tape:
            value = loss(same, model([one, other], training=True), sample_weight=weights) + sum(model.losses)
        gradients = tape.gradient(value, model.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    rng, values = np.random.default_rng(1), []
    for rows in (12, 12, 7, 12):
        one, other = (rng.integers(1, 40, (rows, 15)) for _ in range(2))
        one[:, : rng.integers(1, 9)] = 0
        other[:, -rng.integers(1, 9) :] = 0
        same, weights = rng.integers(0, 2, (rows, 1)), rng.random(rows)
        values.append(float(step(tf.constant(one), tf.constant(other), tf.constant(same), tf.constant(weights))))
    return values + np.asarray(model([one, other])).ravel().tolist()


if __name__ == "__main__":
    print(json.dumps(run(build())))

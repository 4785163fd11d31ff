"""Text read from pictures: convolutions, columns as timesteps, a Dense layer with relu, bidirectional LSTMs."""

import json

import keras
import numpy as np

WIDTH, HEIGHT, CHARACTERS = 40, 16, 11


def build():
    keras.utils.set_random_seed(0)
    picture = keras.Input((WIDTH, HEIGHT, 1), name="image")
    x = picture
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, (3, 3), activation="relu", padding="same")(x)
        x = keras.layers.MaxPooling2D((2, 2))(x)
    x = keras.layers.Reshape((WIDTH // 4, HEIGHT // 4 * 16))(x)
    x = keras.layers.Dense(24, activation="relu")(x)
    x = keras.layers.Dropout(0.2, seed=4)(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(16, return_sequences=True))(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(8, return_sequences=True))(x)
    model = keras.Model(picture, keras.layers.Dense(CHARACTERS + 1, activation="softmax")(x))
    model.compile("adam", keras.losses.CTC())
    return model


def run(model):
    rng = np.random.default_rng(1)
    x, y = rng.random((20, WIDTH, HEIGHT, 1)), rng.integers(1, CHARACTERS, (20, 4))
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return history.history["loss"] + model.predict(x[:2], verbose=0).ravel().tolist()


if __name__ == "__main__":
    print(json.dumps(run(build())))

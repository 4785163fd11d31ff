"""A stateful LSTM that is reset after every epoch, a copy of its weights for single forecasts, and saved files."""

import json
import tempfile

import keras
import numpy as np


def layers(batch):
    return [
        keras.Input(batch_shape=(batch, 6, 2)),
        keras.layers.LSTM(10, stateful=True, return_sequences=True, name="first"),
        keras.layers.LSTM(5, stateful=True, go_backwards=False, name="second"),
        keras.layers.Dense(1, name="forecast"),
    ]


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(layers(4))
    model.compile("adam", "mse")
    return model


def run(model):
    rng, values = np.random.default_rng(1), []
    x, y = rng.standard_normal((16, 6, 2)), rng.standard_normal((16, 1))
    for _ in range(2):
        values += model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0).history["loss"]
        for layer in model.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/forecast.weights.h5")
        single = keras.Sequential(layers(1))
        single.load_weights(f"{folder}/forecast.weights.h5")
        model.save(f"{folder}/forecast.keras")
        again = keras.models.load_model(f"{folder}/forecast.keras")
    for row in x[:5]:
        values.append(float(single.predict(row[None], verbose=0)[0, 0]))
    return values + again.predict(x[:4], batch_size=4, verbose=0).ravel().tolist()


if __name__ == "__main__":
    print(json.dumps(run(build())))

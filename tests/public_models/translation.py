"""Sequence to sequence, character by character: an encoder, a decoder, and models for inference that share layers."""

import json

import keras
import numpy as np

CHARACTERS, UNITS = 12, 16


def build():
    keras.utils.set_random_seed(0)
    source = keras.Input((None, CHARACTERS))
    _, h, c = keras.layers.LSTM(UNITS, return_state=True, name="encoder")(source)
    target = keras.Input((None, CHARACTERS))
    outputs, _, _ = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True, name="decoder")(
        target, initial_state=[h, c]
    )
    outputs = keras.layers.Dense(CHARACTERS, activation="softmax", name="characters")(outputs)
    model = keras.Model([source, target], outputs)
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    return model


def run(model):
    rng = np.random.default_rng(1)

    def texts(steps):
        return keras.utils.to_categorical(rng.integers(0, CHARACTERS, (24, steps)), CHARACTERS)

    history = model.fit([texts(9), texts(7)], texts(7), batch_size=10, epochs=2, shuffle=False, verbose=0)
    encoder = keras.Model(model.input[0], model.get_layer("encoder").output[1:])
    states = [keras.Input((UNITS,)), keras.Input((UNITS,))]
    outputs, *after = model.get_layer("decoder")(model.input[1], initial_state=states)
    decoder = keras.Model([model.input[1], *states], [model.get_layer("characters")(outputs), *after])
    state = encoder.predict(texts(9)[:1], verbose=0)
    character, likely = np.zeros((1, 1, CHARACTERS)), []
    for _ in range(5):
        probabilities, *state = decoder.predict([character, *state], verbose=0)
        likely.append(float(probabilities.max()))
        character = np.eye(CHARACTERS)[probabilities.argmax(-1)]
    return history.history["loss"] + likely


if __name__ == "__main__":
    print(json.dumps(run(build())))

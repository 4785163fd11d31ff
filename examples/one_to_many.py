"""One to many: a single input, and a sequence made from it.

A digit goes in, the letters of its English name come out. RepeatVector shows the digit to the LSTM at every step; which
letter is next the LSTM has to remember.
"""

import keras
import numpy as np

from fastseq.keras import FastLSTM

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LETTERS = " abcdefghijklmnopqrstuvwxyz"
LENGTH = 5


def build_model() -> keras.Model:
    """A digit, one-hot (10,), to the probabilities of each letter (LENGTH, letters)."""
    return keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.RepeatVector(LENGTH),
            FastLSTM(32, return_sequences=True),
            keras.layers.TimeDistributed(keras.layers.Dense(len(LETTERS), activation="softmax")),
        ]
    )


def main() -> list[str]:
    """Trains and returns what the model writes for the digits 0 to 9."""
    keras.utils.set_random_seed(0)
    digits = np.eye(10, dtype="float32")
    letters = np.array([[LETTERS.index(letter) for letter in name.ljust(LENGTH)] for name in NAMES])
    model = build_model()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(np.tile(digits, (20, 1)), np.tile(letters, (20, 1)), batch_size=20, epochs=20, verbose=0)
    written = ["".join(LETTERS[i] for i in row).strip() for row in model.predict(digits, verbose=0).argmax(axis=-1)]
    print("0 to 9:", ", ".join(written))
    return written


if __name__ == "__main__":
    main()

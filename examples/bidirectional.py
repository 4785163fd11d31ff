"""Bidirectional: every step sees what is before it and what is after it.

Each step of a random sequence is tagged by whether the number two steps later is larger than the one two steps
earlier. A one-way LSTM knows only half of that; Bidirectional runs a second one from the end.
"""

import keras
import numpy as np

from fastseq.keras import FastLSTM

LENGTH = 20


def make_sequences(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (count, LENGTH, 1), and tags of the same shape; beyond the ends all is 0."""
    numbers = rng.uniform(-1, 1, (count, LENGTH, 1)).astype("float32")
    padded = np.pad(numbers, ((0, 0), (2, 2), (0, 0)))
    return numbers, padded[:, 4:] > padded[:, :-4]


def build_model(both_ways: bool = True) -> keras.Model:
    """Numbers to the probability of each tag."""
    lstm = FastLSTM(24, return_sequences=True)
    return keras.Sequential(
        [
            keras.Input((LENGTH, 1)),
            keras.layers.Bidirectional(lstm) if both_ways else lstm,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def main() -> tuple[float, float]:
    """Trains both and returns the accuracies on new sequences, one way and both ways."""
    accuracies = []
    for both_ways in (False, True):
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        model = build_model(both_ways)
        model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
        model.fit(*make_sequences(2000, rng), batch_size=50, epochs=5, verbose=0)
        accuracies.append(model.evaluate(*make_sequences(500, rng), verbose=0)[1])
    print(f"Accuracy one way: {accuracies[0]:.3f} (at best 0.75), both ways: {accuracies[1]:.3f}")
    return accuracies[0], accuracies[1]


if __name__ == "__main__":
    main()

"""A deep model: LSTMs on top of each other.

The adding problem: two of 20 random numbers are marked, and the model has to give their sum. Every LSTM but the last
has `return_sequences=True`, so that the one above it gets a sequence too.

References:
    Hochreiter and Schmidhuber 1997, "Long Short-Term Memory".
"""

import keras
import numpy as np

from fastseq.keras import FastLSTM

LENGTH = 20


def make_sums(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with marks (count, LENGTH, 2), and the sums of the two marked ones (count,)."""
    numbers = rng.random((count, LENGTH))
    marks = np.zeros((count, LENGTH))
    for row in marks:
        row[rng.choice(LENGTH, 2, replace=False)] = 1
    return np.stack([numbers, marks], axis=-1).astype("float32"), (numbers * marks).sum(axis=1).astype("float32")


def build_model() -> keras.Model:
    """Marked numbers to their sum."""
    return keras.Sequential(
        [
            keras.Input((LENGTH, 2)),
            FastLSTM(24, return_sequences=True),
            FastLSTM(24, return_sequences=True),
            FastLSTM(24),
            keras.layers.Dense(1),
        ]
    )


def main() -> float:
    """Trains and returns the root mean square error of the sums of new numbers."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = build_model()
    model.compile(keras.optimizers.Adam(0.005), "mse")
    model.fit(*make_sums(3000, rng), batch_size=50, epochs=8, verbose=0)
    numbers, sums = make_sums(500, rng)
    error = float(np.sqrt(np.mean((model.predict(numbers, verbose=0)[:, 0] - sums) ** 2)))
    print(f"Error of the sums: {error:.3f} (always the mean, 1: {sums.std():.3f})")
    return error


if __name__ == "__main__":
    main()

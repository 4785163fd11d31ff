"""Many to one: a sequence is classified by its last output.

Texts of 20 words, two of which are "good" and "not". "not ... good" is a bad review and "good ... not" is a good one,
so all that tells them apart is the order: what a model that counts words cannot learn.
"""

import keras
import numpy as np

from fastseq.keras import FastEmbedding, FastLSTM

WORDS, LENGTH = 50, 20
GOOD, NOT = 1, 2


def make_texts(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Word ids (count, LENGTH), and (count,) 1 where GOOD comes before NOT."""
    texts = rng.integers(3, WORDS, (count, LENGTH))
    for text in texts:
        text[rng.choice(LENGTH, 2, replace=False)] = GOOD, NOT
    return texts, (texts == GOOD).argmax(axis=1) < (texts == NOT).argmax(axis=1)


def build_model() -> keras.Model:
    """Word ids to the probability of a good review."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            FastEmbedding(WORDS, 16),
            FastLSTM(32),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def main() -> float:
    """Trains and returns the accuracy on new texts."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = build_model()
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    model.fit(*make_texts(2000, rng), batch_size=50, epochs=6, verbose=0)
    _, accuracy = model.evaluate(*make_texts(500, rng), verbose=0)
    print(f"Accuracy on new texts: {accuracy:.3f} (guessing: 0.5)")
    return accuracy


if __name__ == "__main__":
    main()

"""Many to many, of equal length: a tag for every step.

Every letter of a text is tagged by whether it is inside quotation marks. The same mark opens and closes, so the LSTM
has to remember which it was; TimeDistributed(Dense) turns its output at each step into that step's tag,
as Dense by itself would do too: it works on the last axis.
"""

import keras
import numpy as np

from fastseq.keras import FastEmbedding, FastLSTM

LETTERS = '"abcdefg '
LENGTH = 30


def make_texts(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Letter ids (count, LENGTH), 0 the quotation mark, and tags (count, LENGTH, 1), 1 from a mark to the next."""
    texts = rng.integers(1, len(LETTERS), (count, LENGTH))
    texts[rng.random(texts.shape) < 0.15] = 0
    return texts, (texts == 0).cumsum(axis=1)[..., None] % 2


def build_model() -> keras.Model:
    """Letter ids (length,) to the probability that each is quoted (length, 1)."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            FastEmbedding(len(LETTERS), 8),
            FastLSTM(16, return_sequences=True),
            keras.layers.TimeDistributed(keras.layers.Dense(1, activation="sigmoid")),
        ]
    )


def main() -> float:
    """Trains and returns the part of the tags that are right in new texts."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = build_model()
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    model.fit(*make_texts(2000, rng), batch_size=50, epochs=6, verbose=0)
    texts, tags = make_texts(500, rng)
    _, accuracy = model.evaluate(texts, tags, verbose=0)
    quoted = model.predict(texts[:1], verbose=0)[0, :, 0] > 0.5
    print("text ", "".join(LETTERS[i] for i in texts[0]))
    print("tags ", "".join("^" if inside else "." for inside in quoted))
    print(
        f"Accuracy of the tags: {accuracy:.3f} (always the more frequent one: {max(tags.mean(), 1 - tags.mean()):.3f})"
    )
    return accuracy


if __name__ == "__main__":
    main()

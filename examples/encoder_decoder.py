"""Many to many, of different lengths: an encoder and a decoder spell numbers, 208 as "two zero eight".

In training the decoder is given the right letters, one step late, in use its own, one by one.
"""

import keras
import numpy as np

from fastseq.keras import FastEmbedding, FastLSTM

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
DIGITS, LETTERS, LONGEST = ".0123456789", ".<> efghinorstuvwxz", 18  # a dot pads, < begins a spelling, > ends it
UNITS = 96


def to_ids(texts: list[str], alphabet: str) -> np.ndarray:
    return keras.utils.pad_sequences([[alphabet.index(letter) for letter in text] for text in texts], padding="post")


def build_models() -> tuple[keras.Model, keras.Model, keras.Model]:
    """The model to train, and of the same layers its encoder and its decoder."""
    digits, letters = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embedded_letters = FastEmbedding(len(LETTERS), 16)(letters)
    decoder = FastLSTM(UNITS, return_sequences=True, return_state=True)
    classifier = keras.layers.Dense(len(LETTERS), activation="softmax")
    _, *encoded = FastLSTM(UNITS, return_state=True)(FastEmbedding(len(DIGITS), 16, mask_zero=True)(digits))
    trained = keras.Model([digits, letters], classifier(decoder(embedded_letters, initial_state=encoded)[0]))
    states = [keras.Input((UNITS,)), keras.Input((UNITS,))]
    outputs, *next_states = decoder(embedded_letters, initial_state=states)
    return trained, keras.Model(digits, encoded), keras.Model([letters, *states], [classifier(outputs), *next_states])


def spell(encoder: keras.Model, decoder: keras.Model, digits: np.ndarray) -> list[str]:
    """Letter by letter: each time the likeliest, from the one before and the states it left."""
    states = encoder.predict_on_batch(digits)
    ids = [np.full((len(digits), 1), LETTERS.index("<"))]
    for _ in range(LONGEST):
        probabilities, *states = decoder.predict_on_batch([ids[-1], *states])
        ids.append(probabilities.argmax(axis=-1))
    return ["".join(LETTERS[i] for i in row).partition(">")[0] for row in np.concatenate(ids[1:], axis=1)]


def main() -> float:
    """Trains on 900 numbers below 1000 and returns the part of the other 100 that are spelled right."""
    keras.utils.set_random_seed(0)
    numbers = [str(number) for number in np.random.default_rng(0).permutation(1000)]
    spellings = [" ".join(NAMES[int(digit)] for digit in number) for number in numbers]
    x, y = to_ids(numbers, DIGITS), to_ids([f"<{spelling}>" for spelling in spellings], LETTERS)
    trained, encoder, decoder = build_models()
    trained.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    trained.fit([x[100:], y[100:, :-1]], y[100:, 1:], batch_size=50, epochs=18, verbose=0)
    spelled = spell(encoder, decoder, x[:100])
    right = float(np.mean([one == other for one, other in zip(spelled, spellings, strict=False)]))
    print(f"{numbers[0]}: {spelled[0]}. Spelled right, of 100 new numbers: {right:.0%}")
    return right


if __name__ == "__main__":
    main()

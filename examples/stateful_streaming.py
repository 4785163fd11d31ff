"""A stateful LSTM: a stream without an end, in chunks.

A switch is now and then turned on (1) or off (-1), mostly left alone (0), and the model says at every step what it is
at. With `stateful=True` the LSTM begins each chunk in the state in which it ended the last, so that chunks give what
the whole stream gives. A model that forgets between chunks does not know the switch's position at their beginnings.
"""

import keras
import numpy as np

from fastseq.keras import FastLSTM

CHUNK = 25


def make_streams(count: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Events (count, length, 1), and positions of the switches after each, of the same shape."""
    events = rng.choice([-1, 0, 1], (count, length, 1), p=[0.03, 0.94, 0.03])
    events[:, 0] = 1
    last = np.maximum.accumulate(np.where(events != 0, np.arange(length)[:, None], 0), axis=1)
    return events.astype("float32"), np.take_along_axis(events, last, axis=1) > 0


def build_model(stateful: bool = True) -> keras.Model:
    """Events to the probability that the switch is on, in one stream or, where it is not stateful, in any number."""
    return keras.Sequential(
        [
            keras.Input(batch_shape=(1 if stateful else None, None, 1)),
            FastLSTM(8, return_sequences=True, stateful=stateful),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def main() -> tuple[float, float, float]:
    """Trains; returns the accuracy in chunks, the same with the state forgotten, and how far chunks are from whole."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    whole, streaming = build_model(stateful=False), build_model()
    whole.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    whole.fit(*make_streams(1000, 100, rng), batch_size=50, epochs=8, verbose=0)
    streaming.set_weights(whole.get_weights())

    events, positions = make_streams(1, 100 * CHUNK, rng)
    chunks = np.split(events, 100, axis=1)
    expected = whole.predict(events, verbose=0)
    outputs = np.concatenate([streaming.predict_on_batch(chunk) for chunk in chunks], axis=1)
    forgetful = np.concatenate([whole.predict_on_batch(chunk) for chunk in chunks], axis=1)
    difference = float(np.abs(outputs - expected).max())
    accuracy, forgetful_accuracy = (float(((o > 0.5) == positions).mean()) for o in (outputs, forgetful))
    print(f"Accuracy in chunks: {accuracy:.3f}, forgetting between them: {forgetful_accuracy:.3f}")
    print(f"Largest difference between chunks and the whole stream: {difference:.1e}")
    return accuracy, forgetful_accuracy, difference


if __name__ == "__main__":
    main()

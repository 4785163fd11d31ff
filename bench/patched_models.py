"""`fit` steps of small models, as people first write them, with Keras patched and with stock Keras.

Most of their layers are plain ones, so a step is short and has little for the kernels: what a patch costs shows here.
Both models have the same weights and data. Their losses after the first epoch are compared before anything is timed. In
every round each has an epoch. Figures are medians; IQR is the distance between the quartiles of the rounds' ratios.

The models run on the Keras backend that KERAS_BACKEND names, by default TensorFlow.

    python bench/patched_models.py
    python bench/patched_models.py --model dense dense-dropout --steps 500 --rounds 21
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import add_options, header, prepare, script_parser

from fastseq.bench.implementations import packages
from fastseq.bench.tables import milliseconds
from fastseq.bench.timing import Samples, ratios, take_turns
from fastseq.commands import positive, table

_VOCABULARY = 1000
Layers = Callable[[Any], list[Any]]

# By name: the shape of a sample, and the layers before the last Dense layer. Samples of one whole number are ids.
MODELS: dict[str, tuple[tuple[int, ...], Layers]] = {
    "dense": ((20,), lambda keras: [keras.Dense(64, activation="relu"), keras.Dense(64, activation="relu")]),
    "dense-dropout": ((20,), lambda keras: [keras.Dense(64, activation="relu"), keras.Dropout(0.5, seed=1)]),
    "dense-batch-normalization": (
        (20,),
        lambda keras: [keras.Dense(64), keras.BatchNormalization(), keras.Activation("relu")],
    ),
    "dense-deep": ((20,), lambda keras: [keras.Dense(32, activation="relu") for _ in range(8)]),
    "dense-wide": (
        (784,),
        lambda keras: [keras.Dense(512, activation="relu"), keras.Dropout(0.2, seed=1), keras.Dense(512)],
    ),
    "conv1d-batch-normalization": (
        (50, 8),
        lambda keras: [
            keras.Conv1D(16, 3, activation="relu"),
            keras.BatchNormalization(),
            keras.GlobalAveragePooling1D(),
        ],
    ),
    "conv1d-pooling": (
        (100, 4),
        lambda keras: [
            keras.Conv1D(32, 5, activation="relu"),
            keras.MaxPooling1D(2),
            keras.Conv1D(32, 3, activation="relu"),
            keras.GlobalMaxPooling1D(),
            keras.Dense(32, activation="relu"),
        ],
    ),
    "conv2d": (
        (28, 28, 1),
        lambda keras: [
            keras.Conv2D(16, 3, activation="relu"),
            keras.MaxPooling2D(),
            keras.Flatten(),
            keras.Dropout(0.5, seed=1),
        ],
    ),
    "embedding-pooling": (
        (40, _VOCABULARY),
        lambda keras: [
            keras.Embedding(_VOCABULARY, 16),
            keras.GlobalAveragePooling1D(),
            keras.Dense(16, activation="relu"),
        ],
    ),
    "embedding-flatten": ((20, _VOCABULARY), lambda keras: [keras.Embedding(_VOCABULARY, 8), keras.Flatten()]),
    "text-convolution": (
        (60, _VOCABULARY),
        lambda keras: [
            keras.Embedding(_VOCABULARY, 32),
            keras.SpatialDropout1D(0.2, seed=1),
            keras.Conv1D(32, 5, activation="relu"),
            keras.GlobalMaxPooling1D(),
        ],
    ),
    "small-lstm": ((12, 1), lambda keras: [keras.LSTM(8)]),
    "small-gru": ((24, 3), lambda keras: [keras.GRU(16, return_sequences=True), keras.GRU(16)]),
    "layer-normalization": (
        (30, 16),
        lambda keras: [keras.LayerNormalization(), keras.Dense(32, activation="relu"), keras.Flatten()],
    ),
}
_IDS = {"embedding-pooling", "embedding-flatten", "text-convolution"}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--batch", type=positive, default=32, help="default: 32")
    parser.add_argument("--steps", type=positive, default=100, help="in an epoch; default: 100")
    parser.add_argument("--optimizer", default="adam", help="default: adam")
    add_options(parser, rounds=15)
    options = parser.parse_args()
    threads = prepare(options, parser)
    from fastseq import frameworks

    frameworks.start(threads)
    print(header(packages(["fast", "stock"])))
    rows = []
    for name in options.model:
        epochs = {kind: make_epoch(name, kind, options) for kind in ("patched", "stock")}
        losses = {kind: epoch() for kind, epoch in epochs.items()}
        if not abs(losses["patched"] - losses["stock"]) <= 1e-3 * abs(losses["stock"]):  # also where one is NaN
            raise AssertionError(f"{name}: the losses differ: {losses}")
        turns = {kind: turn_of(epoch) for kind, epoch in epochs.items()}
        *_, samples = take_turns(turns, options.rounds)
        ratio = ratios(samples["patched"], samples["stock"])
        rows.append((name, *(per_step(samples[kind], options.steps) for kind in turns), *in_figures(ratio)))
        print(f"{name}: {rows[-1][-2]}", flush=True)
    print(table(("ms a step", "patched", "stock", "patched / stock", "IQR"), rows))
    slower = [name for name, *_, ratio, _ in rows if float(ratio) > 1.02]
    print(f"slower than stock by more than 2 %: {', '.join(slower) or 'none'}")


def make_epoch(name: str, kind: str, options: Any) -> Callable[[], float]:
    """A function that trains a model for an epoch and returns the loss."""
    import keras

    from fastseq.keras import patch

    shape, layers = MODELS[name]
    rng = np.random.default_rng(0)
    samples = options.batch * options.steps
    if name in _IDS:
        x = rng.integers(0, shape[1], (samples, shape[0])).astype(np.int32)
        shape = shape[:1]
    else:
        x = rng.standard_normal((samples, *shape), dtype=np.float32)
    y = rng.standard_normal((samples, 1), dtype=np.float32)
    keras.utils.set_random_seed(0)
    with patch() if kind == "patched" else contextlib.nullcontext():
        model = keras.Sequential([keras.Input(shape), *layers(keras.layers), keras.layers.Dense(1)])
        model.compile(options.optimizer, "mse")

    def epoch() -> float:
        history = model.fit(x, y, batch_size=options.batch, epochs=1, shuffle=False, verbose=0).history
        return float(history["loss"][0])

    return epoch


def turn_of(epoch: Callable[[], float]) -> Callable[[int], list[float]]:
    """A turn of one epoch, whatever number of runs is asked for."""

    def turn(_: int) -> list[float]:
        began = time.perf_counter()
        epoch()
        return [time.perf_counter() - began]

    return turn


def per_step(samples: Samples, steps: int) -> str:
    return milliseconds(samples.median / steps)


def in_figures(ratio: Samples) -> tuple[str, str]:
    return f"{statistics.median(ratio.values):.3f}", f"{ratio.iqr:.3f}"


if __name__ == "__main__":
    main()

"""Trains a small model of every kind again and again. All bits of the losses, the weights, the optimizer's state and
the predictions must be the same for any number of threads, any instruction set and any load of the machine.

    python tests/long/determinism.py
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fastseq import keras as fast
from fastseq import runtime
from fastseq._libraries import core

# Enough for the recurrent layers, the convolution and the embedding of every model to have work for several threads.
BATCH, TIMESTEPS, WORDS, WIDTH, UNITS, CLASSES = 48, 60, 2000, 64, 48, 4

FAMILIES: dict[str, Callable[[], list[Any]]] = {
    "lstm": lambda: [fast.FastLSTM(UNITS, dropout=0.2, recurrent_dropout=0.2)],
    "bidirectional": lambda: [layers.Bidirectional(fast.FastLSTM(UNITS))],
    "gru": lambda: [fast.FastGRU(UNITS, return_sequences=True), fast.FastGRU(UNITS, reset_after=False)],
    "simple_rnn": lambda: [fast.FastSimpleRNN(UNITS, go_backwards=True)],
    "conv1d": lambda: [
        fast.FastSpatialDropout1D(0.2),
        fast.FastConv1D(UNITS, 5, activation="relu"),
        fast.FastMaxPooling1D(4),
        fast.FastConv1D(UNITS, 3, padding="causal", dilation_rate=2),
        fast.FastAveragePooling1D(2),
        fast.FastLSTM(UNITS),
    ],
    "attention": lambda: [fast.FastLSTM(UNITS, return_sequences=True), fast.FastAttention(UNITS)],
    "all": lambda: [
        fast.FastConv1D(UNITS, 3, activation="relu", padding="same"),
        fast.FastMaxPooling1D(2, padding="same"),
        fast.FastLSTM(UNITS, return_sequences=True, dropout=0.1, recurrent_dropout=0.1),
        fast.FastGRU(UNITS, return_sequences=True),
        fast.FastSimpleRNN(UNITS, return_sequences=True),
        fast.FastAttention(UNITS),
    ],
}
MASKED = ("lstm", "bidirectional", "gru", "simple_rnn")


class Training:
    """A model of a family, trained from the same start as often as one likes."""

    def __init__(self, family: str, steps: int) -> None:
        keras.utils.set_random_seed(1)
        rng = np.random.default_rng(1)
        self.ids = rng.integers(1, WORDS, (steps, BATCH, TIMESTEPS))
        self.ids[:, :, :7] *= rng.integers(0, 2, (steps, BATCH, 1))  # padding
        self.labels = rng.integers(0, CLASSES, (steps, BATCH))
        model = keras.Sequential(
            [
                keras.Input((TIMESTEPS,), dtype="int32"),
                fast.FastEmbedding(WORDS, WIDTH, mask_zero=family in MASKED),
                fast.FastDropout(0.3),
                *FAMILIES[family](),
                layers.Dense(CLASSES, activation="softmax"),
            ]
        )
        model.compile(fast.FastAdam(0.01), "sparse_categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)
        self.model = model
        self.variables = [*model.variables, *model.optimizer.variables]
        self.start = [variable.numpy() for variable in self.variables]

    def bits(self) -> str:
        """A hash of all that a training gives and leaves."""
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)
        results = []
        for ids, labels in zip(self.ids, self.labels, strict=True):
            self.model.reset_metrics()
            results.append(self.model.train_on_batch(ids, labels))
        results += [variable.numpy() for variable in self.variables]
        results.append(self.model.predict_on_batch(self.ids[0]))
        if not all(np.isfinite(result).all() for result in results):
            raise ArithmeticError("the training has come to infinity or NaN")
        return hashlib.sha256(b"".join(np.asarray(result).tobytes() for result in results)).hexdigest()


@contextlib.contextmanager
def busy_machine(processes: int) -> Iterator[None]:
    """So many processes that compute without end."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> int:
    """Returns the exit status: 1 where any bit differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10, help="of each training")
    parser.add_argument("--threads", type=int, nargs="+", default=list(range(1, 9)))
    parser.add_argument("--isas", nargs="+", default=runtime.available_isas(), choices=runtime.available_isas())
    parser.add_argument("--rounds", type=int, default=1, help="of everything, alone and on a busy machine")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    options = parser.parse_args()

    tf.config.experimental.enable_op_determinism()
    core.allow_oversubscription(True)
    trainings = differences = 0
    for family in options.families:
        training = Training(family, options.steps)
        expected = None
        for busy in (0, os.cpu_count() or 1):
            with busy_machine(busy):
                for _, isa, threads in itertools.product(range(options.rounds), options.isas, options.threads):
                    runtime.set_isa(isa)
                    runtime.set_num_threads(threads)
                    bits = training.bits()
                    expected = expected or bits
                    trainings += 1
                    if bits != expected:
                        differences += 1
                        print(f"{family}: other bits with {threads} threads, {isa}, {busy} busy processes", flush=True)
        print(f"{family}: {expected}", flush=True)
    print(f"{trainings} trainings, {differences} with other bits")
    return 1 if differences or not trainings else 0


if __name__ == "__main__":
    sys.exit(main())

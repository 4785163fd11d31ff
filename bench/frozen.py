"""A training step of layers behind a frozen Embedding, and of frozen layers behind a trained one, beside stock Keras.

A frozen Embedding is usual with pretrained vectors. Behind it nobody needs the gradient by the layer's input; of a
frozen layer nobody needs the gradients by its weights. fastseq and Keras take turns in one run. Their losses are
compared before anything is timed. Figures are medians, in milliseconds.

    python bench/frozen.py
    python bench/frozen.py --layer conv1d --clock cpu
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import CLOCKS, add_clock, add_options, header, interleave, prepare, script_parser

from fastseq.bench.implementations import packages
from fastseq.bench.timing import time_runs
from fastseq.commands import table

_LAYERS = {
    "lstm": ("LSTM", {"units": 100}, (20, 100)),
    "gru": ("GRU", {"units": 100}, (20, 100)),
    "conv1d": ("Conv1D", {"filters": 64, "kernel_size": 5, "activation": "relu"}, (40, 500)),
}
_FROZEN = {"nothing": (), "embedding": ("embedding",), "layer": ("layer",)}
_VOCABULARY, _WIDTH = 5000, 100


def make_step(kind: str, frozen: str, *, native: bool) -> Callable[[], Any]:
    """A training step with SGD of an Embedding, the layer, a pooling over time and a Dense layer."""
    import keras
    import tensorflow as tf

    import fastseq.keras

    name, settings, (batch, timesteps) = _LAYERS[kind]
    keras.utils.set_random_seed(0)
    embedding = fastseq.keras.FastEmbedding(_VOCABULARY, _WIDTH, use_native=native)
    layer = getattr(fastseq.keras, f"Fast{name}")(**settings, use_native=native)
    pooling = [keras.layers.GlobalMaxPooling1D()] if name == "Conv1D" else []
    model = keras.Sequential([embedding, layer, *pooling, keras.layers.Dense(1)])
    model.build((None, timesteps))
    for one in ("embedding", "layer"):
        {"embedding": embedding, "layer": layer}[one].trainable = one not in _FROZEN[frozen]
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, _VOCABULARY, (batch, timesteps)), tf.int32)
    targets = tf.constant(rng.standard_normal((batch, 1), dtype=np.float32))
    weights = [weight.value for weight in model.trainable_weights]

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(ids, training=True) - targets))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(1e-3 * tf.convert_to_tensor(gradient))
        return loss

    return step


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--layer", nargs="+", choices=_LAYERS, default=list(_LAYERS))
    add_clock(parser)
    add_options(parser, rounds=30)
    options = parser.parse_args()
    prepare(options, parser)
    print(header(packages(["fast", "stock"])))
    rows = []
    for kind in options.layer:
        for frozen in _FROZEN:
            steps = {"fast": make_step(kind, frozen, native=True), "stock": make_step(kind, frozen, native=False)}
            np.testing.assert_allclose(*(step().numpy() for step in steps.values()), rtol=1e-4)
            turns = {name: partial(time_runs, step, clock=CLOCKS[options.clock]) for name, step in steps.items()}
            fast, stock = (1e3 * one.median for one in interleave(turns, options.rounds).values())
            rows.append((kind, frozen, f"{fast:.2f}", f"{stock:.2f}", f"{stock / fast:.2f}"))
    print(table(("layer", "frozen", "fast, ms", "stock, ms", "stock / fast"), rows))


if __name__ == "__main__":
    main()

"""FastAttention beside its package's formula, computed in TensorFlow in the order it is written in."""

from __future__ import annotations

from typing import Any

from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import Results, verify
from fastseq.bench.shapes import SHAPES
from fastseq.bench.sides import LocalSide

SHAPE = SHAPES["imdb-attention"]  # of the LSTM before it
SCORES = ("luong", "bahdanau")
_SIDES = ("fast", "stock", "stock-jit")


def attention_comparison(score: str, *, threads: int) -> Comparison:
    """FastAttention, forward and backward; "stock" is the formula, for Keras has no such layer.

    Args:
        score: One of `SCORES`.
        threads: For every side.
    """

    def check(side: str, results: Results, expected: Results) -> None:
        verify(results, expected, f"{side}, attention, {score}")

    return Comparison(
        name=f"attention/{score}/training",
        title=f"FastAttention({score}) of ({SHAPE.batch}, {SHAPE.timesteps}, {SHAPE.units}), forward and backward; "
        "stock is its formula in TensorFlow",
        kind="layer",
        sides=_SIDES,
        make=lambda side: make_attention_side(side, score, threads=threads),
        reference="stock",
        verify=check,
        flops={},
        threads=dict.fromkeys(_SIDES, threads),
        labels={"stock": "formula in TensorFlow", "stock-jit": "formula, XLA"},
    )


def make_attention_side(side: str, score: str, *, threads: int, masked: bool = False) -> LocalSide:
    """Makes a side, whose weights and input are the same for all sides.

    Args:
        side: "fast", "stock" or "stock-jit".
        score: One of `SCORES`.
        threads: How many TensorFlow may use.
        masked: Whether about half of the steps are masked; only "fast" takes masks.
    """
    import keras
    import tensorflow as tf

    from fastseq.bench.sides import _tensorflow
    from fastseq.keras import FastAttention

    _tensorflow.set_threads(threads)
    x = tf.random.stateless_normal((SHAPE.batch, SHAPE.timesteps, SHAPE.units), seed=(0, 0))
    mask = tf.random.stateless_uniform(x.shape[:2], seed=(0, 1)) < 0.5 if masked else None
    keras.utils.set_random_seed(0)
    layer = FastAttention(score=score)
    layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_variables]

    @tf.function(jit_compile=side == "stock-jit")
    def step(x: Any, mask: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, mask=mask) if side == "fast" else as_written(x, weights)
        return [outputs, *tape.gradient(outputs, [x, *weights])]

    names = ("outputs", "dx", *(f"d{variable.name}" for variable in layer.trainable_variables))
    return LocalSide(
        lambda: step(x, mask), lambda raw: {name: one.numpy() for name, one in zip(names, raw, strict=True)}
    )


def as_written(x: Any, weights: list[Any]) -> Any:
    """The formula of the package `attention`."""
    import tensorflow as tf

    *score_weights, output_weights = weights
    last = x[:, -1]
    if len(score_weights) == 1:
        scores = tf.linalg.matvec(x @ score_weights[0], last)
    else:
        v, w1, w2 = score_weights
        scores = tf.squeeze(tf.tanh((last @ w1)[:, None] + x @ w2) @ v, -1)
    context = tf.linalg.matvec(x, tf.nn.softmax(scores), transpose_a=True)
    return tf.tanh(tf.concat([context, last], 1) @ output_weights)

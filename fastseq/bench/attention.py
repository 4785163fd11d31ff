"""FastAttention beside its package's formula, computed in the order it is written in."""

from __future__ import annotations

import numpy as np

from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import Layer, LayerProblem, Results, verify
from fastseq.bench.shapes import PASSES, SHAPES
from fastseq.bench.sides import SIDES, absent, make_side

SHAPE = SHAPES["imdb-attention"]  # of the LSTM before it
SCORES = ("luong", "bahdanau")
_UNITS = 128


def attention_comparison(score: str, pass_: str, *, threads: int) -> Comparison:
    """FastAttention; "stock" is the formula, for Keras has no such layer.

    Args:
        score: One of `SCORES`.
        pass_: A key of `PASSES`.
        threads: For every side.
    """

    def check(side: str, results: Results, expected: Results) -> None:
        verify(results, expected, f"{side}, attention, {score}")

    return Comparison(
        name=f"attention/{score}/{pass_}",
        title=f"FastAttention({score}) of ({SHAPE.batch}, {SHAPE.timesteps}, {SHAPE.units}), {PASSES[pass_]}; "
        "others compute its formula as it is written",
        kind="layer",
        sides=SIDES,
        make=lambda side: make_side(side, attention_problem(score), pass_, threads=threads),
        reference="stock",
        verify=check,
        flops={},
        threads=dict.fromkeys(SIDES, threads),
        absent=absent(SIDES, LayerProblem.kind, pass_),
        labels={"stock": "formula in TensorFlow", "stock-jit": "formula, XLA"},
    )


def attention_problem(score: str, *, masked: bool = False) -> LayerProblem:
    """Random arrays, the same for the same arguments; weights as large as a layer's at the start of its training.

    Args:
        score: One of `SCORES`.
        masked: Whether about half of the steps are masked; only "fast" takes masks.
    """
    batch, timesteps, features = SHAPE.batch, SHAPE.timesteps, SHAPE.units
    rng = np.random.default_rng(0)
    shapes = {"luong_w": (features, features)}
    if score == "bahdanau":
        shapes = {"bahdanau_v": (features, 1), "bahdanau_w1": (features, features), "bahdanau_w2": (features, features)}
    shapes["attention_vector"] = (2 * features, _UNITS)
    return LayerProblem(
        layers=[Layer("Attention", {"units": _UNITS, "score": score})],
        x=rng.standard_normal((batch, timesteps, features), np.float32),
        weights={
            name: rng.standard_normal(shape, np.float32) * np.float32(sum(shape) ** -0.5)
            for name, shape in shapes.items()
        },
        doutputs=rng.standard_normal((batch, _UNITS), np.float32),
        mask=rng.random((batch, timesteps)) < 0.5 if masked else None,
    )

"""Verdicts on a measurement, whether fastseq is the faster one, and labels of implementations."""

from __future__ import annotations

from fastseq.bench.implementations import FASTSEQ, FASTSEQ_ELSEWHERE
from fastseq.bench.measuring import Measurement
from fastseq.bench.shapes import TITLES
from fastseq.bench.timing import Samples

FASTER, UNCLEAR, TOO_FEW, SLOWER = VERDICTS = ("faster", "unclear", "too few rounds", "slower")
LEAST_ROUNDS = 3  # for quartiles to mean anything

# The labels of implementations in reports.
LABELS = {
    "fast": "fastseq",
    "functional": "fastseq without Keras",
    "predictor": "fastseq.Predictor",
    "stock": "stock Keras",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "stock-jit": "Keras, XLA",
    "keras-jax": "Keras on JAX",
    "tf-block": "TF BlockLSTM",
    "fast-torch": "fastseq.torch",
    "keras-torch": "Keras on PyTorch",
    "fast-keras-torch": "fastseq.keras, PyTorch",
    "fast-keras-jax": "fastseq.keras, JAX",
}


def compares_fastseq(measurement: Measurement) -> bool:
    """Whether what users call was timed, and the others are compared with it: a layer, a model or a predictor."""
    return bool(measurement.samples) and measurement.base in ("fast", "predictor")


def peers_of(measurement: Measurement) -> list[str]:
    """The implementations that were timed beside fastseq; none if fastseq was not timed."""
    if not compares_fastseq(measurement):
        return []
    return [name for name in measurement.samples if name not in (*FASTSEQ, *FASTSEQ_ELSEWHERE)]


def name_of(measurement: Measurement) -> str:
    """The name of the comparison, for readers."""
    return " · ".join(TITLES.get(part, part) for part in measurement.comparison.name.split("/"))


def label_of(measurement: Measurement, implementation: str) -> str:
    """The label of an implementation."""
    return measurement.comparison.labels.get(implementation) or LABELS.get(implementation, implementation)


def verdict(ratio: Samples) -> str:
    """One of `VERDICTS`, for fastseq beside a peer whose time is `ratio` times fastseq's.

    It is unclear if 1 is within the quartiles.
    """
    first, third = ratio.quartiles
    if len(ratio.turns) < LEAST_ROUNDS:
        return TOO_FEW
    if first <= 1 <= third:
        return UNCLEAR
    return FASTER if first > 1 else SLOWER


def times(ratio: float) -> str:
    """A ratio with as many digits as are meaningful."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def ratio_text(ratio: Samples) -> str:
    """The median, in parentheses where there were too few rounds."""
    text = f"{times(ratio.median)}×"
    return f"({text})" if verdict(ratio) == TOO_FEW else text

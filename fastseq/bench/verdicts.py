"""What is said of a measurement: how its implementations are called, and whether fastseq is the faster one."""

from __future__ import annotations

from fastseq.bench.implementations import FASTSEQ
from fastseq.bench.measuring import Measurement
from fastseq.bench.shapes import TITLES
from fastseq.bench.timing import Samples

FASTER, UNCLEAR, TOO_FEW, SLOWER = VERDICTS = ("faster", "unclear", "too few rounds", "slower")
LEAST_ROUNDS = 3  # for quartiles to mean anything

# What a reader is told that an implementation is.
LABELS = {
    "fast": "fastseq",
    "functional": "fastseq without Keras",
    "stock": "Keras on TensorFlow",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "stock-jit": "Keras, XLA",
    "keras-jax": "Keras on JAX",
    "tf-block": "TF BlockLSTM",
}


def peers_of(measurement: Measurement) -> list[str]:
    """Those that fastseq was timed beside; none where fastseq was not."""
    if "fast" not in measurement.samples:
        return []
    return [implementation for implementation in measurement.samples if implementation not in FASTSEQ]


def name_of(measurement: Measurement) -> str:
    """What was measured, to be read."""
    return " · ".join(TITLES.get(part, part) for part in measurement.comparison.name.split("/"))


def label_of(measurement: Measurement, implementation: str) -> str:
    """What an implementation is called."""
    return measurement.comparison.labels.get(implementation) or LABELS.get(implementation, implementation)


def verdict(ratio: Samples) -> str:
    """One of `VERDICTS`: what fastseq is beside a peer that takes so many times as long.

    It is unclear where 1 lies within the quartiles.
    """
    first, third = ratio.quartiles
    if len(ratio.turns) < LEAST_ROUNDS:
        return TOO_FEW
    if first <= 1 <= third:
        return UNCLEAR
    return FASTER if first > 1 else SLOWER


def times(ratio: float) -> str:
    """A ratio in as many digits as it has a meaning to."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def ratio_text(ratio: Samples) -> str:
    """The median, in parentheses where there were too few rounds."""
    text = f"{times(ratio.median)}×"
    return f"({text})" if verdict(ratio) == TOO_FEW else text

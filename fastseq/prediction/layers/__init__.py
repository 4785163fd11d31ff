"""The rules of all layers, each registered where it is defined; see `fastseq.prediction.calls`."""

from fastseq.prediction.layers import (
    activations,
    attention,
    convolution,
    embedding,
    merging,
    normalization,
    pooling,
    recurrent,
    regularization,
    shapes,
    wrappers,
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "embedding",
    "merging",
    "normalization",
    "pooling",
    "recurrent",
    "regularization",
    "shapes",
    "wrappers",
]

"""The models of `fastseq train`, with a few hundred texts, for tests."""

from __future__ import annotations

import dataclasses
import functools

from fastseq.data import TrainingData
from fastseq.training import models


@functools.cache
def few_texts(name: str) -> TrainingData:
    """A few hundred synthetic ones for a model."""
    whole = models.MODELS[name].load("synthetic")
    return dataclasses.replace(
        whole,
        x_train=whole.x_train[:200],
        y_train=whole.y_train[:200],
        x_test=whole.x_test[:100],
        y_test=whole.y_test[:100],
    )


def small_model(name: str) -> models.ModelSpec:
    """A model that has them for data."""
    texts = few_texts(name)
    return dataclasses.replace(models.MODELS[name], load=lambda _: texts)

"""Whole training steps of the models of `fastseq.models`, with fast layers and with stock ones.

All sides have the same weights and take the same batches in turns. The loss and its gradients by all weights, without
dropout, are to be the same.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastseq.bench.layers import LAYER_SIDES, make_texts
from fastseq.bench.measuring import Comparison
from fastseq.bench.problems import Results
from fastseq.bench.timing import time_runs

BATCHES = 8
# Of a gradient's norm. What is right differs by 1e-6, or, where rounding lets a relu or a maximum fall to the other
# side, by the share of one of thousands of values; what is wrong, a term left out, by far more.
_TOLERANCE = 0.03

Batch = tuple[Any, Any]


def model_comparison(
    name: str, *, threads: int, mask_zero: bool = False, batches: list[Batch] | None = None
) -> Comparison:
    """A training step as `fit` does it; the loss and gradients are to be those of the stock model.

    Args:
        name: A key of `fastseq.models.MODELS`.
        threads: For every side.
        mask_zero: Whether the Embedding masks the padding.
        batches: What to train on; None for `made_up_batches`.
    """
    import keras

    from fastseq.bench.sides._tensorflow import set_threads
    from fastseq.models import MODELS

    set_threads(threads)
    spec = MODELS[name]
    keras.utils.set_random_seed(0)
    stock = spec.build("stock", mask_zero=mask_zero)
    weights = stock.get_weights()
    taken = made_up_batches(spec, stock) if batches is None else batches

    def make(side: Any) -> ModelSide:
        model = spec.build(side, mask_zero=mask_zero)
        model.set_weights(weights)
        return ModelSide(model, taken)

    def check(side: str, results: Results, expected: Results) -> None:
        for result, array in expected.items():
            difference = float(np.linalg.norm(results[result] - array) / (np.linalg.norm(array) or 1.0))
            if not difference <= _TOLERANCE:  # also where it is NaN
                raise AssertionError(f"{side}, {name}: {result} differs by {difference:.2g} of its norm")

    return Comparison(
        name=name,
        title=f"{name}, a training step on {spec.batch_size} samples" + ", padding masked" * mask_zero,
        kind="model",
        sides=LAYER_SIDES,
        make=make,
        reference="stock",
        verify=check,
        # What is masked needs no operations, and how many that is depends on the texts.
        flops={} if mask_zero else dict.fromkeys(LAYER_SIDES, flops_of(stock, spec.batch_size)),
        threads=dict.fromkeys(LAYER_SIDES, threads),
    )


@dataclass(frozen=True)
class ModelSide:
    """A model and the batches that it trains on; see `sides.Side`. `results` is to be called before any turn."""

    model: Any
    batches: list[Batch]

    def results(self) -> Results:
        """The loss of the first batch without dropout, and its gradients by all weights."""
        import tensorflow as tf

        # Not by paths: layers of a kind are numbered through the process.
        gradients = [f"gradient {i}, by {one.name}," for i, one in enumerate(self.model.trainable_variables, 1)]
        names = ["the loss", *gradients]
        raw = loss_and_gradients(self.model, self.batches[0])
        return {name: tf.convert_to_tensor(one).numpy() for name, one in zip(names, raw, strict=True)}

    def turn(self, runs: int) -> list[float]:
        """Trains on the next batches."""
        return time_runs(self._step, runs)

    @functools.cached_property
    def _step(self) -> Callable[[], Any]:
        return training_step(self.model, self.batches)


def made_up_batches(spec: Any, model: Any) -> list[Batch]:
    """Texts of `layers.make_texts` with labels at random, or series with targets; the same for the same model."""
    rng = np.random.default_rng(0)
    if not takes_texts(spec):
        shapes = [(spec.batch_size, *shape[1:]) for shape in (model.input_shape, model.output_shape)]
        return [as_batch(spec, *(rng.standard_normal(shape, np.float32) for shape in shapes)) for _ in range(BATCHES)]
    timesteps = model.input_shape[1]
    vocabulary = model.input_shape[2] if spec.encode else model.layers[0].input_dim
    classes = model.output_shape[1]
    batches = []
    for _ in range(BATCHES):
        texts = make_texts(rng, spec.batch_size, timesteps, vocabulary)
        labels = rng.integers(max(2, classes), size=spec.batch_size)
        batches.append(as_batch(spec, texts, labels if classes == 1 else np.eye(classes, dtype=np.float32)[labels]))
    return batches


def takes_texts(spec: Any) -> bool:
    """Whether a model of `fastseq.models` is one of texts, of a corpus in a folder, and not of series, of a file."""
    return spec.has_embedding or spec.encode is not None


def as_batch(spec: Any, samples: Any, targets: Any) -> Batch:
    """What the model trains on, as tensors."""
    import tensorflow as tf

    samples = tf.convert_to_tensor(samples)
    return spec.encode(samples) if spec.encode else samples, tf.convert_to_tensor(targets)


def flops_of(model: Any, batch_size: int) -> int:
    """Floating-point operations of a step's products: 2 for each weight that meets an input, backward twice as many.

    Args:
        model: Of stock layers.
        batch_size: Samples in a step.
    """
    import keras

    multiply_adds = 0
    for layer in model.layers:
        if type(layer).__name__ == "Embedding":  # looks up
            continue
        # Recurrent layers meet every step of their inputs, others make one of their outputs after the other.
        recurrent = isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional))
        met = layer.input.shape if recurrent else layer.output.shape
        matrices = sum(math.prod(weight.shape) for weight in layer.trainable_weights if len(weight.shape) > 1)
        multiply_adds += batch_size * math.prod(met[1:-1]) * matrices
    return 2 * 3 * multiply_adds


def training_step(model: Any, batches: list[Batch]) -> Callable[[], Any]:
    """A function that trains on the next batch, as `fit` does it."""
    import tensorflow as tf

    model.train_step(batches[0])  # eagerly, which makes the variables of optimizer and metrics

    @tf.function(jit_compile=model.jit_compile)
    def step(x: Any, y: Any) -> Any:
        return model.train_step((x, y))

    endless = itertools.cycle(batches)
    return lambda: step(*next(endless))


def loss_and_gradients(model: Any, batch: Batch) -> list[Any]:
    """The loss of a batch without dropout, and its gradients by all weights in the form that an optimizer gets."""
    import tensorflow as tf

    weights = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=model.jit_compile)
    def compute(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=False))
        return [loss, *tape.gradient(loss, weights)]

    result: list[Any] = compute(*batch)
    return result

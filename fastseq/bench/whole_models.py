"""Training steps and predictions of the classic models: with fast layers, with stock ones, and by other libraries.

All implementations have the same weights and take the same batches in turns. Their results must agree: the predictions
or, in training, the loss and its gradients by all weights, without dropout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastseq.bench.implementations import FASTSEQ_ELSEWHERE, IMPLEMENTATIONS, PEERS
from fastseq.bench.layers import make_texts
from fastseq.bench.measuring import Comparison, beside_stock
from fastseq.bench.problems import Batch, Layer, ModelProblem, Results, verify
from fastseq.frameworks import current

BATCHES = 8
# Relative to a gradient's norm. Correct gradients differ by 1e-6, or by the share of one of thousands of values where
# rounding decides on which side of its kink a relu or a maximum is. Wrong ones, which lack a term, differ by far more.
_TOLERANCE = 0.03
MODEL_PASSES = {"training": "a training step", "forward": "a prediction"}
# Those that a predictor is compared with: what one would serve a model with. Beside it, Keras on PyTorch takes long.
_PREDICTING = [name for name in IMPLEMENTATIONS if name == "predictor" or name in PEERS]
_PREDICTING = [name for name in _PREDICTING if name not in (*FASTSEQ_ELSEWHERE, "keras-torch")]
# The models whose predictions of a single row are measured, too.
ONE_ROW = ("reuters-lstm", "imdb-cnn-lstm", "imdb-rnn-embedding", "price-forecast")


def model_comparison(
    name: str,
    pass_: str = "training",
    *,
    threads: int,
    mask_zero: bool = False,
    batches: Sequence[Batch] | None = None,
    rows: int | None = None,
    implementations: Sequence[str] = IMPLEMENTATIONS,
    label: str = "",
) -> Comparison:
    """A comparison of a training step as in `fit`, or of a prediction. The results must be those of the stock model.

    Args:
        name: A key of `fastseq.training.models.MODELS`.
        pass_: A key of `MODEL_PASSES`.
        threads: The number of threads for every implementation.
        mask_zero: Whether the Embedding masks the padding.
        batches: The batches to train on; None for `made_up_batches`.
        rows: How many rows of each batch to take; None for all.
        implementations: Some of `IMPLEMENTATIONS`.
        label: A part of the comparison's name, before the pass; "" for none.
    """
    import keras

    from fastseq.training.models import MODELS

    current().set_threads(threads)
    spec = MODELS[name]
    keras.utils.set_random_seed(0)
    stock = spec.build("stock", mask_zero=mask_zero)
    batches = [(x[:rows], y[:rows]) for x, y in (made_up_batches(spec, stock) if batches is None else batches)]
    problem = ModelProblem(
        name=name,
        layers=[_in_words(layer) for layer in stock.layers],
        weights={f"weight {i}, {weight.name}": weight.numpy() for i, weight in enumerate(stock.trainable_weights, 1)},
        batches=batches,
        loss=spec.loss,
        optimizer=(type(stock.optimizer).__name__, stock.optimizer.get_config()),
        masked=mask_zero,
    )

    def check(implementation: str, results: Results, expected: Results) -> None:
        if pass_ == "forward":
            return verify(results, expected, f"{implementation}, {name}")
        for result, array in expected.items():
            difference = float(np.linalg.norm(results[result] - array) / (np.linalg.norm(array) or 1.0))
            if not difference <= _TOLERANCE:  # also where it is NaN
                raise AssertionError(f"{implementation}, {name}: {result} differs by {difference:.2g} of its norm")

    samples = len(batches[0][0])
    return beside_stock(
        "model",
        "/".join([name, *([label] if label else []), pass_]),
        f"{name}, {MODEL_PASSES[pass_]} of {samples} sample{'s' * (samples > 1)}" + ", padding masked" * mask_zero,
        lambda: problem,
        check,
        of=ModelProblem.kind,
        threads=threads,
        # Masked steps need no operations, and their number depends on the texts.
        flops=0 if mask_zero else flops_of(stock, samples, pass_),
        implementations=implementations,
    )


def prediction_comparison(name: str, *, one_row: bool, threads: int) -> Comparison:
    """A comparison of fastseq.Predictor with the peers' predictions of a batch, or of a single row.

    Args:
        name: A key of `fastseq.training.models.MODELS`.
        one_row: Whether batches have one row instead of the model's batch size.
        threads: The number of threads for every implementation.
    """
    return model_comparison(
        name,
        "forward",
        threads=threads,
        rows=1 if one_row else None,
        implementations=_PREDICTING,
        label="predictor-one-row" if one_row else "predictor",
    )


def _in_words(layer: Any) -> Layer:
    settings = layer.get_config()
    if type(layer).__name__ == "Bidirectional":
        settings["layer"] = _in_words(layer.forward_layer)
    return Layer(type(layer).__name__.removeprefix("Fast"), settings)


def made_up_batches(spec: Any, model: Any) -> list[Batch]:
    """Texts of `layers.make_texts` with random labels, or random series with targets; the same for the same model."""
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
    """Whether a classic model takes texts, from a corpus in a folder, and not series, from a file."""
    return spec.has_embedding or spec.encode is not None


def as_batch(spec: Any, samples: Any, targets: Any) -> Batch:
    """The samples and targets in the form that the model takes."""
    return np.asarray(spec.encode(samples) if spec.encode else samples), np.asarray(targets)


def flops_of(model: Any, batch_size: int, pass_: str) -> int:
    """Floating-point operations of the products: 2 for each product of a weight and an input, 4 more in backward.

    Args:
        model: A model of stock layers.
        batch_size: The number of samples in a step.
        pass_: A key of `MODEL_PASSES`.
    """
    import keras

    multiply_adds = 0
    for layer in model.layers:
        if type(layer).__name__ == "Embedding":  # looks up
            continue
        # Recurrent layers use their weights once for every step of their inputs, other layers for every step of their
        # outputs.
        recurrent = isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional))
        met = layer.input.shape if recurrent else layer.output.shape
        matrices = sum(math.prod(weight.shape) for weight in layer.trainable_weights if len(weight.shape) > 1)
        multiply_adds += batch_size * math.prod(met[1:-1]) * matrices
    return 2 * (3 if pass_ == "training" else 1) * multiply_adds

"""The models of `fastseq train`: they are those of the textbooks, and the same for every kind of layers."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import STOCK, assert_close

from fastseq import frameworks
from fastseq.keras import FastAdam
from fastseq.training import models
from fastseq.training.models import MAE, MODELS, ModelSpec

# Worked out by hand; FastAttention's are 64 * 64 for the scores and 128 * 128 for the output.
PARAMETERS = {
    "reuters-lstm": 100_000 + 80_400 + 4_646,
    "reuters-lstm-small": 32_000 + 53_200 + 4_646,
    "reuters-gru": 100_000 + 60_600 + 4_646,
    "reuters-bilstm": 100_000 + 160_800 + 9_246,
    "reuters-deep-lstm": 100_000 + 3 * 80_400 + 4_646,
    "imdb-cnn-lstm": 500_000 + 32_064 + 26_400 + 56,
    "imdb-cnn-lstm-wide": 2_500_000 + 96_064 + 23_000 + 51,
    "imdb-lstm-attention": 2_500_000 + 144_640 + 4_096 + 16_384 + 129,
    "imdb-rnn-onehot": 2_472 + 9,
    "imdb-rnn-embedding": 4_800 + 200 + 9,
    "price-forecast": 4_352 + 33,
}
EVERY_MODEL = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS.keys())
BATCH = 4


def _batch(spec: ModelSpec, model: Any) -> tuple[Any, Any]:
    """Changes of prices, or texts whose first half is padding, and their targets."""
    rng = np.random.default_rng(0)
    if spec.metric is MAE:
        return rng.standard_normal((BATCH, *model.input_shape[1:])), rng.standard_normal(BATCH)
    ids = rng.integers(1, 300, (BATCH, model.input_shape[1])).astype(np.int32)
    ids[:, : ids.shape[1] // 2] = 0
    classes = rng.integers(0, 2, BATCH)
    targets = classes if model.output_shape[-1] == 1 else np.eye(model.output_shape[-1])[classes]
    return (spec.encode(ids) if spec.encode else ids), targets


def _twins(spec: ModelSpec, *kinds: models.Layers, mask_zero: bool = False) -> list[Any]:
    """Models with the same weights and seeds."""
    twins = []
    for kind in kinds:
        keras.utils.set_random_seed(0)
        twins.append(spec.build(kind, mask_zero=mask_zero))
    return twins


def _loses_its_mask(spec: ModelSpec) -> Any:
    """Convolutions take no masks, and Keras says so."""
    if "cnn" in spec.name:
        return pytest.warns(UserWarning, match="of type Conv1D.* was passed an input with a mask attached to it")
    return contextlib.nullcontext()


def test_every_model_has_its_count() -> None:
    assert PARAMETERS.keys() == MODELS.keys()


@EVERY_MODEL
def test_parameters(spec: ModelSpec) -> None:
    assert spec.build("fast").count_params() == PARAMETERS[spec.name]


def _kinds(name: str) -> list[str]:
    return [type(layer).__name__ for layer in MODELS[name].build("stock").layers]


def test_both_cnn_lstm_drop_words() -> None:
    kinds = ["Embedding", "Dropout", "Conv1D", "MaxPooling1D", "LSTM", "Dense", "Activation"]
    assert _kinds("imdb-cnn-lstm-wide") == _kinds("imdb-cnn-lstm") == kinds
    assert MODELS["imdb-cnn-lstm-wide"].build("stock").layers[1].rate == 0.5


def test_what_they_validate_on() -> None:
    """A part of the texts to train on, or the test texts (None)."""
    imdb = {name: (spec.validation_split, spec.epochs) for name, spec in MODELS.items() if name.startswith("imdb")}
    assert imdb == {
        "imdb-cnn-lstm": (0.25, 100),
        "imdb-cnn-lstm-wide": (0.25, 100),
        "imdb-lstm-attention": (None, 100),
        "imdb-rnn-onehot": (0.2, 100),
        "imdb-rnn-embedding": (0.2, 100),
    }


@EVERY_MODEL
def test_twins_have_the_same_weights(spec: ModelSpec) -> None:
    described = []
    for kind in ("fast", "stock"):
        keras.backend.clear_session()  # for the numbers in names
        described.append([(weight.path, tuple(weight.shape), weight.dtype) for weight in spec.build(kind).weights])
    assert described[0] == described[1]


@EVERY_MODEL
def test_fast_layers_are_fast(spec: ModelSpec) -> None:
    """Every layer that fastseq has is in the fast model, and none in the stock one but the shared FastAttention."""
    import fastseq.keras

    ours = {name.removeprefix("Fast") for name in fastseq.keras.__all__ if name.startswith("Fast")}
    for kind in ("fast", "stock"):
        for layer in models.with_wrapped(spec.build(kind).layers):
            of_fastseq = type(layer).__module__.startswith("fastseq.")
            name = type(layer).__name__.removeprefix("Fast")
            assert of_fastseq == (name in ours and (kind == "fast" or name == "Attention")), (kind, layer)


@EVERY_MODEL
def test_a_training_step_of_each(spec: ModelSpec) -> None:
    """The loss of a step, with its dropout, and the loss after it."""
    losses = []
    for twin in _twins(spec, "fast", "stock"):
        x, y = _batch(spec, twin)
        keras.utils.set_random_seed(0)  # PyTorch's dropout draws its numbers by that, too
        before = twin.fit(x, y, shuffle=False, verbose=0).history["loss"][0]
        losses.append([before, twin.evaluate(x, y, verbose=0)[0]])
    assert_close(losses[0], losses[1], STOCK["float32"])
    assert losses[0][1] < losses[0][0]


@EVERY_MODEL
def test_mask_zero(spec: ModelSpec) -> None:
    """What the Embedding has for padding plays no part then, except where a convolution comes after it."""
    if not spec.has_embedding:
        with pytest.raises(ValueError, match=f"mask_zero must be False for {spec.name}, which has no Embedding"):
            spec.build("fast", mask_zero=True)
        return
    for mask_zero in (False, True):
        with _loses_its_mask(spec) if mask_zero else contextlib.nullcontext():
            fast, stock = _twins(spec, "fast", "stock", mask_zero=mask_zero)
            x, _ = _batch(spec, fast)
            outputs = [keras.ops.convert_to_numpy(twin(x)) for twin in (fast, stock)]
        assert_close(outputs[0], outputs[1], STOCK["float32"])
        embedding = fast.layers[0].embeddings
        embedding.assign(keras.ops.concatenate([embedding[:1] + 1.0, embedding[1:]]))
        with _loses_its_mask(spec) if mask_zero else contextlib.nullcontext():
            unchanged = np.array_equal(keras.ops.convert_to_numpy(fast(x)), outputs[0])
        assert unchanged == (mask_zero and "cnn" not in spec.name)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason=frameworks.current().no_jit)
def test_stock_jit() -> None:
    """Also an LSTM is compiled by XLA, which Keras by itself does not do."""
    spec = MODELS["reuters-lstm-small"]
    jit, stock = _twins(spec, "stock-jit", "stock")
    assert jit.jit_compile
    assert not stock.jit_compile
    x, y = _batch(spec, jit)
    assert_close(jit.train_on_batch(x, y)[0], stock.train_on_batch(x, y)[0], STOCK["float32"])


def test_one_hot() -> None:
    spec = MODELS["imdb-rnn-onehot"]
    assert spec.encode is not None
    ids = np.random.default_rng(0).integers(0, 300, (5, 100)).astype(np.int32)
    np.testing.assert_array_equal(spec.encode(ids), np.eye(300, dtype=np.float32)[ids])


@EVERY_MODEL
def test_optimizer(spec: ModelSpec) -> None:
    adam = {"fast": FastAdam, "stock": keras.optimizers.Adam}
    for layers in ("fast", "stock"):
        optimizer = spec.build(layers).optimizer
        kind, rate = (keras.optimizers.RMSprop, 1e-4) if "rnn" in spec.name else (adam[layers], 1e-3)
        assert type(optimizer) is type(kind())  # Keras may make one of a class of the backend's
        assert float(optimizer.learning_rate) == pytest.approx(rate)

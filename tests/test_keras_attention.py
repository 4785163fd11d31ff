"""FastAttention beside its definition, and beside the package's formula put together from stock layers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from attention_cases import PACKAGE, SCORES, Case, every_mask, every_score, make_case, weight_shapes
from backends import STOCK_FLOAT64, assert_close, needs_tensorflow, outputs_and_gradients, tf, torch
from processes import run_python
from tolerances import FINITE_DIFFERENCE, REFERENCE, STOCK

from fastseq import reference
from fastseq.keras import FastAttention, FastLSTM

BATCH, TIMESTEPS, FEATURES, UNITS = 4, 7, 3, 2

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def _layer(case: Case, score: str, **arguments: Any) -> FastAttention:
    layer = FastAttention(case.units, score, **arguments)
    layer.build((None, None, case.x.shape[-1]))
    layer.set_weights(case.weights)
    return layer


def _run(layer: FastAttention, x: Any, mask: Any = None) -> list[Any]:
    """The outputs, and the gradients of the sum of their sines by x and the weights, as NumPy arrays."""
    return outputs_and_gradients(lambda x: layer(x, mask=mask), x, layer.trainable_variables)


def _gradients(function: Any, x: Any, weights: list[Any]) -> list[Any]:
    """The same in TensorFlow's tensors."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = function(x)
        loss = tf.reduce_sum(tf.sin(outputs))
    return [outputs, *tape.gradient(loss, [x, *weights])]


def _run_in_tensors(layer: FastAttention, x: Any, mask: Any = None) -> list[Any]:
    return _gradients(lambda x: layer(x, mask=mask), x, [w.value for w in layer.trainable_variables])


def _reference(case: Case, score: str) -> list[Any]:
    forward = reference.attention_forward(case.x, case.weights, score=score, mask=case.mask)
    gradients = reference.attention_backward(forward, np.cos(forward.outputs))
    return [forward.outputs, gradients.dx, *gradients.dweights]


def _assert_same(got: list[Any], expected: list[Any], tolerance: float) -> None:
    for one, two in zip(got, expected, strict=True):
        assert_close(one, two, tolerance)


@pytest.mark.usefixtures("float64")
@every_dtype
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (4, 7, 3, 2), (3, 50, 17, 33)], ids=str)
@every_mask
@every_score
def test_matches_reference(score: str, mask: str, size: tuple[int, ...], dtype: str) -> None:
    case = make_case(score, mask, *size)
    got = _run(_layer(case, score, dtype=dtype), case.x.astype(dtype), case.mask)
    if torch is None:  # where Keras makes float32 of products of matrices
        assert all(tensor.dtype == dtype for tensor in got)
    # The layer is made of the backend's own operations, and those of the others err more.
    tolerance = REFERENCE[dtype] if tf is not None else STOCK["float32"]
    _assert_same(got, _reference(case, score), tolerance)


@needs_tensorflow
@every_mask
@every_score
def test_matches_reference_in_a_function_of_any_length(score: str, mask: str) -> None:
    case = make_case(score, mask)
    layer = _layer(case, score)

    def call(x: Any, steps: Any) -> list[Any]:
        return _run_in_tensors(layer, x, None if case.mask is None else steps)

    any_length = [tf.TensorSpec([None, None, FEATURES]), tf.TensorSpec([None, None], tf.bool)]
    for function in (tf.function(call, input_signature=any_length), tf.function(call, jit_compile=True)):
        _assert_same(
            function(tf.constant(case.x, tf.float32), case.steps), _reference(case, score), REFERENCE["float32"]
        )


@pytest.mark.usefixtures("float64")
@every_score
def test_matches_what_the_package_computed(score: str) -> None:
    recorded = PACKAGE[score]
    layer = FastAttention.from_config(recorded["config"])
    x = np.array(recorded["x"])
    layer.build(x.shape)
    layer.set_weights([np.array(w) for w in recorded["weights"]])
    _assert_same(_run(layer, x), [recorded[name] for name in ("outputs", "dx")] + recorded["dweights"], STOCK_FLOAT64)
    assert [f"{w.name}/kernel:0" for w in layer.weights] == recorded["names"]


@pytest.mark.usefixtures("float64")
@every_dtype
@every_score
def test_matches_the_packages_formula_from_stock_layers(score: str, dtype: str) -> None:
    case = make_case(score, "none", 3, 50, 17, 33)

    def dense(units: int, activation: str | None = None) -> Any:
        return keras.layers.Dense(units, activation, use_bias=False, dtype=dtype)

    features = case.x.shape[-1]
    inputs = keras.Input(case.x.shape[1:], dtype=dtype)
    last = inputs[:, -1, :]
    if score == "luong":
        layers = [dense(features)]
        scores = keras.layers.Dot(axes=(1, 2), dtype=dtype)([last, layers[0](inputs)])
    else:
        layers = [dense(1), dense(features), dense(features)]
        repeated = keras.layers.RepeatVector(case.x.shape[1], dtype=dtype)(layers[1](last))
        hidden = keras.layers.Add(dtype=dtype)([repeated, layers[2](inputs)])
        scores = layers[0](keras.layers.Activation("tanh", dtype=dtype)(hidden))[:, :, 0]
    attention = keras.layers.Softmax(dtype=dtype)(scores)
    context = keras.layers.Dot(axes=(1, 1), dtype=dtype)([inputs, attention])
    layers.append(dense(case.units, "tanh"))
    outputs = layers[-1](keras.layers.Concatenate(dtype=dtype)([context, last]))
    model = keras.Model(inputs, outputs)
    for layer, weight in zip(layers, case.weights, strict=True):
        layer.set_weights([weight])

    x = case.x.astype(dtype)
    expected = outputs_and_gradients(model, x, [layer.kernel for layer in layers])
    tolerance = STOCK_FLOAT64 if dtype == "float64" else STOCK[dtype]
    _assert_same(_run(_layer(case, score, dtype=dtype), x), expected, tolerance)


@every_score
def test_masked_steps_are_never_read(score: str) -> None:
    case = make_case(score, "inside")
    layer = _layer(case, score)
    expected = _run(layer, case.x.astype("float32"), case.mask)
    case.x[~case.steps] = np.nan
    got = _run(layer, case.x.astype("float32"), case.mask)
    for one, two in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, two)


@every_score
def test_a_row_without_steps_gives_zero(score: str) -> None:
    case = make_case(score, "all")
    for tensor in _run(_layer(case, score), case.x.astype("float32"), case.mask):
        np.testing.assert_array_equal(tensor, np.zeros(tensor.shape))


@every_score
def test_scores_far_apart(score: str) -> None:
    """The largest scores of either sign leave nothing but one step, and masked ones do not come back."""
    layer = FastAttention(1, score)
    layer.build((None, None, 1))
    layer.set_weights(
        [np.full(shape, 1e15) for shape in weight_shapes(score, 1, 1)[:-1]] + [np.array([[1e-10], [0.0]])]
    )
    x = np.array([[[-1e9], [-2e9], [-1e9], [1e9]]], "float32")
    mask = np.array([[True, True, False, True]])
    outputs, *gradients = _run(layer, x, mask)
    assert np.isfinite(outputs).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    if score == "luong":
        assert_close(outputs, [[np.tanh(0.1)]], REFERENCE["float32"])


@every_score
def test_mask_from_embedding_and_lstm(score: str) -> None:
    layers = [
        keras.layers.Embedding(9, 5, mask_zero=True),
        FastLSTM(FEATURES, return_sequences=True),
        FastAttention(UNITS, score),
    ]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    assert model.output_shape == (None, UNITS)
    tokens = [3, 1, 4, 1, 5]
    padded = [[*tokens, 0, 0], [0, 0, *tokens], [0, *tokens[:2], 0, *tokens[2:]]]
    expected = keras.ops.repeat(model(np.array([tokens])), 3, axis=0)
    assert_close(model(np.array(padded)), expected, STOCK["float32"])
    # The layers after it have no steps to mask.
    assert layers[-1].compute_mask(keras.KerasTensor((None, None, FEATURES)), keras.KerasTensor((None, None))) is None


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@every_mask
@every_score
def test_half_policies(score: str, mask: str, policy: str) -> None:
    case = make_case(score, mask)
    got = _run(_layer(case, score, dtype=policy), case.x.astype("float32"), case.mask)
    assert got[0].dtype == keras.DTypePolicy(policy).compute_dtype
    # bfloat16 keeps 8 bits, of which weights up to 3, and sums of 7 of their products, lose some more.
    _assert_same(got, _reference(case, score), 5e-2)


def test_softmax_is_not_done_in_a_half_type() -> None:
    """1024 steps that count alike: in bfloat16 a sum of ones ends at 256."""
    layer = FastAttention(1, dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    layer.set_weights([np.zeros((1, 1)), np.array([[1.0], [0.0]])])
    assert_close(layer(np.ones((1, 1024, 1))), [[np.tanh(1.0)]], 1e-2)


@pytest.mark.parametrize("timesteps", [TIMESTEPS, None])
@every_score
def test_symbolic_shapes(score: str, timesteps: int | None) -> None:
    outputs = FastAttention(UNITS, score, dtype="float64")(keras.Input((timesteps, FEATURES)))
    assert outputs.shape == (None, UNITS)
    assert outputs.dtype == "float64"
    assert FastAttention().compute_output_shape((5, timesteps, FEATURES)) == (5, 128)


@every_score
def test_weights(score: str) -> None:
    layer = FastAttention(UNITS, score)
    layer.build((BATCH, TIMESTEPS, FEATURES))
    assert [w.shape for w in layer.weights] == weight_shapes(score, FEATURES, UNITS)
    assert all(w.trainable for w in layer.weights)


def test_config() -> None:
    assert (FastAttention().units, FastAttention().score) == (128, "luong")
    assert (FastAttention.SCORE_LUONG, FastAttention.SCORE_BAHDANAU) == SCORES
    config = FastAttention(UNITS, "bahdanau", name="weighing", dtype="float64").get_config()
    again = FastAttention.from_config(config)
    assert again.get_config() == config
    assert (again.units, again.score, again.name, again.dtype) == (UNITS, "bahdanau", "weighing", "float64")
    assert keras.saving.get_registered_name(FastAttention) == "fastseq>FastAttention"


@every_score
def test_keras_file_and_export(score: str, tmp_path: Path) -> None:
    layers = [keras.layers.Embedding(9, FEATURES, mask_zero=True), FastAttention(UNITS, score)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    tokens = np.array([[0, 0, 3, 1, 4], [1, 5, 0, 0, 0]], "int32")
    expected = model.predict(tokens, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[-1], FastAttention)
    np.testing.assert_array_equal(loaded.predict(tokens, verbose=0), expected)
    if tf is None:
        return
    model.export(str(tmp_path / "exported"))
    served = tf.saved_model.load(str(tmp_path / "exported"))
    assert_close(served.serve(tokens), expected, STOCK["float32"])


@every_score
def test_takes_the_place_of_the_packages_class_in_a_model(score: str) -> None:
    recorded = PACKAGE[score]
    stock = keras.Sequential([keras.Input((None, FEATURES)), keras.layers.Identity()]).get_config()
    stock["layers"][-1] = {"class_name": "Attention", "config": {**recorded["config"], "dtype": "float32"}}
    model = keras.Sequential.from_config(stock, custom_objects={"Attention": FastAttention})
    model.set_weights([np.array(w) for w in recorded["weights"]])
    assert_close(model(np.array(recorded["x"])), recorded["outputs"], STOCK["float32"])


@pytest.mark.parametrize("run_eagerly", [False, True])
@every_score
def test_fit_learns_where_to_look(score: str, run_eagerly: bool) -> None:
    """The label is in the one step that is marked, which a model without attention would have to guess."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (256, 10, 3))
    x[:, :, 1] = 0.0
    x[:, :, 2] = 1.0
    marked = rng.integers(0, 9, 256)
    x[np.arange(256), marked, 1] = 1.0
    y = x[np.arange(256), marked, 0] > 0
    model = keras.Sequential([keras.Input((None, 3)), FastAttention(8, score), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", run_eagerly=run_eagerly)
    losses = model.fit(x, y, batch_size=64, epochs=15, verbose=0).history["loss"]
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


@pytest.mark.parametrize("units", [0, -1, 2.0, "2", None, True], ids=repr)
def test_rejects_units(units: Any) -> None:
    with pytest.raises(ValueError, match=f"units must be a positive integer, got {units!r}"):
        FastAttention(units)


@pytest.mark.parametrize("score", ["dot", "Luong", None, 1], ids=repr)
def test_rejects_scores(score: Any) -> None:
    with pytest.raises(ValueError, match=f"score must be 'luong' or 'bahdanau', got {score!r}"):
        FastAttention(score=score)


def test_rejects_shapes() -> None:
    layer = FastAttention(UNITS)
    with pytest.raises(ValueError, match=r"the last dimension of inputs must be known, got shape \(None, 3, None\)"):
        layer(keras.Input((3, None)))
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        layer(np.zeros((BATCH, FEATURES)))
    with pytest.raises(ValueError, match=r"inputs must have at least one step, got shape \(4, 0, 3\)"):
        layer(np.zeros((BATCH, 0, FEATURES)))
    x = np.zeros((BATCH, TIMESTEPS, FEATURES), "float32")
    layer(x)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(np.zeros((BATCH, TIMESTEPS, FEATURES + 1)))
    for shape in ((BATCH, TIMESTEPS + 1), (1, TIMESTEPS), (BATCH, TIMESTEPS, 1), (TIMESTEPS,)):
        expected = rf"mask must have shape \(4, 7\), got \({', '.join(map(str, shape))},?\)"
        with pytest.raises(ValueError, match=expected):
            layer(x, mask=np.ones(shape, bool))


@every_score
def test_empty_batch(score: str) -> None:
    layer = FastAttention(UNITS, score)
    x = np.zeros((0, TIMESTEPS, FEATURES), "float32")
    for mask in (None, np.zeros((0, TIMESTEPS), bool)):
        layer(x)
        outputs, dx, *dweights = _run(layer, x, mask)
        assert outputs.shape == (0, UNITS)
        assert dx.shape == x.shape
        assert not any(np.any(gradient) for gradient in dweights)


@needs_tensorflow
@every_score
def test_second_order_gradient(score: str) -> None:
    case = make_case(score, "inside")
    layer = _layer(case, score, dtype="float64")
    x, direction = tf.constant(case.x), tf.constant(np.random.default_rng(1).standard_normal(case.x.shape))

    def slope(x: Any) -> Any:
        return _run_in_tensors(layer, x, case.mask)[1]

    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(slope(x) * direction)
    step = 1e-6
    difference = (slope(x + step * direction) - slope(x - step * direction)) / (2 * step)
    assert_close(tape.gradient(along, x), difference, FINITE_DIFFERENCE)


@needs_tensorflow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_another_backend(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import keras
import numpy as np
from attention_cases import MASKS, SCORES, make_case
from fastseq import reference
from fastseq.keras import FastAttention
from tolerances import FINITE_DIFFERENCE, REFERENCE, assert_close

assert keras.backend.backend() == {backend!r}
for score in SCORES:
    for mask in MASKS:
        case = make_case(score, mask)
        layer = FastAttention(case.units, score)
        layer.build(case.x.shape)
        layer.set_weights(case.weights)
        got = keras.ops.convert_to_numpy(layer(case.x.astype("float32"), mask=case.mask))
        expected = reference.attention_forward(case.x, case.weights, score=score, mask=case.mask).outputs
        assert_close(got, expected, REFERENCE["float32"])
model = keras.Sequential([keras.Input((None, 3)), FastAttention(4), keras.layers.Dense(1)])
model.compile("adam", "mse")
rng = np.random.default_rng(0)
losses = model.fit(rng.random((64, 7, 3)), np.ones((64, 1)), epochs=20, verbose=0).history["loss"]
assert losses[-1] < 0.8 * losses[0], losses
"""
    done = run_python(code, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr[-3000:]

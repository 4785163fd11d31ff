"""Graphs of models: interpreted, they give what the models give; what cannot be lowered is refused by name."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import accelerate_cases
import keras
import numpy as np
import prediction_cases
import pytest
from graph_interpreter import Interpreter
from tolerances import assert_close

import fastseq.keras
from fastseq import Predictor
from fastseq.keras import FastLSTM
from fastseq.prediction import Graph, UnsupportedLayerError
from fastseq.prediction.graph import Structure
from fastseq.prediction.lowering import lower
from fastseq.prediction.optimization import optimized
from fastseq.training.models import MODELS

# Keras tells of layers that destroy masks; so do the graphs.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")

# Stock Keras in float32 beside the graph in float64: see `tolerances.REFERENCE`.
TOLERANCE = 1e-5


def _nothing(tensor: Any) -> None:
    """Of a tensor, what a comparison of structures needs."""


def check(model: Any, inputs: Any, calls: int = 1) -> Graph:
    """Compares a model with its graph, as it is lowered and as it is optimized."""
    graph = lower(model)
    interpreters = [Interpreter(graph), Interpreter(optimized(graph))]
    for _ in range(calls):
        # On JAX, `predict` leaves states as they are.
        expected = model(inputs) if graph.states else model.predict(inputs, batch_size=64, verbose=0)
        for interpreter in interpreters:
            got = graph.output_structure.pack(interpreter(keras.tree.flatten(inputs)))
            assert keras.tree.map_structure(_nothing, got) == keras.tree.map_structure(_nothing, expected)
            for one, other in zip(keras.tree.flatten(got), keras.tree.flatten(expected), strict=True):
                assert_close(one, keras.ops.convert_to_numpy(other), TOLERANCE)
    return graph


@pytest.mark.parametrize(
    ("name", "mask_zero"),
    [
        (name, mask_zero)
        for name, spec in MODELS.items()
        for mask_zero in ([False, True] if spec.has_embedding else [False])
    ],
)
def test_training_models(name: str, mask_zero: bool) -> None:
    spec = MODELS[name]
    model = spec.build("fast", mask_zero=mask_zero)
    shape = (3, *model.inputs[0].shape[1:])
    rng = np.random.default_rng(0)
    if spec.has_embedding:
        ids = rng.integers(1, 300, shape).astype("int32")
        ids[0, :40] = ids[1, ::2] = ids[2] = 0
        graph = check(model, ids)
        assert graph.inputs[0].dtype == "integers"
    else:
        check(model, rng.standard_normal(shape).astype("float32"))


# The others are refused: see below.
@pytest.mark.parametrize("name", sorted(accelerate_cases.CASES.keys() - {"not_built", "subclassed", "cells"}))
def test_architectures(name: str) -> None:
    model, inputs = accelerate_cases.CASES[name]()
    check(model, inputs, calls=2)


@pytest.mark.parametrize("name", prediction_cases.CASES)
def test_mixed_layers(name: str) -> None:
    if "concat" in name and "broadcast_to" in inspect.getsource(keras.layers.Concatenate.compute_mask):
        pytest.skip("this version of Keras cannot concatenate masks of a batch of unknown size")
    model, inputs = prediction_cases.CASES[name]()
    check(model, inputs, calls=3)


@pytest.mark.parametrize("layer", [keras.layers.Maximum(), keras.layers.Minimum(), keras.layers.Multiply()])
def test_merges_of_masked_and_infinite_values(layer: Any) -> None:
    ids, other = keras.Input((4,), dtype="int32"), keras.Input((4, 3))
    x = np.array([[[np.inf], [-np.inf], [1.0], [np.inf]]] * 2, "float32").repeat(3, 2)
    outputs = layer([keras.layers.Embedding(5, 3, mask_zero=True)(ids), other])
    model, inputs = keras.Model([ids, other], outputs), [np.array([[1, 0, 0, 2], [0, 0, 3, 4]], "int32"), x]
    expected = keras.ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(Predictor(model)(inputs), expected, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="elsewhere a reshape never is its input")
@pytest.mark.parametrize(
    "layer", [keras.layers.Reshape((6, 2)), keras.layers.Permute((1, 2)), keras.layers.Cropping1D(0)]
)
def test_layers_that_change_nothing_keep_masks_on_jax(layer: Any) -> None:
    embedding = keras.layers.Embedding(5, 2, mask_zero=True)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), embedding, layer, keras.layers.GRU(2)])
    with pytest.raises(UnsupportedLayerError, match="it must change its inputs where they have a mask"):
        lower(model)


@pytest.mark.parametrize("name", ["stacked", "bidirectional", "time_distributed", "masked", "convolved_and_pooled"])
def test_accelerated_models(name: str) -> None:
    model, inputs = accelerate_cases.CASES[name]()
    fastseq.keras.accelerate(model)
    check(model, inputs)


def test_patched_keras() -> None:
    with fastseq.keras.patch():
        model, inputs = accelerate_cases.mixed()
    check(model, inputs)


def test_graph_is_the_same_for_stock_and_fast_layers() -> None:
    """But for the weights."""
    graphs = []
    for build in (keras.layers.LSTM, FastLSTM):
        layer = build(4, return_sequences=True, name="lstm")
        model = keras.Sequential([keras.Input((5, 3), name="x"), layer, keras.layers.Dense(2, name="dense")])
        graphs.append(lower(model))
    assert (graphs[0].nodes, graphs[0].inputs) == (graphs[1].nodes, graphs[1].inputs)


def test_float64(float64: None) -> None:
    del float64
    x = inputs = keras.Input((6, 3))
    x = keras.layers.Conv1D(4, 3, activation="relu", dtype="float64")(x)
    x = keras.layers.Bidirectional(keras.layers.GRU(3, dtype="float64"), dtype="float64")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float64")(x))
    graph = check(model, np.random.default_rng(0).standard_normal((4, 6, 3)).astype("float32"))
    assert graph.inputs[0].dtype == "float64"
    assert {array.dtype.name for array in graph.constants} == {"float64"}


def test_weights_are_those_of_the_time() -> None:
    model, inputs = accelerate_cases.mixed()
    graph, expected = lower(model), model.predict(inputs, verbose=0)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert_close(Interpreter(graph)([inputs])[0], expected, TOLERANCE)


def test_shared_weights_are_one_constant() -> None:
    model, _ = prediction_cases.shared_layers()
    assert len(lower(model).constants) == len(model.weights)


def test_what_nothing_reads_is_left_out() -> None:
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(9, 4, mask_zero=True),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    assert [node.operation for node in lower(model).nodes] == ["embedding_forward", "reshape", "dense"]


def test_labels_are_the_paths_of_layers() -> None:
    model, _ = accelerate_cases.nested()
    labels = [node.label for node in lower(model).nodes]
    assert labels[0].startswith("middle/inner/conv1d")
    assert labels[2].startswith("middle/gru")
    assert labels[3].startswith("dense")


def test_inputs_and_structures() -> None:
    graph = lower(prediction_cases.dict_inputs_and_outputs()[0])
    assert [(one.name, one.rank, one.dtype) for one in graph.inputs] == [
        ("body", 2, "integers"),
        ("tags", 2, "float32"),
        ("title", 2, "integers"),
    ]
    assert graph.input_structure == Structure("dict", ("body", "tags", "title"))
    assert graph.output_structure == Structure("dict", ("department", "priority"))
    single = lower(accelerate_cases.stacked()[0])
    assert (single.input_structure.kind, single.output_structure.kind) == ("single", "single")


def test_inputs_of_embeddings_are_integers() -> None:
    graph = lower(prediction_cases.ids_as_floats()[0])
    assert [one.dtype for one in graph.inputs] == ["integers", "float32"]
    assert [one.dtype for one in lower(prediction_cases.masks_given()[0]).inputs] == ["integers", "float32", "bool"]


def test_states_come_last() -> None:
    graph = lower(accelerate_cases.stateful()[0])
    assert [one.name.partition(".")[2] for one in graph.inputs[1:]] == ["state0", "state1", "state0"]
    assert [state.shape for state in graph.states] == [(4, 4)] * 3
    assert len(graph.outputs) == 4


def test_optimized_graph_computes_in_fewer_operations() -> None:
    graph = lower(prediction_cases.residual_convolutions()[0])
    joined = optimized(graph)
    assert Counter(node.operation for node in graph.nodes) - Counter(node.operation for node in joined.nodes) == {
        "activate": 2,
        "max_pool_forward": 1,
    }
    convolutions = [node.options for node in joined.nodes if node.operation == "conv1d_predict"]
    pooled = [options for options in convolutions if options["pool_size"]]
    assert [(options["activation"], options["pool_size"], options["pool_strides"]) for options in pooled] == [
        ("relu", 2, 2)
    ]


def test_optimization_keeps_what_several_nodes_read() -> None:
    inputs = keras.Input((8, 3))
    convolved = keras.layers.Conv1D(4, 3)(inputs)
    pooled = keras.layers.MaxPooling1D(2)(convolved)
    model = keras.Model(inputs, [pooled, convolved, keras.layers.ReLU()(keras.layers.Dense(2)(pooled))])
    assert [node.operation for node in optimized(lower(model)).nodes] == ["conv1d_predict", "max_pool_forward", "dense"]


def _sequential(*layers: Any, shape: tuple[int | None, ...] = (6, 3), dtype: str = "float32") -> Any:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


class CustomLayer(keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs


class CustomDense(keras.layers.Dense):  # type: ignore[misc]
    def call(self, inputs: Any, training: Any = None) -> Any:
        return 2 * super().call(inputs)


class RenamedDense(keras.layers.Dense):  # type: ignore[misc]
    """Computes what Dense does."""


class CustomMask(keras.layers.Dense):  # type: ignore[misc]
    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None


class CustomCell(keras.layers.GRUCell):  # type: ignore[misc]
    pass


class CustomModel(keras.Model):  # type: ignore[misc]
    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return 2 * super().call(inputs, training, mask)


def _operation_in_graph() -> Any:
    inputs = keras.Input((6, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.ops.exp(inputs)))


def _called(layer: Any, *shape: int, **arguments: Any) -> Any:
    inputs = keras.Input(shape or (6, 3))
    return keras.Model(inputs, layer(inputs, **arguments))


def _custom_model() -> Any:
    inputs = keras.Input((3,))
    return CustomModel(inputs, keras.layers.Dense(2)(inputs))


def _nested_for_training() -> Any:
    inner, inputs = _sequential(keras.layers.Dropout(0.5)), keras.Input((6, 3))
    return keras.Model(inputs, inner(inputs, training=True))


def _ids_as_numbers() -> Any:
    ids = keras.Input((6,), dtype="int32")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(ids))
    return keras.Model(ids, keras.layers.Concatenate()([embedded, keras.layers.Dense(2)(ids)]))


def _replaced(layer: Any, name: str) -> Any:
    model = _sequential(layer)
    method = getattr(layer, name)
    setattr(layer, name, lambda *args, **kwargs: method(*args, **kwargs))
    return model


def _replaced_in_cell() -> Any:
    layer = keras.layers.LSTM(4)
    model = _sequential(layer)
    call = layer.cell.call
    layer.cell.call = lambda *args, **kwargs: call(*args, **kwargs)
    return model


def _replaced_first_states() -> Any:
    layer = keras.layers.GRU(4)
    model = _sequential(layer)
    layer.cell.get_initial_state = lambda batch_size=None: [keras.ops.ones((batch_size, 4))]
    return model


def _replaced_graph() -> Any:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model._run_through_graph = lambda *args, **kwargs: None
    return model


def _replaced_pooling() -> Any:
    layer = fastseq.keras.FastConv1DMaxPooling1D(2, 2, pool_size=2)
    model = _sequential(layer)
    layer._pooling.call = lambda x: x
    return model


def _nested_integers() -> Any:
    inner = keras.Sequential([keras.Input((3,), dtype="int32"), keras.layers.Rescaling(0.5)])
    inputs = keras.Input((3,))
    return keras.Model(inputs, inner(keras.layers.Dense(3)(inputs)))


def _lora() -> Any:
    model = _sequential(keras.layers.Dense(4))
    model.layers[0].enable_lora(2)
    return model


def _quantized() -> Any:
    model = _sequential(keras.layers.Dense(4))
    model.quantize("int8")
    return model


def _nested_outputs() -> Any:
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2)(inputs)
    return keras.Model(inputs, {"a": [outputs, outputs], "b": outputs})


def _mask_of_floats() -> Any:
    mask, inputs = keras.Input((6,)), keras.Input((6, 3))
    return keras.Model([inputs, mask], keras.layers.LSTM(4)(inputs, mask=mask))


REFUSALS: dict[str, tuple[Any, str]] = {
    "lambda": (
        lambda: _sequential(keras.layers.Lambda(lambda x: x, name="mine")),
        r"layer 'mine' \(keras.src.layers.core.lambda_layer.Lambda\) is not supported: Predictor has no operations",
    ),
    "custom layer": (lambda: _sequential(CustomLayer(name="mine")), r"layer 'mine' \(.*CustomLayer\) is not supported"),
    "custom call": (
        lambda: _sequential(CustomDense(2, name="mine")),
        "layer 'mine' .* its class has a call of its own",
    ),
    "custom mask": (lambda: _sequential(CustomMask(2)), "its class has a compute_mask of its own"),
    "custom cell": (lambda: _sequential(keras.layers.RNN(CustomCell(2))), "no operations for its cell, .*CustomCell"),
    "stacked cells": (
        lambda: _sequential(keras.layers.RNN([keras.layers.LSTMCell(3), keras.layers.LSTMCell(4)])),
        "no operations for its cell, .*StackedRNNCells",
    ),
    "custom model": (_custom_model, r"model 'custom_model.*' \(.*CustomModel\) .*: its class has a call of its own"),
    "subclassed model": (accelerate_cases.Subclassed, "neither a Sequential nor a functional model"),
    "not built": (lambda: keras.Sequential([keras.layers.Dense(2)]), "it is not built"),
    "operation": (_operation_in_graph, r"operation '.*' \(keras.src.ops.numpy.Exp\) .* functions of keras.ops"),
    "replaced call": (lambda: _replaced(keras.layers.Dense(2), "call"), "call has been replaced"),
    "replaced loop": (lambda: _replaced(FastLSTM(2), "inner_loop"), "inner_loop has been replaced"),
    "replaced cell": (_replaced_in_cell, "call has been replaced"),
    "dropout in training": (
        lambda: _called(keras.layers.Dropout(0.5), training=True),
        "it is called with training=True, which changes its results",
    ),
    "recurrent dropout in training": (
        lambda: _called(keras.layers.Bidirectional(keras.layers.LSTM(2, dropout=0.5)), training=True),
        "layer 'bidirectional.*/forward_lstm.*' .* is called with training=True",
    ),
    "model in training": (_nested_for_training, "layer 'sequential.*/dropout.*' .* is called with training=True"),
    "batch statistics": (lambda: _called(keras.layers.BatchNormalization(), training=True), "training=True"),
    "mask of floats": (_mask_of_floats, "a mask must be bool"),
    "half": (
        lambda: _sequential(keras.layers.Dense(2, dtype="float16")),
        "it computes in float16 with weights of float16",
    ),
    "mixed": (lambda: _sequential(keras.layers.LSTM(2, dtype="mixed_bfloat16")), "it computes in bfloat16"),
    "two dtypes": (
        lambda: _sequential(keras.layers.Dense(2), keras.layers.Dense(2, dtype="float64")),
        "all layers must compute in one dtype",
    ),
    "lora": (_lora, "it has LoRA weights"),
    "quantized": (_quantized, "its weights are quantized"),
    "channels first": (
        lambda: _sequential(keras.layers.GlobalMaxPooling1D(data_format="channels_first")),
        "data_format must be 'channels_last', got 'channels_first'",
    ),
    "activation": (
        lambda: _sequential(keras.layers.Dense(2, activation=lambda x: x + 1)),
        "no operation for its activation, .*lambda",
    ),
    "recurrent activation": (
        lambda: _sequential(keras.layers.GRU(2, activation="softplus")),
        "activation must be one of .*, got keras.src.activations.activations.softplus",
    ),
    "batch axis of a softmax": (
        lambda: _sequential(keras.layers.Softmax(axis=0)),
        "axis must not be that of the batch",
    ),
    "batch axis of a normalization": (
        lambda: _sequential(keras.layers.LayerNormalization(axis=[0, 1], center=False, scale=False), shape=(3,)),
        "axis must be the last axes, without that of the batch",
    ),
    "constants that differ by row": (
        lambda: _sequential(keras.layers.Rescaling(np.ones((5, 3))), shape=(3,)),
        "its constants must be the same for every row of the batch",
    ),
    "integers as numbers": (
        lambda: keras.Sequential([keras.Input((3,), dtype="int32"), keras.layers.Rescaling(0.5)]),
        "its inputs must be floats, got integers",
    ),
    "input of half floats": (
        lambda: keras.Sequential([keras.Input((3,), dtype="float16", name="x"), keras.layers.Dense(2)]),
        "its input 'x' must have dtype float32 or float64, got float16",
    ),
    "nested input of integers": (_nested_integers, "its inputs must be"),
    "replaced graph": (_replaced_graph, "_run_through_graph has been replaced"),
    "replaced pooling": (_replaced_pooling, "the call of its pooling has been replaced"),
    "replaced first states": (_replaced_first_states, "get_initial_state has been replaced"),
    "axis of a softmax": (lambda: _sequential(keras.layers.Softmax(axis=(1, 2))), "axis must be one axis"),
    "axis of a normalization": (
        lambda: _sequential(keras.layers.LayerNormalization(axis=1)),
        "axis must be the last axes",
    ),
    "normalized dot": (
        lambda: _called(lambda x: keras.layers.Dot(2, normalize=True)([x, x])),
        "normalize must be False, got True",
    ),
    "ids as numbers": (_ids_as_numbers, "its inputs must be floats, got integers"),
    "nested outputs": (_nested_outputs, "its inputs and its outputs must each be one tensor, or a list"),
    "two dimensions": (
        lambda: _sequential(keras.layers.Conv2D(2, 3), shape=(6, 6, 3)),
        r"layer 'conv2d.*' \(keras.src.layers.convolutional.conv2d.Conv2D\) is not supported",
    ),
    "unrolled backward outputs": (
        lambda: _sequential(
            keras.layers.Masking(), keras.layers.Bidirectional(keras.layers.GRU(2, unroll=True, return_sequences=True))
        ),
        "unroll must be False with zero_output_for_mask=True and a mask",
    ),
    "stateful in time": (
        lambda: keras.Sequential(
            [
                keras.Input(batch_shape=(2, 4, 6, 3)),
                keras.layers.TimeDistributed(keras.layers.LSTM(2, stateful=True)),
            ]
        ),
        "its layer must not be stateful",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_refusals(name: str) -> None:
    build, message = REFUSALS[name]
    model = build()
    with pytest.raises(UnsupportedLayerError, match=message):
        lower(model)


def test_subclass_that_replaces_nothing() -> None:
    check(_sequential(RenamedDense(2, activation="tanh")), accelerate_cases.stacked()[1])


def test_training_where_it_changes_nothing() -> None:
    model = _called(keras.layers.LSTM(2), training=True)
    check(model, accelerate_cases.stacked()[1])


def test_other_things_than_models() -> None:
    with pytest.raises(TypeError, match=r"model must be a Keras model, got .*Dense"):
        lower(keras.layers.Dense(2))


def test_max_pooling_of_nan_is_that_of_the_backend() -> None:
    nodes = lower(_sequential(keras.layers.MaxPooling1D(2))).nodes
    assert nodes[0].options["propagate_nan"] == (keras.backend.backend() != "tensorflow")

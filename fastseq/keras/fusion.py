"""Decides whether a max pooling can be computed in one pass with the convolution before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras.src.models.functional import Functional

from fastseq.keras.activations import native_name
from fastseq.keras.calls import current_call
from fastseq.keras.conv1d import FastConv1D
from fastseq.keras.native import fast_class
from fastseq.keras.stock_methods import StockMethods
from fastseq.keras.tensors import NATIVE_DTYPES

_BETWEEN = ("relu", "sigmoid", "tanh")  # single operations, as TensorFlow traces them


def convolution_before(pooling: Any) -> Any | None:
    """The convolution layer that can be computed in one pass with a pooling layer, or None.

    It is a `FastConv1D`. Its outputs go to the pooling layer and to no other, directly or through an activation layer,
    in all graphs of Keras layers. In subclassed models there is no such graph, so the result is None.
    """
    layer = _only_source(pooling)
    activated = _activation(layer) in _BETWEEN
    if activated:
        layer = _only_source(layer)
    if layer is None or fast_class(layer) is not FastConv1D or layer.use_native is False or "call" in vars(layer):
        return None
    if layer.reason_against() is not None:
        return None
    own = native_name(keras.activations.get(layer.activation))
    if own is None or (activated and own != "linear"):
        return None
    # Half types are cast between the layers.
    alike = layer.data_format == pooling.data_format == "channels_last"
    return layer if alike and layer.compute_dtype == pooling.compute_dtype in NATIVE_DTYPES else None


def in_one_pass(pooling: Any) -> bool:
    """Whether the call under way should compute a pooling layer in one pass with the convolution before it.

    A sequential or functional model must call both layers. Only then is it certain that no gradient tape, gradient
    computation or loop comes between them. And the tensors between the layers must not be outputs of the model, whose
    gradients may be asked for.
    """
    convolution = convolution_before(pooling)
    if convolution is None:
        return False
    models = list(_models_called_by(getattr(current_call(), "entry_layer", None)))
    outputs = [tensor._keras_history.operation for model in models for tensor in keras.tree.flatten(model.outputs)]
    hidden = not any(operation in (convolution, _only_source(pooling)) for operation in outputs)
    return hidden and any(pooling in model.layers and convolution in model.layers for model in models)


def _models_called_by(entry: Any) -> Iterator[Any]:
    """The sequential and functional models that a call of `entry` runs: `entry`, and models among its layers."""
    if isinstance(entry, keras.Model) and type(entry).call in (keras.Sequential.call, Functional.call):
        yield entry
        for layer in entry.layers:
            yield from _models_called_by(layer)


def _only_source(layer: Any) -> Any | None:
    """The layer that gives all inputs of `layer`, or None if there are several or its outputs go elsewhere, too."""
    sources = {parent.operation for node in layer._inbound_nodes for parent in node.parent_nodes}
    if len(sources) != 1:
        return None
    source = sources.pop()
    readers = {node.operation for node in source._outbound_nodes}
    return source if readers == {layer} and getattr(source, "activity_regularizer", None) is None else None


_ACTIVATION_METHODS = {cls: StockMethods(cls, unused=["call"]) for cls in (keras.layers.Activation, keras.layers.ReLU)}


def _activation(layer: Any) -> str | None:
    """The kernels' name of a layer's activation if the layer is only an activation, else None."""
    methods = _ACTIVATION_METHODS.get(type(layer))
    if methods is None or methods.replaced(layer):
        return None
    if isinstance(layer, keras.layers.Activation):
        return native_name(layer.activation)
    if layer.max_value or layer.negative_slope or layer.threshold:
        return None
    return native_name(keras.activations.relu)

"""Where a max pooling can be computed in one pass with the convolution before it."""

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
    """The convolution that a pooling layer can be computed in one pass with, or None.

    It is a `FastConv1D` whose outputs, directly or through a layer that activates them, go to this layer and to no
    other in any graph of Keras layers. So where there is no such graph, as in subclassed models, there is none.
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
    """Whether the call under way is to compute a pooling layer with the convolution before it.

    Only where a sequential or functional model calls both itself does nothing come between them: no tape, no gradient,
    no loop. And what is between them must not be an output of the model, whose gradient someone may ask for.
    """
    convolution = convolution_before(pooling)
    if convolution is None:
        return False
    models = list(_models_called_by(getattr(current_call(), "entry_layer", None)))
    outputs = [tensor._keras_history.operation for model in models for tensor in keras.tree.flatten(model.outputs)]
    hidden = not any(operation in (convolution, _only_source(pooling)) for operation in outputs)
    return hidden and any(pooling in model.layers and convolution in model.layers for model in models)


def _models_called_by(entry: Any) -> Iterator[Any]:
    """The sequential and functional models that run when `entry` is called: itself, and those among its layers."""
    if isinstance(entry, keras.Model) and type(entry).call in (keras.Sequential.call, Functional.call):
        yield entry
        for layer in entry.layers:
            yield from _models_called_by(layer)


def _only_source(layer: Any) -> Any | None:
    """The layer that all inputs of `layer` come from, if its outputs go nowhere else."""
    sources = {parent.operation for node in layer._inbound_nodes for parent in node.parent_nodes}
    if len(sources) != 1:
        return None
    source = sources.pop()
    readers = {node.operation for node in source._outbound_nodes}
    return source if readers == {layer} and getattr(source, "activity_regularizer", None) is None else None


_ACTIVATION_METHODS = {cls: StockMethods(cls, unused=["call"]) for cls in (keras.layers.Activation, keras.layers.ReLU)}


def _activation(layer: Any) -> str | None:
    """The kernels' name of what a layer does, if it does nothing but activate."""
    methods = _ACTIVATION_METHODS.get(type(layer))
    if methods is None or methods.replaced(layer):
        return None
    if isinstance(layer, keras.layers.Activation):
        return native_name(layer.activation)
    if layer.max_value or layer.negative_slope or layer.threshold:
        return None
    return native_name(keras.activations.relu)

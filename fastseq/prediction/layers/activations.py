"""Activations: the functions of keras.activations, and the layers that are activations."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
from keras import activations

from fastseq.keras.activations import describe, native_name
from fastseq.prediction.calls import Call, invoke, layer_rule
from fastseq.prediction.tensors import Refused, Tensor

__all__ = ["activated", "split_activation"]

# Functions of keras.activations by their names, which some versions of Keras do not have, and their parameters there.
_FUNCTIONS: dict[str, tuple[str, dict[str, float]]] = {
    "elu": ("elu", {"alpha": 1.0}),
    "exponential": ("exponential", {}),
    "gelu": ("gelu", {}),
    "hard_silu": ("hard_silu", {}),
    "leaky_relu": ("leaky_relu", {"alpha": 0.2}),
    "log_sigmoid": ("log_sigmoid", {}),
    "mish": ("mish", {}),
    "relu6": ("relu6", {}),
    "selu": ("selu", {}),
    "silu": ("silu", {}),
    "softplus": ("softplus", {}),
    "softsign": ("softsign", {}),
    "tanh_shrink": ("tanh_shrink", {}),
}
_BY_FUNCTION = {getattr(activations, name): what for name, what in _FUNCTIONS.items() if hasattr(activations, name)}
_SOFTMAX = {
    getattr(activations, name): log
    for name, log in (("softmax", False), ("log_softmax", True))
    if hasattr(activations, name)
}


def split_activation(activation: Any) -> tuple[str, Any]:
    """The kernels' name of an activation and None, or "linear" and the activation that is to follow."""
    name = "linear" if activation is None else native_name(activation)
    return ("linear", activation) if name is None else (name, None)


def activated(call: Call, x: Tensor, activation: Any) -> Tensor:
    """An activation of a tensor. None is linear."""
    name, other = split_activation(activation)
    operations = call.operations
    if other is None:
        return x if name == "linear" else operations.activate(x, name)
    if isinstance(other, keras.layers.Layer):
        outputs = invoke(other, operations, [x], {}, training=call.training)
        assert isinstance(outputs, Tensor)
        return outputs
    try:
        if other in _SOFTMAX:
            return operations.softmax(x, log=_SOFTMAX[other])
        function, parameters = _BY_FUNCTION[other]
    except (KeyError, TypeError):  # TypeError: not hashable
        raise Refused(f"there is no operation for its activation, {describe(other)}") from None
    return operations.activate(x, function, **parameters)


@layer_rule(keras.layers.Activation)
def _activation(call: Call) -> Tensor:
    return activated(call, call.x, call.layer.activation)


@layer_rule(keras.layers.ReLU)
def _relu(call: Call) -> Tensor:
    slope, top, threshold = (getattr(call.layer, name) for name in ("negative_slope", "max_value", "threshold"))
    if top is None and not threshold:
        if not slope:
            return call.operations.activate(call.x, "relu")
        return call.operations.activate(call.x, "leaky_relu", alpha=slope)
    top = math.inf if top is None else top
    return call.operations.activate(call.x, "rectifier", alpha=slope, beta=top, gamma=threshold)


@layer_rule(keras.layers.LeakyReLU)
def _leaky_relu(call: Call) -> Tensor:
    return call.operations.activate(call.x, "leaky_relu", alpha=call.layer.negative_slope)


@layer_rule(keras.layers.ELU)
def _elu(call: Call) -> Tensor:
    return call.operations.activate(call.x, "elu", alpha=call.layer.alpha)


@layer_rule(keras.layers.PReLU)
def _prelu(call: Call) -> Tensor:
    operations, alpha = call.operations, call.operations.weight(call.layer.alpha)
    positive = operations.activate(call.x, "relu")
    negated = operations.combine("multiply", call.x, operations.constant([-1.0]))
    negative = operations.combine("multiply", operations.activate(negated, "relu"), alpha)
    return operations.combine("subtract", positive, negative)


@layer_rule(keras.layers.Softmax)
def _softmax(call: Call) -> Tensor:
    axes = call.layer.axis if isinstance(call.layer.axis, (list, tuple)) else [call.layer.axis]
    if len(axes) != 1:
        raise Refused(f"axis must be one axis, got {call.layer.axis}")
    x, operations = call.x, call.operations
    axis = axes[0] % x.rank
    if axis == 0:
        raise Refused("axis must not be that of the batch")
    if call.mask is None:
        if axis == x.rank - 1:
            return operations.softmax(x)
        swapped = list(range(x.rank))
        swapped[axis], swapped[-1] = swapped[-1], swapped[axis]
        return operations.transpose(operations.softmax(operations.transpose(x, swapped)), swapped)
    if axis != x.rank - 1 or x.rank != 2 or call.mask.rank != 2 or call.mask.kind != "bools":
        raise Refused(f"with a mask, its inputs must be (batch, timesteps) like the mask, got {x.shape}")
    weights = operations.softmax(x, call.mask)
    return operations.keep(weights, call.mask) if _zero_where_all_is_masked() else weights


@functools.cache
def _zero_where_all_is_masked() -> bool:
    """Whether the softmax of a row without a step that counts is zero, as in newer versions of Keras, not uniform."""
    layer = keras.layers.Softmax(name="fastseq_masked")
    weights = layer(keras.ops.zeros((1, 2)), mask=keras.ops.zeros((1, 2), "bool"))
    return not keras.ops.convert_to_numpy(weights).any()

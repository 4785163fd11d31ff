"""Dense and Conv1D, whose operations also compute the bias and some activations."""

from __future__ import annotations

import keras

from fastseq.autodiff.operations import output_timesteps
from fastseq.keras.conv1d import FastConv1DMaxPooling1D
from fastseq.prediction.calls import Call, layer_rule, number
from fastseq.prediction.graph import Option
from fastseq.prediction.layers.activations import activated, split_activation
from fastseq.prediction.layers.pooling import max_pool, propagates_nan, window
from fastseq.prediction.layers.shapes import check_channels_last
from fastseq.prediction.tensors import Refused, Tensor

_PADDINGS = ("valid", "same", "causal")


@layer_rule(keras.layers.Dense)
def _dense(call: Call) -> Tensor:
    layer, operations = call.layer, call.operations
    bias = None if layer.bias is None else operations.weight(layer.bias)
    name, other = split_activation(layer.activation)
    return activated(call, operations.dense(call.x, operations.weight(layer.kernel), bias, name), other)


def _convolved(call: Call, activation: str, **pooling: Option) -> Tensor:
    """What the convolution of a layer computes, with an activation of the kernels, and with a pooling."""
    layer, operations, x = call.layer, call.operations, call.x
    check_channels_last(layer)
    if x.rank != 3:
        raise Refused(f"its inputs must have 3 dimensions, got {x.rank}")
    if layer.padding not in _PADDINGS:
        raise Refused(f"padding must be one of {', '.join(_PADDINGS)}, got {layer.padding!r}")
    kernel = operations.weight(layer.kernel)
    strides, dilation = number(layer.strides), number(layer.dilation_rate)
    steps = x.shape[1]
    if steps is not None:
        steps = max(0, output_timesteps(steps, number(layer.kernel_size), strides, layer.padding, dilation))
    inputs = {
        "x": operations.floats(x),
        "kernel": kernel.value,
        "bias": operations.weight(layer.bias).value if layer.use_bias else None,
    }
    options: dict[str, Option] = {
        "activation": activation,
        "padding": layer.padding,
        "strides": strides,
        "dilation_rate": dilation,
        "groups": int(layer.groups),
        "pool_size": 0,
        **pooling,
    }
    return operations.layer("conv1d_predict", (x.shape[0], steps, kernel.shape[2]), inputs, options)


@layer_rule(keras.layers.Conv1D, methods=["convolution_op", "_compute_causal_padding"])
def _conv1d(call: Call) -> Tensor:
    name, other = split_activation(keras.activations.get(call.layer.activation))
    return activated(call, _convolved(call, name), other)


@layer_rule(FastConv1DMaxPooling1D, methods=["convolution_op", "_compute_causal_padding"])
def _conv1d_max_pooling(call: Call) -> Tensor:
    pooling = call.layer._pooling
    if "call" in vars(pooling):
        raise Refused("the call of its pooling has been replaced")
    name, other = split_activation(keras.activations.get(call.layer.activation))
    if other is not None:
        return max_pool(call, pooling, activated(call, _convolved(call, name), other))
    size, strides = number(pooling.pool_size), number(pooling.strides)
    options = {"pool_size": size, "pool_strides": strides, "pool_padding": pooling.padding.lower()}
    outputs = _convolved(call, name, **options, pool_propagate_nan=propagates_nan())
    _, shape = window(pooling, outputs)
    return Tensor(outputs.value, shape)

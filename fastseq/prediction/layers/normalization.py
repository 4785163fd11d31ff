"""Normalizations, and layers that scale. In prediction, all of them are arithmetic with constants but two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fastseq.prediction.calls import Call, layer_rule
from fastseq.prediction.tensors import Refused, Tensor


def _array(values: Any) -> NDArray[np.float64]:
    return np.asarray(keras.ops.convert_to_numpy(values), np.float64)


def _constant(call: Call, array: NDArray[np.float64]) -> Tensor:
    """A constant that broadcasts to the inputs and is the same for every row."""
    if array.ndim > call.x.rank or (array.ndim == call.x.rank and array.shape[0] != 1):
        raise Refused(f"its constants must be the same for every row of the batch, got the shape {array.shape}")
    return call.operations.constant(array)


def _scaled(call: Call, scale: NDArray[np.float64], offset: NDArray[np.float64] | None) -> Tensor:
    """The inputs times a constant plus a constant."""
    operations = call.operations
    outputs = operations.combine("multiply", call.x, _constant(call, scale))
    return outputs if offset is None else operations.combine("add", outputs, _constant(call, offset))


def _has_batch_statistics(layer: Any) -> bool:
    return bool(layer.trainable)


@layer_rule(keras.layers.BatchNormalization, random=_has_batch_statistics)
def _batch_normalization(call: Call) -> Tensor:
    layer = call.layer
    if getattr(layer, "renorm", False):
        raise Refused("renorm must be False, got True")
    scale = 1 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * _array(layer.gamma)
    offset = -_array(layer.moving_mean) * scale
    if layer.center:
        offset = offset + _array(layer.beta)
    axis = layer.axis % call.x.rank
    if axis == 0:
        raise Refused("axis must not be that of the batch")
    shape = [-1, *(1 for _ in range(axis + 1, call.x.rank))]
    return _scaled(call, scale.reshape(shape), offset.reshape(shape))


def _normalized(call: Call, gamma: Any, beta: Any, *, rms: bool) -> Tensor:
    x, operations = call.x, call.operations
    axis = call.layer.axis
    axes = [one % x.rank for one in (axis if isinstance(axis, Sequence) else [axis])]
    if axes != list(range(x.rank - len(axes), x.rank)) or 0 in axes:
        raise Refused(f"axis must be the last axes, without that of the batch, got {axis}")
    inputs = {
        "x": operations.floats(x),
        "gamma": None if gamma is None else operations.weight(gamma).value,
        "beta": None if beta is None else operations.weight(beta).value,
    }
    options = {"axes": len(axes), "epsilon": float(call.layer.epsilon), "rms": rms}
    return operations.layer("layer_normalization", x.shape, inputs, {**options})


@layer_rule(keras.layers.LayerNormalization)
def _layer_normalization(call: Call) -> Tensor:
    if getattr(call.layer, "rms_scaling", False):
        raise Refused("rms_scaling must be False, got True; RMSNormalization is supported")
    return _normalized(call, call.layer.gamma, call.layer.beta, rms=False)


@layer_rule(getattr(keras.layers, "RMSNormalization", None))
def _rms_normalization(call: Call) -> Tensor:
    return _normalized(call, call.layer.scale, None, rms=True)


@layer_rule(keras.layers.Rescaling)
def _rescaling(call: Call) -> Tensor:
    scale, offset = (np.atleast_1d(_array(one)) for one in (call.layer.scale, call.layer.offset))
    if keras.config.image_data_format() == "channels_first" and scale.size > 1:
        raise Refused("scale must be a number with channels first")
    return _scaled(call, scale, offset if offset.any() else None)


@layer_rule(keras.layers.Normalization)
def _normalization(call: Call) -> Tensor:
    layer, operations = call.layer, call.operations
    mean = _constant(call, np.atleast_1d(_array(layer.mean)))
    deviations = np.maximum(np.sqrt(np.atleast_1d(_array(layer.variance))), keras.config.epsilon())
    deviation = _constant(call, deviations)
    if layer.invert:
        return operations.combine("add", mean, operations.combine("multiply", call.x, deviation))
    return operations.combine("divide", operations.combine("subtract", call.x, mean), deviation)

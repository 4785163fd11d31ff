"""Layers that move elements."""

from __future__ import annotations

import math
from typing import Any

import keras

from fastseq.prediction.calls import Call, layer_rule
from fastseq.prediction.tensors import Refused, Tensor


def check_channels_last(layer: Any) -> None:
    """Refuses a layer with channels first."""
    data_format = getattr(layer, "data_format", "channels_last")  # not all versions of Keras have it in all layers
    if data_format != "channels_last":
        raise Refused(f"data_format must be 'channels_last', got {data_format!r}")


@layer_rule(keras.layers.Flatten)
def _flatten(call: Call) -> Tensor:
    if call.x.rank > 2:
        check_channels_last(call.layer)
    sizes = call.x.shape[1:]
    known = [size for size in sizes if size is not None]
    size = math.prod(known) if len(known) == len(sizes) else -1
    return call.operations.reshape(call.x, keep=1, shape=[size])


@layer_rule(keras.layers.Reshape)
def _reshape(call: Call) -> Tensor:
    return call.operations.reshape(call.x, keep=1, shape=[int(size) for size in call.layer.target_shape])


@layer_rule(keras.layers.Permute)
def _permute(call: Call) -> Tensor:
    return call.operations.transpose(call.x, [0, *call.layer.dims])


@layer_rule(keras.layers.RepeatVector)
def _repeat_vector(call: Call) -> Tensor:
    row = call.operations.reshape(call.x, keep=1, shape=[1], tail=1)
    return call.operations.repeat(row, 1, call.layer.n)


@layer_rule(keras.layers.UpSampling1D)
def _up_sampling(call: Call) -> Tensor:
    return call.operations.repeat(call.x, 1, int(call.layer.size))


@layer_rule(keras.layers.ZeroPadding1D)
def _zero_padding(call: Call) -> Tensor:
    check_channels_last(call.layer)
    before, after = call.layer.padding
    return call.operations.pad(call.x, 1, int(before), int(after))


@layer_rule(keras.layers.Cropping1D)
def _cropping(call: Call) -> Tensor:
    before, after = call.layer.cropping
    return call.operations.cropped(call.x, 1, int(before), int(after))

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


def _without_mask(call: Call, outputs: Tensor) -> Tensor:
    """The outputs of a layer that destroys masks.

    On JAX, a reshape that changes nothing gives the array itself, to which Keras has attached the mask.
    """
    masked = keras.backend.backend() == "jax" and call.x.mask is not None
    shapes = zip(call.x.shape, outputs.shape, strict=False)
    if masked and call.x.rank == outputs.rank and all(a == b or None in (a, b) for a, b in shapes):
        raise Refused("it must change its inputs where they have a mask: on JAX, Keras keeps the mask if it does not")
    return outputs


@layer_rule(keras.layers.Flatten)
def _flatten(call: Call) -> Tensor:
    if call.x.rank > 2:
        check_channels_last(call.layer)
    sizes = call.x.shape[1:]
    known = [size for size in sizes if size is not None]
    size = math.prod(known) if len(known) == len(sizes) else -1
    return _without_mask(call, call.operations.reshape(call.x, keep=1, shape=[size]))


@layer_rule(keras.layers.Reshape)
def _reshape(call: Call) -> Tensor:
    return _without_mask(
        call, call.operations.reshape(call.x, keep=1, shape=[int(size) for size in call.layer.target_shape])
    )


@layer_rule(keras.layers.Permute)
def _permute(call: Call) -> Tensor:
    return _without_mask(call, call.operations.transpose(call.x, [0, *call.layer.dims]))


@layer_rule(keras.layers.RepeatVector)
def _repeat_vector(call: Call) -> Tensor:
    row = call.operations.reshape(call.x, keep=1, shape=[1], tail=1)
    return call.operations.repeat(row, 1, call.layer.n)


@layer_rule(keras.layers.UpSampling1D)
def _up_sampling(call: Call) -> Tensor:
    return _without_mask(call, call.operations.repeat(call.x, 1, int(call.layer.size)))


@layer_rule(keras.layers.ZeroPadding1D)
def _zero_padding(call: Call) -> Tensor:
    check_channels_last(call.layer)
    before, after = call.layer.padding
    return _without_mask(call, call.operations.pad(call.x, 1, int(before), int(after)))


@layer_rule(keras.layers.Cropping1D)
def _cropping(call: Call) -> Tensor:
    before, after = call.layer.cropping
    return _without_mask(call, call.operations.cropped(call.x, 1, int(before), int(after)))

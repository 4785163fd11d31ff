"""Pooling layers."""

from __future__ import annotations

import keras

from fastseq.autodiff.operations import output_timesteps
from fastseq.prediction.calls import Call, layer_rule, number, the_mask
from fastseq.prediction.graph import Option
from fastseq.prediction.layers.shapes import check_channels_last
from fastseq.prediction.tensors import Refused, Shape, Tensor


def propagates_nan() -> bool:
    """Whether Keras's max pooling of a window with NaN is NaN."""
    return bool(keras.backend.backend() != "tensorflow")


def window(layer: keras.layers.MaxPooling1D, x: Tensor) -> tuple[dict[str, Option], Shape]:
    """The options of a pooling layer, and the shape of its outputs."""
    check_channels_last(layer)
    if x.rank != 3:
        raise Refused(f"its inputs must have 3 dimensions, got {x.rank}")
    size, strides, padding = number(layer.pool_size), number(layer.strides), layer.padding.lower()
    if strides < 1:
        raise Refused(f"strides must be at least 1, got {strides}")
    steps = None if x.shape[1] is None else max(0, output_timesteps(x.shape[1], size, strides, padding, 1))
    return {"pool_size": size, "strides": strides, "padding": padding}, (x.shape[0], steps, x.shape[2])


def max_pool(call: Call, layer: keras.layers.MaxPooling1D, x: Tensor) -> Tensor:
    """The max pooling that a layer computes."""
    options, shape = window(layer, x)
    options |= {"propagate_nan": propagates_nan(), "save_argmax": False}
    return call.operations.layer("max_pool_forward", shape, {"x": call.operations.floats(x)}, options)


@layer_rule(keras.layers.MaxPooling1D)
def _max_pooling(call: Call) -> Tensor:
    return max_pool(call, call.layer, call.x)


@layer_rule(keras.layers.AveragePooling1D)
def _average_pooling(call: Call) -> Tensor:
    options, shape = window(call.layer, call.x)
    if keras.backend.backend() == "torch" and options["padding"] == "same" and not _pads_evenly(call.x, options):
        raise Refused("padding='same' with more padding on one side counts copies of the ends on the torch backend")
    return call.operations.layer("average_pool_forward", shape, {"x": call.operations.floats(call.x)}, options)


def _pads_evenly(x: Tensor, options: dict[str, Option]) -> bool:
    timesteps, size, strides = x.shape[1], options["pool_size"], options["strides"]
    assert isinstance(size, int)
    assert isinstance(strides, int)
    if timesteps is None:
        return size == 1
    return max(0, (-(-timesteps // strides) - 1) * strides + size - timesteps) % 2 == 0


def _global(call: Call, how: str, mask: Tensor | None = None) -> Tensor:
    check_channels_last(call.layer)
    outputs = call.operations.reduce(call.x, how, 1, mask)
    return call.operations.reshape(outputs, keep=1, shape=[1], tail=1) if call.layer.keepdims else outputs


@layer_rule(keras.layers.GlobalMaxPooling1D)
def _global_max(call: Call) -> Tensor:
    return _global(call, "max")


@layer_rule(keras.layers.GlobalAveragePooling1D, compute_mask=lambda call: None)
def _global_average(call: Call) -> Tensor:
    return _global(call, "mean", the_mask(call))

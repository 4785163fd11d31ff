"""Layers that merge several inputs."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import keras

from fastseq.prediction.calls import Call, layer_rule
from fastseq.prediction.tensors import Operations, Refused, Tensor


def _merged_mask(call: Call) -> Tensor | None:
    """A step counts where it counts in any input; None, which stands for "everywhere", if an input has no mask."""
    masks = call.previous_mask
    if not isinstance(masks, (list, tuple)) or any(mask is None for mask in masks):
        return None
    return _either(call.operations, masks)


def _either(operations: Operations, masks: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operations.either, masks)


def _of_one_rank(call: Call) -> list[Tensor]:
    """The inputs, with sizes of 1 after the batch where they have fewer dimensions. These lose their masks."""
    rank = max(x.rank for x in call.xs)
    return [
        x if x.rank == rank else call.operations.reshape(x, keep=1, shape=[1] * (rank - x.rank), tail=x.rank - 1)
        for x in call.xs
    ]


def _reduced(call: Call, how: str) -> Tensor:
    return functools.reduce(lambda a, b: call.operations.combine(how, a, b), _of_one_rank(call))


_MERGE = keras.layers.Add  # all have its methods, which differ between versions of Keras
_METHODS = ("_merge_function", *(["_apply_merge_op_and_or_mask"] * hasattr(_MERGE, "_apply_merge_op_and_or_mask")))


@layer_rule(keras.layers.Add, methods=_METHODS, compute_mask=_merged_mask)
def _add(call: Call) -> Tensor:
    return _reduced(call, "add")


@layer_rule(keras.layers.Subtract, methods=_METHODS, compute_mask=_merged_mask)
def _subtract(call: Call) -> Tensor:
    return _reduced(call, "subtract")


@layer_rule(keras.layers.Average, methods=_METHODS, compute_mask=_merged_mask)
def _average(call: Call) -> Tensor:
    count = call.operations.constant([float(len(call.xs))])
    return call.operations.combine("divide", _reduced(call, "add"), count)


@layer_rule(keras.layers.Multiply, methods=_METHODS, compute_mask=_merged_mask)
def _multiply(call: Call) -> Tensor:
    operations, inputs = call.operations, _of_one_rank(call)
    # Masked steps are factors of 1, and 0 where they are masked in all inputs.
    outputs = functools.reduce(
        lambda a, b: operations.combine("multiply", a, b), [_one_where_masked(operations, x) for x in inputs]
    )
    masks = [x.mask for x in inputs if x.mask is not None]
    if len(masks) == len(inputs):
        return operations.keep(outputs, _either(operations, masks))
    return outputs


def _one_where_masked(operations: Operations, x: Tensor) -> Tensor:
    if x.mask is None:
        return x
    kept, one = operations.keep(x, x.mask), operations.constant([1.0])
    ones = operations.combine("minimum", operations.combine("maximum", kept, one), one)
    return operations.chosen(x.mask, kept, ones)


@layer_rule(keras.layers.Maximum, methods=_METHODS, compute_mask=_merged_mask)
def _maximum(call: Call) -> Tensor:
    return _extreme(call, "maximum")


@layer_rule(keras.layers.Minimum, methods=_METHODS, compute_mask=_merged_mask)
def _minimum(call: Call) -> Tensor:
    return _extreme(call, "minimum")


def _extreme(call: Call, how: str) -> Tensor:
    """The extreme of the inputs whose step is not masked, as Keras's `_apply_merge_op_and_or_mask` computes it."""
    operations, (outputs, *inputs) = call.operations, _of_one_rank(call)
    ignores_masks = not hasattr(call.layer, "_apply_merge_op_and_or_mask")  # in older versions of Keras
    mask = None if ignores_masks else outputs.mask
    for x in inputs:
        mask_of_x = None if ignores_masks else x.mask
        if mask_of_x is not None:
            x = operations.chosen(mask_of_x, x, outputs)
        if mask is not None:
            outputs = operations.chosen(mask, outputs, x)
        mask = operations.either(mask, mask_of_x) if mask is not None and mask_of_x is not None else None
        outputs = operations.combine(how, outputs, x)
    return outputs


def _axis(call: Call) -> int:
    axis: int = call.layer.axis % call.xs[0].rank
    if axis == 0:
        raise Refused("axis must not be that of the batch")
    return axis


def _concatenated_mask(call: Call) -> Tensor | None:
    masks, xs, operations = call.previous_mask, call.xs, call.operations
    if not isinstance(masks, (list, tuple)) or all(mask is None for mask in masks):
        return None
    if any(mask is not None and mask.rank != x.rank - 1 for mask, x in zip(masks, xs, strict=True)):
        raise Refused("masks must have one dimension less than the inputs")
    axis = _axis(call)
    if axis == xs[0].rank - 1:  # a step counts if any feature does
        return _merged_mask(call)
    everywhere = [
        # No number equals NaN, so this mask is true.
        operations.unequal(x, math.nan, any_last=True) if mask is None else mask
        for mask, x in zip(masks, xs, strict=True)
    ]
    return functools.reduce(lambda a, b: operations.concatenate(a, b, axis), everywhere)


@layer_rule(keras.layers.Concatenate, methods=_METHODS, compute_mask=_concatenated_mask)
def _concatenate(call: Call) -> Tensor:
    axis = _axis(call)
    return functools.reduce(lambda a, b: call.operations.concatenate(a, b, axis), call.xs)


@layer_rule(keras.layers.Dot, methods=_METHODS, compute_mask=lambda call: None)
def _dot(call: Call) -> Tensor:
    operations, layer = call.operations, call.layer
    if layer.normalize:
        raise Refused("normalize must be False, got True")
    a, b = call.xs
    if not {a.rank, b.rank} <= {2, 3}:
        raise Refused(f"its inputs must have 2 or 3 dimensions, got {a.rank} and {b.rank}")
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else layer.axes
    axis_a, axis_b = axes[0] % a.rank, axes[1] % b.rank
    if 0 in (axis_a, axis_b):
        raise Refused("axes must not be that of the batch")
    if a.rank == 2:
        rows = operations.reshape(a, keep=1, shape=[1], tail=1)
    else:
        rows = operations.transpose(a, [0, 2, 1]) if axis_a == 1 else a
    if b.rank == 2:  # a row that is transposed
        product = operations.batch_product(rows, operations.reshape(b, keep=1, shape=[1], tail=1), transpose_b=True)
    else:
        product = operations.batch_product(rows, b, transpose_b=axis_b == 2)
    if a.rank == 2:
        return operations.reshape(product, keep=1, tail=1)
    return operations.reshape(product, keep=2) if b.rank == 2 else product

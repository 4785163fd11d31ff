"""Embedding, and Masking, which makes a mask as well."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.prediction.calls import Call, layer_rule
from fastseq.prediction.tensors import Refused, Tensor


def _embedding_mask(call: Call) -> Tensor | None:
    return call.operations.unequal(call.x, 0) if call.layer.mask_zero else None


@layer_rule(keras.layers.Embedding, compute_mask=_embedding_mask)
def _embedding(call: Call) -> Tensor:
    ids, table = call.x, call.operations.weight(call.layer.embeddings)
    inputs: dict[str, int | None] = {"ids": call.operations.read(ids, "integers"), "embeddings": table.value}
    return call.operations.layer("embedding_forward", (*ids.shape, table.shape[1]), inputs)


@layer_rule(keras.layers.Masking, compute_mask=lambda call: None)  # the rule attaches the mask
def _masking(call: Call) -> Tensor:
    value: Any = keras.ops.convert_to_numpy(call.layer.mask_value)
    if value.ndim:
        raise Refused(f"mask_value must be a number, got an array of the shape {value.shape}")
    if call.x.rank != 3:
        raise Refused(f"its inputs must have 3 dimensions, got {call.x.rank}")
    call.operations.floats(call.x)
    mask = call.operations.unequal(call.x, float(value), any_last=True)
    return call.operations.keep(call.x, mask).with_mask(mask)

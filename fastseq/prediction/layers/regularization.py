"""Layers that do something in training only."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.prediction.calls import Call, layer_rule


def _drops(layer: Any) -> bool:
    return bool(layer.rate)


@layer_rule(
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    random=_drops,
)
def _dropout(call: Call) -> Any:
    return call.x


@layer_rule(keras.layers.GaussianNoise, random=lambda layer: bool(layer.stddev))
def _noise(call: Call) -> Any:
    return call.x


@layer_rule(keras.layers.ActivityRegularization, keras.layers.Identity)
def _identity(call: Call) -> Any:
    return call.first

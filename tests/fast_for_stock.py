"""A pytest plugin that puts the fast layers in the place of the stock ones, for Keras's own tests."""

from __future__ import annotations

import importlib

import keras

from fastseq.keras.twins import FAST_LAYERS

for _module in (keras.layers, importlib.import_module("keras.src.layers")):
    for _stock, _fast in FAST_LAYERS.items():
        setattr(_module, _stock.__name__, _fast)

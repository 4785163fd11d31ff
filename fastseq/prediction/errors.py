"""The error of models that cannot be turned into a graph of operations."""

from __future__ import annotations


class UnsupportedLayerError(ValueError):
    """A model has a layer, or an option of a layer, that there are no operations for. The message names the layer."""

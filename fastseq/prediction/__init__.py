"""Prediction without a framework: a Keras model becomes a graph of the core's operations.

`lowering` makes a graph from a model, `file` writes and reads it, `optimization` joins operations. Only `lowering`
needs Keras.
"""

from __future__ import annotations

from fastseq.prediction.errors import UnsupportedLayerError
from fastseq.prediction.file import read_graph, write_graph
from fastseq.prediction.graph import Graph, GraphBuilder

__all__ = ["Graph", "GraphBuilder", "UnsupportedLayerError", "read_graph", "write_graph"]

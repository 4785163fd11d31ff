"""Detects exports of a TensorFlow model, and checks that only intended exports contain fastseq's operations.

TensorFlow tells whether `tf.saved_model.save` is under way. Other exporters trace a model first and write it later, so
they are found on the call stack during tracing.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import tensorflow as tf
from tensorflow.python.saved_model import save, save_context

from fastseq.keras.exporting import exporter_among_callers, exports_native

__all__ = ["check_saved_functions", "export_format", "keep_in_export"]

_KEPT = "fastseq_kept"


def export_format() -> str | None:
    """See `fastseq.keras.backend.Exporting`."""
    if tf.executing_eagerly() or exports_native():
        return None
    return exporter_among_callers() or ("SavedModel" if save_context.in_save_context() else None)


def keep_in_export() -> None:
    """See `fastseq.keras.backend.Exporting`."""
    tf.no_op(name=_KEPT)


def check_saved_functions() -> None:
    """Makes TensorFlow refuse to save functions that were traced with fastseq's operations before the save.

    TensorFlow traces a `tf.function` anew when it saves it, but not a concrete function, and it has no hook to check
    these. So this function wraps the function of TensorFlow that builds the graph for all ways to save. At that point
    nothing has been written.
    """
    build = getattr(save, "_build_meta_graph", None)
    if build is None:
        return

    @functools.wraps(build)
    def build_and_check(*args: Any, **kwargs: Any) -> Any:
        built = build(*args, **kwargs)
        if not exports_native():
            _check(built[0].graph_def.library.function)
        return built

    save._build_meta_graph = build_and_check


def _check(functions: Any) -> None:
    for function in functions:
        native = any(node.op.startswith("Fastseq") for node in function.node_def)
        if native and not any(node.name.rpartition("/")[2].startswith(_KEPT) for node in function.node_def):
            name = re.sub(r"^__(?:inference|forward)_(.*)_\d+$", r"\1", function.signature.name)
            raise ValueError(
                f"function '{name}' was traced before it is saved, with fastseq's operations, and would load only in a "
                "process that has imported fastseq.keras. To save it without them, trace it anew after "
                "fastseq.keras.to_stock(model), or save a tf.function that has not been called yet. To keep them, save "
                "it inside `with fastseq.keras.export_native():`"
            )

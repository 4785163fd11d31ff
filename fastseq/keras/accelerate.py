"""`accelerate` makes the layers of an existing model fast, in place; `to_stock` makes them stock again.

A fast layer is its stock layer with other methods: it has the same variables and attributes, and a few more attributes
that have defaults. So a layer is replaced by giving the object the other class. References to the layer stay valid,
whether a wrapper, another model, an optimizer or the user holds them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras

from fastseq.acceleration_report import AccelerationReport, ReportRow
from fastseq.keras import backend
from fastseq.keras.activations import describe
from fastseq.keras.fusion import convolution_before
from fastseq.keras.native import NativeChoice
from fastseq.keras.pooling import FastMaxPooling1D
from fastseq.keras.replacements import FAST_LAYERS, FAST_OPTIMIZERS, PATCH_CLASSES, Classes, change_class, selected

__all__ = ["accelerate", "to_stock"]

_FAST = FAST_LAYERS | FAST_OPTIMIZERS
_STOCK = {fast: stock for table in (_FAST, PATCH_CLASSES) for stock, fast in table.items()}


def accelerate(
    model: Any,
    *,
    only: Classes | None = None,
    exclude: Classes = (),
    optimizer: bool = True,
    verbose: bool = True,
    return_report: bool = False,
) -> Any:
    """Makes the layers of a model fast, in place.

    LSTM, GRU, SimpleRNN, RNN with one of their cells, Conv1D, MaxPooling1D, AveragePooling1D, Embedding, Dropout and
    SpatialDropout1D are replaced wherever they are: in wrappers such as Bidirectional, in models inside the model, in
    attributes of subclassed models and of custom layers. Adam is replaced, too. Everything else stays as it is: names,
    weights, the optimizer's state, the arguments of `compile`, seeds and the states of stateful layers. The same weight
    files can be loaded.

    Some layers stay stock, and the report says why: classes that `only` and `exclude` leave out; subclasses of the
    layers above; layers with settings that the kernels do not cover; on TensorFlow all layers, if the model is compiled
    with `jit_compile=True`. The cells of recurrent layers are not searched. Layers that a model makes when it is built
    are found only after that.

    Call it on the outermost model. If another model shares a layer, it shares the fast one. But functions that
    TensorFlow has traced already compute as before. A reference to a bound method that was taken before
    (`call = layer.call`) still runs stock Keras.

    An accelerated model differs in two things. On TensorFlow, XLA does not compile the model if it is compiled anew
    with `jit_compile=True`; Keras warns of that. And a file of the saved model opens only where `fastseq.keras` has
    been imported: for a file that opens anywhere, save the model that `to_stock` returns. Exports by `model.export`
    need no fastseq: see `export_native`.

    Args:
        model: A `keras.Model`, sequential, functional or subclassed, built or not, compiled or not.
        only: The stock classes to replace, or their names: `["LSTM", keras.layers.GRU]`. None for all of the above.
        exclude: The stock classes that stay stock, or their names. Layers that are fast already stay fast.
        optimizer: Whether Adam becomes FastAdam.
        verbose: Whether to print the report.
        return_report: Whether to return the report, too.

    Returns:
        The model, the same object; with `return_report`, a tuple of it and an `AccelerationReport`.

    Raises:
        TypeError: `model` is not a `keras.Model`; `only` or `exclude` is a single class or name instead of a list.
        ValueError: `only` or `exclude` has an entry that is not a stock class with a fast replacement, or both have the
            same class.

    >>> import keras
    >>> from fastseq.keras import accelerate
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((100,)),
    ...         keras.layers.Embedding(1000, 32, name="words"),
    ...         keras.layers.Bidirectional(keras.layers.LSTM(16, name="lstm", return_sequences=True), name="both"),
    ...         keras.layers.GRU(16, activation=None, recurrent_activation="softsign", name="gru"),
    ...         keras.layers.Dense(1),
    ...     ]
    ... )
    >>> model.compile("adam", "mse")
    >>> model = accelerate(model)  # doctest: +ELLIPSIS
    layer               was        is
    words               Embedding  FastEmbedding
    both/forward_lstm   LSTM       FastLSTM
    both/backward_lstm  LSTM       FastLSTM
    gru                 GRU        GRU            recurrent_activation must be one of ..., got ...softsign
    optimizer           Adam       FastAdam
    4 replaced, 1 left; fastseq has nothing for Dense
    """
    make_fast = functools.partial(_make_fast, classes=selected(only, exclude))
    return _convert(model, make_fast, optimizer=optimizer, verbose=verbose, return_report=return_report)


def to_stock(model: Any, *, optimizer: bool = True, verbose: bool = False, return_report: bool = False) -> Any:
    """Makes the fast layers of a model stock layers, in place: the inverse of `accelerate`.

    The model has the class, config and weights that it would have without fastseq, and a file that it is saved to opens
    without fastseq. The settings that only fast layers have, `use_native` and FastEmbedding's `dense_gradient`, are
    removed.

    FastAttention and FastConv1DMaxPooling1D stay, because Keras has no such layers. A reference to a bound method that
    was taken before (`call = layer.call`) still points to the fast layer's method: take it anew.

    Args:
        model: A `keras.Model`.
        optimizer: Whether FastAdam becomes Adam.
        verbose: Whether to print the report.
        return_report: Whether to return the report, too.

    Returns:
        The model, the same object; with `return_report`, a tuple of it and an `AccelerationReport`.

    Raises:
        TypeError: `model` is not a `keras.Model`.

    >>> import keras
    >>> from fastseq.keras import FastLSTM, to_stock
    >>> model = to_stock(keras.Sequential([keras.Input((10, 3)), FastLSTM(4)]))
    >>> type(model.layers[0]) is keras.layers.LSTM
    True
    """
    return _convert(model, _make_stock, optimizer=optimizer, verbose=verbose, return_report=return_report)


def _make_fast(part: Any, xla: bool, *, classes: frozenset[type]) -> str | None:
    """Makes a layer or an optimizer fast, if it can.

    Args:
        part: The layer or optimizer.
        xla: Whether XLA compiles the model.
        classes: The stock classes that the user wants replaced.

    Returns:
        Why it stays stock; "" if it has been made fast; None if fastseq has no replacement for it.
    """
    stock = type(part)
    if stock in _FAST:
        if stock not in classes:
            return "excluded"
        if xla and backend.is_supported() and not backend.load().supports_jit:
            return "jit_compile=True, and XLA compiles no custom operations"
        change_class(part, _FAST[stock])
        reason: str | None = part.reason_against()
        if reason:
            change_class(part, stock)
        return reason or ""
    if isinstance(part, NativeChoice):
        return "is fast already" if part.use_native else "has use_native=False"
    if not stock.__module__.startswith("keras."):  # a subclass that Keras itself defines is just another layer
        for base in _FAST:
            if isinstance(part, base):
                return f"is a subclass of keras's {base.__name__}, and may compute something else"
    return None


def _make_stock(part: Any, xla: bool) -> str | None:
    """Makes a layer or an optimizer stock, if it can: see `_make_fast`."""
    del xla
    fast = type(part)
    if fast in _STOCK:
        change_class(part, _STOCK[fast])
        for name in fast.own_settings:
            vars(part).pop(name, None)
        return ""
    if fast.__module__.startswith("fastseq."):
        return "Keras has no layer for it"
    if isinstance(part, NativeChoice):
        return "is a subclass of a fast one, and may compute something else"
    return None


def _convert(
    model: Any, change: Callable[[Any, bool], str | None], *, optimizer: bool, verbose: bool, return_report: bool
) -> Any:
    """Calls `change` with every layer and optimizer, and reports.

    Args:
        model: The model.
        change: A function of a layer or an optimizer, and of whether XLA compiles the model. It returns a note for the
            report, or None to leave the part out of the report.
        optimizer: As in `accelerate`.
        verbose: As in `accelerate`.
        return_report: As in `accelerate`.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model, got {describe(type(model))}")
    parts = list(_layers(model, "", {id(model)}))
    models = [("", model), *(pair for pair in parts if isinstance(pair[1], keras.Model))]
    if optimizer:
        parts += [pair for path, one in models for pair in _optimizers(one, path, set())]
    xla = any(one.compiled and one.jit_compile for _, one in models)
    before = [(path, part, _name(part), change(part, xla)) for path, part in parts]
    rows = [
        ReportRow(path, was, _name(part), note or _remark(part)) for path, part, was, note in before if note is not None
    ]
    others = {was for _, part, was, note in before if note is None and not _holds_layers(part)}
    report = AccelerationReport(tuple(rows), tuple(sorted(others)))
    if report.replaced:
        for _, one in models:  # the functions that Keras has traced call the layers as they were
            _trace_anew(one)
    if verbose:
        print(report)
    return (model, report) if return_report else model


def _trace_anew(model: Any) -> None:
    """Replaces a model's train, test and predict functions by new ones; `fit` may be using them."""
    for step in ("train", "test", "predict"):
        if getattr(model, f"{step}_function") is not None:
            getattr(model, f"make_{step}_function")(force=True)


def _layers(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yields the path and the layer for every layer inside a layer, each once."""
    for child in layer._flatten_layers(include_self=False, recursive=False):
        if id(child) not in seen:
            seen.add(id(child))
            inside = f"{path}{child.name}"
            yield inside, child
            if not isinstance(child, keras.layers.RNN):  # a kernel computes the whole cell
                yield from _layers(child, f"{inside}/", seen)


def _optimizers(model: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yields the path and the optimizer for every optimizer in the attributes of a model, each once."""
    for name, attribute in vars(model).items():
        # Containers in private attributes are Keras's own.
        holds_more = isinstance(attribute, (dict, list, tuple)) and not name.startswith("_")
        values = attribute.values() if isinstance(attribute, dict) else attribute
        for value in list(values) if holds_more else [attribute]:
            inside = f"{path}/{name}" if path else name
            while isinstance(value, keras.optimizers.Optimizer) and id(value) not in seen:
                seen.add(id(value))
                yield inside, value
                value, inside = getattr(value, "inner_optimizer", None), f"{inside}/inner_optimizer"


def _holds_layers(part: Any) -> bool:
    """Whether a part only holds other layers, such as a wrapper or a model; input layers count, too."""
    return isinstance(part, keras.layers.InputLayer) or bool(getattr(part, "_layers", None))


def _remark(part: Any) -> str:
    """The report's remark on a layer that has been replaced, or ""."""
    if type(part) is not FastMaxPooling1D or backend.lacks("traced_convolution"):
        return ""
    convolution = convolution_before(part)
    return f"in one pass with {convolution.name}" if convolution is not None else ""


def _name(part: Any) -> str:
    return type(part).__qualname__.rpartition(".")[2]

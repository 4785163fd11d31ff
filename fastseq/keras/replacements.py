"""Maps stock layers and optimizers to their fast replacements, and changes the class of an object."""

from __future__ import annotations

import copy
import copyreg
import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras.src import api_export

from fastseq.keras.activations import describe
from fastseq.keras.adam import FastAdam
from fastseq.keras.conv1d import FastConv1D
from fastseq.keras.dropout import FastDropout, FastSpatialDropout1D
from fastseq.keras.embedding import FastEmbedding
from fastseq.keras.gru import FastGRU
from fastseq.keras.lstm import FastLSTM
from fastseq.keras.native import PatchClass
from fastseq.keras.pooling import FastAveragePooling1D, FastMaxPooling1D
from fastseq.keras.rnn import FastRNN
from fastseq.keras.simple_rnn import FastSimpleRNN

__all__ = ["FAST_LAYERS", "FAST_OPTIMIZERS", "PATCH_CLASSES", "Classes", "change_class", "selected"]

# Stock classes, or their names.
Classes = Iterable[str | type]

# From a stock class to the fast class with the same arguments, weights and results.
FAST_LAYERS: dict[type, type] = {
    keras.layers.AveragePooling1D: FastAveragePooling1D,
    keras.layers.Conv1D: FastConv1D,
    keras.layers.Dropout: FastDropout,
    keras.layers.Embedding: FastEmbedding,
    keras.layers.GRU: FastGRU,
    keras.layers.LSTM: FastLSTM,
    keras.layers.MaxPooling1D: FastMaxPooling1D,
    keras.layers.RNN: FastRNN,
    keras.layers.SimpleRNN: FastSimpleRNN,
    keras.layers.SpatialDropout1D: FastSpatialDropout1D,
}
FAST_OPTIMIZERS: dict[type, type] = {keras.optimizers.Adam: FastAdam}


def selected(only: Classes | None, exclude: Classes) -> frozenset[type]:
    """The stock classes that a user wants to be replaced.

    Args:
        only: The stock classes to replace, or their names, such as `"LSTM"`. None for all with a fast replacement.
        exclude: The stock classes that stay stock, or their names.

    Raises:
        TypeError: An argument is a single class or name instead of a list.
        ValueError: An entry is not a stock class with a fast replacement, or is in both arguments.
    """
    wanted = frozenset(PATCH_CLASSES) if only is None else _stock_classes("only", only)
    unwanted = _stock_classes("exclude", exclude)
    both = sorted(stock.__name__ for stock in wanted & unwanted) if only is not None else []
    if both:
        raise ValueError(f"only and exclude must not both have {', '.join(both)}")
    return wanted - unwanted


def _stock_classes(argument: str, given: Classes) -> frozenset[type]:
    if isinstance(given, (str, type)):
        name = given if isinstance(given, str) else given.__name__
        raise TypeError(f"{argument} must be a list of classes or names, such as [{name!r}], got {describe(given)}")
    by_name = {stock.__name__: stock for stock in PATCH_CLASSES}
    classes = set()
    for one in given:
        stock = by_name.get(one) if isinstance(one, str) else one
        if not isinstance(stock, type) or stock not in PATCH_CLASSES:
            raise ValueError(f"{argument} must be among {', '.join(sorted(by_name))}, got {describe(one)}")
        classes.add(stock)
    return frozenset(classes)


def change_class(part: Any, cls: Any) -> None:
    """Changes the class of a layer or an optimizer from the stock class to the fast one, or back."""
    object.__setattr__(part, "__class__", cls)
    if isinstance(part, keras.layers.Layer):
        vars(part).update(copy.deepcopy(_notes_on_call(cls)))
        # In newer versions of Keras, a user can register further context arguments with an object.
        for name in vars(part).get("_call_context_args", ()):
            part._call_has_context_arg[name] = name in part.call_signature_parameters


@functools.cache
def _notes_on_call(layer_class: Any) -> dict[str, Any]:
    """The attributes in which a layer of this class keeps facts about its method `call`."""
    newborn = keras.layers.Layer.__new__(layer_class)  # no patch changes this `__new__`
    keras.layers.Layer.__init__(newborn, name="newborn")
    notes = {name: value for name, value in vars(newborn).items() if name.startswith(("_call_", "call_"))}
    notes.pop("_call_context_args", None)  # users register these with an object; they do not follow from the class
    return notes


def _patch_class(stock: type, fast: Any, module: str) -> Any:
    def get_config(self: Any) -> dict[str, Any]:
        """The stock config, without the settings that only fast layers have."""
        return {name: value for name, value in fast.get_config(self).items() if name not in fast.own_settings}

    def reduce(self: Any) -> tuple[Any, ...]:
        settings = {name: vars(self)[name] for name in fast.own_settings if name in vars(self)}
        return _read_patched, (stock, *fast.__reduce__(self)), settings

    def how_to_make_stock(self: Any) -> str:
        return (
            f"leave such {self._kind}s out: fastseq.keras.patch(exclude=['{stock.__name__}']), or fastseq --except "
            f"{stock.__name__} SCRIPT.py"
        )

    names = {"__module__": module, "__qualname__": fast.__qualname__, "__doc__": fast.__doc__}
    methods = {"get_config": get_config, "__reduce__": reduce, "_how_to_make_stock": how_to_make_stock}
    return PatchClass(stock.__name__, (fast,), {**names, **methods})


def _patch_class_for(stock: type) -> Any:
    return PATCH_CLASSES[stock]


def _reduce_class(cls: type) -> Any:
    """Pickles a class in `PATCH_CLASSES` by its stock class, and a subclass of it by its qualified name."""
    return (_patch_class_for, (_STOCK[cls],)) if cls in _STOCK else cls.__qualname__


def _read_patched(stock: type, read: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Unpickles an object that `patch` had constructed as a fast one, whether Keras is patched now or not."""
    made = read(*arguments)
    if type(made) is stock:
        change_class(made, PATCH_CLASSES[stock])
    return made


# From a stock class to a fast class that has the stock class's full name. Keras writes that name into files and
# configs, which can therefore be read without fastseq. A registered name such as `fastseq>FastLSTM` would identify the
# fast class only.
PATCH_CLASSES: dict[type, type] = {
    **{stock: _patch_class(stock, fast, "keras.layers") for stock, fast in FAST_LAYERS.items()},
    **{stock: _patch_class(stock, fast, "keras.optimizers") for stock, fast in FAST_OPTIMIZERS.items()},
}
_STOCK = {patch_class: stock for stock, patch_class in PATCH_CLASSES.items()}
# Keras recognizes its own classes by this table. It writes a `registered_name` for all other classes.
for _stock, _fast in PATCH_CLASSES.items():
    api_export.REGISTERED_OBJS_TO_NAMES[_fast] = api_export.get_name_from_symbol(_stock)
copyreg.pickle(PatchClass, _reduce_class)  # pickle cannot find these classes by their names

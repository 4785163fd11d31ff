"""Makes Keras's own names construct the fast replacements, so that a script is accelerated without an edit.

The stock classes stay where they are; what changes is what calling them constructs. So it does not matter how a class
is reached: `keras.layers.LSTM`, `tf.keras.layers.LSTM`, a name imported before or after, a string such as "adam", a
config or a file.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from fastseq import attention_package
from fastseq.keras import backend
from fastseq.keras.native import NativeFallbackWarning, frames_to_the_user
from fastseq.keras.replacements import FAST_LAYERS, PATCH_CLASSES, Classes, selected

__all__ = ["Patch", "patch", "unpatch"]


class Patch:
    """What `patch` returns: a context manager at whose end this patch is taken back."""

    def __init__(self, classes: frozenset[type]) -> None:
        self.classes = classes

    def __enter__(self) -> Patch:
        """Patches, unless this patch is in force already."""
        _replace_constructors(self.classes)
        _in_force.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Takes this patch back; Keras is stock again once no other is in force."""
        _in_force.discard(self)
        if not _in_force:
            _restore.close()


_in_force: set[Patch] = set()
_replaced: set[type] = set()
_restore = contextlib.ExitStack()


def _is_asked_for(stock: type) -> bool:
    """Whether a patch in force has this class."""
    return any(stock in one.classes for one in _in_force)


def patch(*, only: Classes | None = None, exclude: Classes = ()) -> Patch:
    """Makes calls of the stock classes construct their fast replacements, from now on or within a `with` block.

    `keras.layers.LSTM(8)` gives a `FastLSTM`, and likewise for all layers that have a fast replacement and for
    `keras.optimizers.Adam`. That holds for every name of these classes (`tf.keras.layers.LSTM`,
    `from keras.layers import LSTM` before or after the patch, `keras.layers.MaxPool1D`), for `compile("adam")`,
    `from_config`, `keras.layers.deserialize`, `clone_model` and `load_model`, and for what Keras itself constructs.

    What is constructed is saved under the stock name: `.keras` files and configs open in any process, with fastseq or
    without, and give fast layers where Keras is patched. They have no arguments that only fast layers take, such as
    `use_native`. A copy or pickle of a layer or an optimizer gives a fast one, patched or not; that of a model, or of a
    layer of Keras's with layers in it, is made from such a file. What `model.export` writes needs no fastseq either:
    it has the stock layers' operations, unless `export_native` asks for the fast ones. `isinstance` takes a fast layer
    for a stock one, as ever.

    `from attention import Attention` gives `FastAttention`, with a warning, whether that PyPI package is installed or
    not: it does not run on Keras 3. This holds whatever `only` and `exclude` say, and for imports from now on. A module
    `attention` of your own is left alone, and so is a version of the package other than 4 and 5.

    These stay stock: layers that exist already; subclasses, whose own methods may rely on how the stock ones work
    (`class Mine(keras.layers.LSTM)`, `keras.optimizers.AdamW`). `type(layer) is keras.layers.LSTM` is false of a fast
    layer.

    Patches nest: a class is patched as long as any patch in force asks for it, and Keras is stock again when all of
    them are taken back, but for what others have changed meanwhile. So `exclude` does not stop a patch around it. Not
    to be called while other threads construct layers.

    Args:
        only: The stock classes to patch, or their names: `["LSTM", keras.optimizers.Adam]`. None for all that have a
            fast replacement.
        exclude: The stock classes that stay stock, or their names.

    Returns:
        A context manager that takes the patch back at its end.

    Raises:
        TypeError: `only` or `exclude` is one class or name, and no list of them.
        ValueError: Something in them is no stock class that has a fast replacement, or is in both.

    Warns:
        NativeFallbackWarning: Keras runs on a backend that fastseq has no kernels for; all stays stock.
        UserWarning: Something has imported `Attention` from `attention`.

    >>> import keras
    >>> import fastseq.keras
    >>> with fastseq.keras.patch():
    ...     model = keras.Sequential([keras.Input((None, 8)), keras.layers.LSTM(16), keras.layers.Dense(1)])
    >>> model.layers
    [<FastLSTM name=lstm>, <Dense name=dense, built=True>]
    >>> keras.layers.LSTM(16)
    <LSTM name=lstm_1, built=False>
    """
    return Patch(selected(only, exclude)).__enter__()


def unpatch() -> None:
    """Takes all patches back: calls of the stock classes construct stock layers again.

    What was constructed before stays as it is. Without a patch, this does nothing.

    >>> import keras
    >>> import fastseq.keras
    >>> _ = fastseq.keras.patch()
    >>> fastseq.keras.unpatch()
    >>> type(keras.layers.LSTM(16)) is keras.layers.LSTM
    True
    """
    _in_force.clear()
    _restore.close()


def _replace_constructors(classes: frozenset[type]) -> None:
    attention_package.answer()  # on every backend: FastAttention is plain Keras
    _restore.callback(attention_package.stop)
    if not backend.is_supported():
        warnings.warn(
            f"fastseq.keras.patch() makes nothing fast: {backend.unavailable_because()}",
            NativeFallbackWarning,
            stacklevel=frames_to_the_user(),
        )
        return
    for stock in classes - _replaced:
        if stock in FAST_LAYERS:
            _replace(stock, "__new__", _new(stock, PATCH_CLASSES[stock]))
        else:
            _replace(stock, "__init__", _init(stock, PATCH_CLASSES[stock]))
        _replaced.add(stock)
        _restore.callback(_replaced.discard, stock)


def _replace(stock: type, name: str, ours: Callable[..., Any]) -> None:
    """Sets a class's attribute until `_restore` is closed, or until someone else sets another."""
    before = vars(stock).get(name)

    def restore() -> None:
        if vars(stock).get(name) is not ours:
            return  # what others have made of it since; ours, if they call it, does nothing without a patch
        if before is None:
            delattr(stock, name)
        else:
            setattr(stock, name, before)

    _restore.callback(restore)
    setattr(stock, name, ours)


def _new(stock: Any, patch_class: type) -> Callable[..., Any]:
    """A layer's `__new__`."""
    own = vars(stock).get("__new__")

    @functools.wraps(stock.__new__)
    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        original = super(stock, cls).__new__ if own is None else own.__get__(None, stock)
        return original(patch_class if cls is stock and _is_asked_for(stock) else cls, *args, **kwargs)

    # What `inspect.signature` says of the class.
    vars(new)["__signature__"] = inspect.signature(stock.__init__)
    return new


def _init(stock: Any, patch_class: Any) -> Callable[..., Any]:
    """An optimizer's `__init__`: a class that inherits its `__new__` from `object` cannot be rid of another one."""
    original = stock.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if type(self) is not stock or not _is_asked_for(stock):
            original(self, *args, **kwargs)
            return
        object.__setattr__(self, "__class__", patch_class)
        # What the fast one's __init__ does, but that begins at the class, where others may have wrapped this.
        use_native = kwargs.pop("use_native", patch_class.use_native)
        original(self, *args, **kwargs)
        self._set_use_native(use_native)

    return init

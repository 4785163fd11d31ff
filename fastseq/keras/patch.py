"""Makes Keras's own names construct the fast replacements, so that a script is accelerated without an edit.

The stock classes stay where they are, but calls of them construct objects of the fast classes. So it does not matter
how a class is reached: `keras.layers.LSTM`, `tf.keras.layers.LSTM`, a name imported before or after, a string such as
"adam", a config or a file.
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
    """The result of `patch`: a context manager that takes this patch back at its end."""

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
        """Takes this patch back; Keras is stock again once no other patch is in force."""
        _in_force.discard(self)
        if not _in_force:
            _restore.close()


_in_force: set[Patch] = set()
_replaced: set[type] = set()
_restore = contextlib.ExitStack()


def _is_asked_for(stock: type) -> bool:
    """Whether any patch in force replaces this class."""
    return any(stock in one.classes for one in _in_force)


def patch(*, only: Classes | None = None, exclude: Classes = ()) -> Patch:
    """Makes calls of the stock classes construct their fast replacements, from now on or within a `with` block.

    `keras.layers.LSTM(8)` gives a `FastLSTM`, and likewise for all layers that have a fast replacement and for
    `keras.optimizers.Adam`. That holds for every name of these classes (`tf.keras.layers.LSTM`,
    `from keras.layers import LSTM` before or after the patch, `keras.layers.MaxPool1D`), for `compile("adam")`,
    `from_config`, `keras.layers.deserialize`, `clone_model` and `load_model`, and for layers that Keras itself
    constructs.

    The constructed layers are saved under the stock names: `.keras` files and configs open in any process, with fastseq
    or without, and give fast layers where Keras is patched. The files and configs have no arguments that only fast
    layers take, such as `use_native`. A copy or pickle of a fast layer or optimizer is fast, whether Keras is patched
    or not. A copy or pickle of a model, or of a Keras layer that contains layers, is made from such a file. Exports by
    `model.export` need no fastseq either: they have the stock layers' operations, unless `export_native` asks for the
    fast ones. A fast layer is an instance of its stock class, so `isinstance` works as before.

    `from attention import Attention` gives `FastAttention`, with a warning, whether that PyPI package is installed or
    not: it does not run on Keras 3. This holds for imports from now on, whatever `only` and `exclude` say. Any other
    module `attention` is left alone, and so are versions of the package other than 4 and 5.

    Existing layers stay stock. So do subclasses (`class Mine(keras.layers.LSTM)`, `keras.optimizers.AdamW`), because
    their methods may rely on how the stock methods work. `type(layer) is keras.layers.LSTM` is false for a fast layer.

    Patches nest: a class is patched as long as any patch in force asks for it. So `exclude` does not stop an enclosing
    patch. Keras is stock again when all patches are taken back, except for changes that other code has made meanwhile.
    Do not call this function while other threads construct layers.

    Args:
        only: The stock classes to patch, or their names: `["LSTM", keras.optimizers.Adam]`. None for all that have a
            fast replacement.
        exclude: The stock classes that stay stock, or their names.

    Returns:
        A context manager that takes the patch back at its end.

    Raises:
        TypeError: `only` or `exclude` is a single class or name instead of a list.
        ValueError: `only` or `exclude` has an entry that is not a stock class with a fast replacement, or both have the
            same class.

    Warns:
        NativeFallbackWarning: Keras runs on a backend that fastseq has no kernels for; everything stays stock.
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

    Layers and optimizers that were constructed before stay as they are. Without a patch, this does nothing.

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
    """Sets a class's attribute until `_restore` is closed, or until other code sets it."""
    before = vars(stock).get(name)

    def restore() -> None:
        if vars(stock).get(name) is not ours:
            return  # other code has replaced it since; if that calls ours, ours does nothing without a patch
        if before is None:
            delattr(stock, name)
        else:
            setattr(stock, name, before)

    _restore.callback(restore)
    setattr(stock, name, ours)


def _new(stock: Any, patch_class: type) -> Callable[..., Any]:
    """A `__new__` for a stock layer class that constructs the fast layer."""
    own = vars(stock).get("__new__")

    @functools.wraps(stock.__new__)
    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        original = super(stock, cls).__new__ if own is None else own.__get__(None, stock)
        return original(patch_class if cls is stock and _is_asked_for(stock) else cls, *args, **kwargs)

    # So that `inspect.signature` of the class stays the same.
    vars(new)["__signature__"] = inspect.signature(stock.__init__)
    return new


def _init(stock: Any, patch_class: Any) -> Callable[..., Any]:
    """An `__init__` for a stock optimizer class that makes the object a fast one.

    It is not a `__new__`: a class that inherits `__new__` from `object` cannot be restored once it has had its own.
    """
    original = stock.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if type(self) is not stock or not _is_asked_for(stock):
            original(self, *args, **kwargs)
            return
        object.__setattr__(self, "__class__", patch_class)
        # The same as the fast class's __init__, but with `original`: the class's __init__ may have been wrapped since.
        use_native = kwargs.pop("use_native", patch_class.use_native)
        original(self, *args, **kwargs)
        self._set_use_native(use_native)

    return init

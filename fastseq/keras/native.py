"""What all fast layers share: whether this layer, as it is set up, runs on the kernels."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, TypeVar

import keras

from fastseq.keras import backend
from fastseq.keras.stock_methods import StockMethods

_Class = TypeVar("_Class", bound=type)


def replacement_for(
    stock: Any, *, overridden: Sequence[str] = (), unused: Sequence[str] = ()
) -> Callable[[_Class], _Class]:
    """A class decorator: registers a fast class under its own name, and gives it the `__name__` of its stock class.

    Keras names layers, variables and the groups of a weights file after the class. With the stock name, all of these
    are the stock layer's, so that weights files fit either way. What identifies the class in a saved model is the
    registered name, `fastseq>FastLSTM` for example; Python and `repr` know it by its own name too.

    A class without an `__init__` gets one: the stock class's, and `use_native`. `inspect.signature` shows the stock
    class's arguments, and what the fast one adds to them.

    Args:
        stock: The stock class.
        overridden: As in `StockMethods`; if empty, those of an inherited class hold.
        unused: See there.
    """

    def decorate(fast: Any) -> Any:
        keras.saving.register_keras_serializable("fastseq", fast.__name__)(fast)
        fast.__name__ = stock.__name__
        if overridden:
            fast.stock_methods = StockMethods(stock, overridden=overridden, unused=unused)

        def init(self: Any, *args: Any, use_native: bool | str = "auto", **kwargs: Any) -> None:
            super(fast, self).__init__(*args, **kwargs)
            self._set_use_native(use_native)

        if "__init__" not in vars(fast):
            fast.__init__ = init
        vars(fast.__init__)["__signature__"] = _with_inherited_arguments(fast.__init__, super(fast, fast).__init__)
        return fast

    return decorate


def _with_inherited_arguments(own: Callable[..., Any], inherited: Callable[..., Any]) -> inspect.Signature:
    """The signature of `own`, with the arguments of `inherited` in the place of `*args` and `**kwargs`."""
    kind = inspect.Parameter
    mine, theirs = (inspect.signature(method).parameters for method in (own, inherited))
    named = [
        theirs.get(name, one) for name, one in mine.items() if one.kind not in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD)
    ]
    rest = [one for name, one in theirs.items() if name not in mine or one.kind is kind.VAR_KEYWORD]
    if not any(one.kind is kind.VAR_POSITIONAL for one in mine.values()):
        rest = [one if one.kind is kind.VAR_KEYWORD else one.replace(kind=kind.KEYWORD_ONLY) for one in rest]
    return inspect.Signature(sorted([*named, *rest], key=lambda one: one.kind))


def frames_to_the_user() -> int:
    """The `stacklevel` of the first frame that is neither in fastseq nor in Keras, seen from who calls this."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in (
        "fastseq",
        "importlib",
        "jax",
        "keras",
        "tensorflow",
        "torch",
    ):
        if "importlib._bootstrap" not in frame.f_code.co_filename:  # frames that `warnings` does not count
            level += 1
        frame = frame.f_back
    return level


class PatchClass(type(keras.layers.Layer)):  # type: ignore[misc]
    """The class of what `patch` constructs: fast classes under the full names of the stock ones."""


def fast_class(instance: Any) -> type:
    """The class of a layer or an optimizer; of one that a patch has constructed, that of one made by hand."""
    cls = type(instance)
    return cls.__bases__[0] if isinstance(cls, PatchClass) else cls


class NativeFallbackWarning(UserWarning):
    """A fast layer or optimizer computes with stock Keras, since the kernels do not cover how it is set up."""


class NativeChoice:
    """A mixin for layers, and an optimizer, with the argument `use_native`.

    A layer calls `_set_use_native` at the end of its `__init__`, says in `_not_native_because` what the kernels do not
    cover, and asks `_runs_native` when it computes.
    """

    name: str
    native_op: str  # the operation of the backend's
    stock_methods: StockMethods  # those that the kernel stands in for
    use_native: bool | str = "auto"
    own_settings: tuple[str, ...] = ("use_native", "_fallback_told")  # what instances have and stock ones do not
    _fallback_told: bool = False
    _kind: str = "layer"

    def _not_native_because(self) -> str | None:
        """Which of this layer's settings the kernels do not cover, or None."""
        return None

    def reason_against(self) -> str | None:
        """Why the kernels cannot run this layer, or None if they can; single calls may still be none of theirs."""
        return (
            self.stock_methods.replaced(self)
            or self._not_native_because()
            or backend.unavailable_because(self.native_op)
        )

    def _set_use_native(self, use_native: bool | str) -> None:
        if not isinstance(use_native, bool) and use_native != "auto":
            raise ValueError(f"use_native must be 'auto', True or False, got {use_native!r}")
        vars(self)["use_native"] = use_native  # TensorFlow drops an assignment of what the class has anyway
        if use_native is True and (reason := self.reason_against()):
            raise ValueError(f"use_native=True, but the kernels cannot run this {self._kind}: {reason}")

    @property
    def supports_jit(self) -> bool:
        """Whether Keras can have this layer compiled (`jit_compile=True`)."""
        as_stock = bool(vars(self).get("supports_jit"))
        return as_stock and (
            self.use_native is False or self.reason_against() is not None or backend.load().supports_jit
        )

    @supports_jit.setter
    def supports_jit(self, as_stock: bool) -> None:
        vars(self)["supports_jit"] = as_stock

    def _runs_native(self, call_reason: str | None = None) -> bool:
        """Whether this call runs on the kernels; `call_reason` is what they do not cover of the call itself.

        What is traced to be exported runs on stock Keras, and that is intended: there is nothing to warn of.
        """
        if self.use_native is False:
            return False
        exporting = backend.load().exporting if backend.is_supported() else None
        exported_to = exporting.export_format() if exporting else None
        if exported_to and self.use_native is not True:
            return False
        if exported_to and exported_to != "SavedModel":
            call_reason = f"{exported_to} has no such operations; call fastseq.keras.to_stock(model) before the export"
        reason = self.reason_against() or call_reason
        if reason is None:
            if exporting and exported_to:
                exporting.keep_in_export()
            return True
        if self.use_native is True:
            raise ValueError(f"use_native=True, but the kernels cannot run {self._kind} '{self.name}': {reason}")
        # What a backend does not have at all, its documentation says; a warning for every layer would be of no use.
        if not self._fallback_told and not backend.lacks(self.native_op):
            self._fallback_told = True
            warnings.warn(
                f"{self._kind.capitalize()} '{self.name}' runs on stock Keras instead of fastseq's kernels: {reason}. "
                f"If that is intended, {self._how_to_make_stock()}.",
                NativeFallbackWarning,
                stacklevel=frames_to_the_user(),
            )
        return False

    def _how_to_make_stock(self) -> str:
        """What the user can do who wants no kernels here: it depends on what has made this layer fast."""
        if "use_native" in vars(self):
            return f"give the {self._kind} use_native=False"
        # `accelerate` gave this object its class, and no `__init__` of ours ran.
        return f"leave such {self._kind}s out: fastseq.keras.accelerate(model, exclude=['{type(self).__name__}'])"

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} name={self.name}>"

    def get_config(self) -> dict[str, Any]:
        """The stock config, and `use_native` where the user chose."""
        chosen = {} if self.use_native == "auto" else {"use_native": self.use_native}
        return {**super().get_config(), **chosen}  # type: ignore[misc]

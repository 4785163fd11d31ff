"""Shared base class of the fast layers and optimizers: decides whether a call runs on the kernels or on stock Keras."""

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

    Keras names layers, variables and the groups of a weights file after the class. With the stock class's `__name__`,
    these names equal the stock layer's, so that either layer loads the other's weights files. The registered name, for
    example `fastseq>FastLSTM`, identifies the class in a saved model. `__qualname__` and `repr` keep the fast name.

    A class without an `__init__` gets one that takes the stock class's arguments and `use_native`.
    `inspect.signature` shows the stock class's arguments, and those that the fast class adds.

    Args:
        stock: The stock class.
        overridden: As in `StockMethods`. If empty, the class keeps the inherited `stock_methods`.
        unused: As in `StockMethods`.
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
    """The `stacklevel`, for the caller, of the first frame outside of fastseq, Keras and Keras's backends."""
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
        if "importlib._bootstrap" not in frame.f_code.co_filename:  # `warnings` does not count such frames
            level += 1
        frame = frame.f_back
    return level


class PatchClass(type(keras.layers.Layer)):  # type: ignore[misc]
    """Metaclass of the classes that `patch` constructs objects of: fast classes with the stock classes' full names."""


def fast_class(instance: Any) -> type:
    """The class of a layer or an optimizer; for an object that a patch has constructed, the public fast class."""
    cls = type(instance)
    return cls.__bases__[0] if isinstance(cls, PatchClass) else cls


class NativeFallbackWarning(UserWarning):
    """A fast layer or optimizer computes with stock Keras, because the kernels do not cover its settings or inputs."""


class NativeChoice:
    """A mixin for layers and optimizers with the argument `use_native`.

    A layer calls `_set_use_native` at the end of its `__init__`. Its `_not_native_because` says which of its settings
    the kernels do not cover. Its `call` asks `_runs_native` where to compute.
    """

    name: str
    native_op: str  # the name of the operation in `Backend`
    stock_methods: StockMethods  # the stock methods that the kernel replaces
    use_native: bool | str = "auto"
    own_settings: tuple[str, ...] = ("use_native", "_fallback_told")  # attributes that stock instances do not have
    _fallback_told: bool = False
    _kind: str = "layer"

    def _not_native_because(self) -> str | None:
        """Says which of this layer's settings the kernels do not cover; None if they cover all."""
        return None

    def reason_against(self) -> str | None:
        """Why the kernels cannot run this layer, or None if they can. They may still not cover a particular call."""
        return (
            self.stock_methods.replaced(self)
            or self._not_native_because()
            or backend.unavailable_because(self.native_op)
        )

    def _set_use_native(self, use_native: bool | str) -> None:
        if not isinstance(use_native, bool) and use_native != "auto":
            raise ValueError(f"use_native must be 'auto', True or False, got {use_native!r}")
        vars(self)["use_native"] = use_native  # TensorFlow drops an assignment that equals the class's attribute
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
        """Whether this call runs on the kernels; `call_reason` says why they cannot compute the call, or is None.

        A model that is traced for an export runs on stock Keras. That is intended, so there is no warning.
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
        # The documentation says which operations a backend lacks; a warning for every layer would be of no use.
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
        """Advice for users who want a stock layer. It depends on how this layer was made fast."""
        if "use_native" in vars(self):
            return f"give the {self._kind} use_native=False"
        # `accelerate` gave this object its class, so the fast class's `__init__` has not run.
        return f"leave such {self._kind}s out: fastseq.keras.accelerate(model, exclude=['{type(self).__name__}'])"

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} name={self.name}>"

    def get_config(self) -> dict[str, Any]:
        """The stock config, and `use_native` if it is not "auto"."""
        chosen = {} if self.use_native == "auto" else {"use_native": self.use_native}
        return {**super().get_config(), **chosen}  # type: ignore[misc]

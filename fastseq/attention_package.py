"""Answers `from attention import Attention` with `fastseq.keras.FastAttention`.

Scripts for Keras 2 import that layer from the PyPI package `attention`. The package does not run on Keras 3, and most
often it is not installed. A user's own module with that name is left alone.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["answer", "spec_of_others", "stop"]

_NAME = "attention"
_VERSIONS = ("4.", "5.")  # the package's versions whose layer FastAttention computes


def spec_of_others(finder: MetaPathFinder, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """The spec that a module would have without this finder."""
    others = (other for other in sys.meta_path if other is not finder)
    return next(filter(None, (other.find_spec(name, path) for other in others)), None)


def _is_the_package(spec: ModuleSpec) -> bool:
    """Whether a module named `attention` is the PyPI package, and not a user's own module."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        package = distribution(_NAME)
    except PackageNotFoundError:
        return False
    file = os.path.realpath(str(package.locate_file(f"{_NAME}/__init__.py")))
    return package.version.startswith(_VERSIONS) and os.path.realpath(spec.origin or "") == file


class _Answer(MetaPathFinder, Loader):
    """Finds and loads the module `attention`."""

    def __init__(self) -> None:
        # The package itself, if it was imported before.
        self.put_aside: ModuleType | None = None

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name != _NAME:
            return None
        found = spec_of_others(self, name, path)
        if found is not None and not _is_the_package(found):
            return None
        spec = ModuleSpec(name, self, origin="fastseq")
        if found is not None:  # the package's other modules can be imported as before
            spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def exec_module(self, module: ModuleType) -> None:
        def look_up(name: str) -> Any:
            if name != "Attention":
                raise AttributeError(f"module {_NAME!r} has no attribute {name!r} where fastseq stands in for it")
            # Imported as late as possible: this imports Keras, and a script may set environment variables before.
            from fastseq.keras import FastAttention
            from fastseq.keras.native import frames_to_the_user

            vars(module)[name] = FastAttention  # so that the warning comes once
            warnings.warn(
                "attention.Attention is fastseq.keras.FastAttention here: the package attention does not run on "
                "Keras 3.",
                stacklevel=frames_to_the_user(),
            )
            return FastAttention

        vars(module).update(__getattr__=look_up, __all__=["Attention"])


_answer = _Answer()


def answer() -> None:
    """Answers imports of `attention` from now on, even if the package itself was imported before."""
    if _answer in sys.meta_path:
        return
    sys.meta_path.insert(0, _answer)
    module = sys.modules.get(_NAME)
    spec = getattr(module, "__spec__", None)
    if module is not None and spec is not None and _is_the_package(spec):
        _answer.put_aside = sys.modules.pop(_NAME)


def stop() -> None:
    """Undoes `answer`, and restores the package in `sys.modules` if it was imported before."""
    if _answer not in sys.meta_path:
        return
    sys.meta_path.remove(_answer)
    if getattr(getattr(sys.modules.get(_NAME), "__spec__", None), "loader", None) is _answer:
        del sys.modules[_NAME]
    if _answer.put_aside is not None:
        sys.modules.setdefault(_NAME, _answer.put_aside)
        _answer.put_aside = None
